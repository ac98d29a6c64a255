/**
 * Collect answer: the parts of an intake route that need no request: which content types are taken, and how a result is
 * told.
 */
import type { BatchResult, ItemErrorCode } from '../events/batch-result.ts';
import { eventErrors } from '../events/errors.ts';
import { type Problem, problemOf } from '../kernel/errors.ts';
import { serializeAccepted } from './schemas.generated.ts';

/**
 * application/json in any spelling and with any parameter, nothing at all, or what sendBeacon sends without a
 * preflight.
 */
export function isTakenType(header: string): boolean {
  if (header === '' || header === 'application/json') return true;
  const semicolon = header.indexOf(';');
  const type = (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase();
  return type === '' || type === 'application/json' || type === 'text/plain';
}

/**
 * The status of a body whose items are all refused for one reason that is no fault of their content. Sent again they
 * would be too large again: clients look for 413 to make their events smaller.
 */
const statusOfItems: Readonly<Partial<Record<ItemErrorCode, number>>> = {
  EVENT_TOO_LARGE: 413,
  KEY_REQUIRED: 401,
  KEY_INVALID: 401,
  KEY_FORBIDDEN: 403,
  SITE_UNKNOWN: 403,
  SITE_ORIGIN: 403,
  ACCESS_UNKNOWN: 503,
};

/** The body of a 202 of POST /collect. */
export function acceptedBody({ accepted, rejected, errors }: BatchResult): string {
  return serializeAccepted(rejected === 0 ? { accepted, status: 'ok' } : { accepted, status: 'ok', rejected, errors });
}

/** Why nothing of a body was taken. `undefined`: its records are more than a draft holds (`limit` bytes). */
export function problemOfResult(result: BatchResult | undefined, limit: number): Problem {
  if (result === undefined) return problemOf(eventErrors.BATCH_TOO_LARGE, { bytes: limit + 1, limit });
  const { code, recordBytes, offset, found, rejected, errors } = result;
  switch (code) {
    case 'INVALID_JSON':
      return problemOf(eventErrors[code], { offset, reason: result.reason });
    case 'INVALID_BODY':
      return problemOf(eventErrors[code], { found });
    case 'BATCH_TOO_LARGE':
      return problemOf(eventErrors[code], { bytes: recordBytes, limit });
    case 'OK': {
      const problem = { ...problemOf(eventErrors.NO_VALID_EVENT, { rejected, first: errors[0]!.message }), errors };
      const { code: reason } = errors[0]!;
      const status = statusOfItems[reason];
      const same = status !== undefined && errors.every((error) => statusOfItems[error.code] === status);
      return same ? { ...problem, status, code: reason } : problem;
    }
  }
}
