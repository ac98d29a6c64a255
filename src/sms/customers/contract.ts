/** Who sends a request, as the routes of every area are told, and what it may do. */
import type { HttpRequest } from 'uWebSockets.js';
import { accessErrors } from '../../access/errors.ts';

export type Caller =
  /** ACCESS=open and no key is shown: may send and read for every customer, and nothing else. */
  | { readonly kind: 'open' }
  /** ADMIN_KEY: may do everything. */
  | { readonly kind: 'admin' }
  /** A key of a customer: may send and read for this customer alone. */
  | { readonly kind: 'customer'; readonly customerId: string; readonly keyId: string };

/**
 * Who the caller is, by the headers X-API-Key and Authorization: Bearer. Call it inside the handler, before the first
 * await; it is a promise only for a key that this thread does not know yet. Throws, or rejects with, KEY_REQUIRED,
 * KEY_INVALID, ACCESS_UNKNOWN (access/errors.ts), or CUSTOMER_INACTIVE.
 */
export type CallerOf = (req: HttpRequest) => Caller | Promise<Caller>;

/** Whether the caller may send and read for this customer. Another's message is 404 for a key, so that ids tell nothing. */
export const actsFor = (caller: Caller, customerId: string): boolean =>
  caller.kind !== 'customer' || caller.customerId === customerId;

/** Throws KEY_FORBIDDEN (403) when the caller may not act for this customer. */
export function mustActFor(caller: Caller, customerId: string): void {
  if (!actsFor(caller, customerId))
    throw accessErrors.KEY_FORBIDDEN({ reason: 'the key must be one of the customer that the request names' });
}

/**
 * For what ACCESS=open does not open (receipts, exports, reports): a caller without a key is refused. Throws
 * KEY_REQUIRED.
 */
export function mustShowKey(caller: Caller): asserts caller is Exclude<Caller, { readonly kind: 'open' }> {
  if (caller.kind === 'open')
    throw accessErrors.KEY_REQUIRED({
      reason: 'a key must be given, also with ACCESS=open: that of the customer, or ADMIN_KEY',
    });
}

/** For administration and credit. Throws KEY_REQUIRED without a key, KEY_FORBIDDEN with one of a customer. */
export function mustAdminister(caller: Caller): void {
  if (caller.kind === 'open')
    throw accessErrors.KEY_REQUIRED({
      reason: 'this route is for administrators: Authorization: Bearer with ADMIN_KEY',
    });
  if (caller.kind === 'customer')
    throw accessErrors.KEY_FORBIDDEN({
      reason: 'this route is for administrators: a key of a customer does not open it',
    });
}
