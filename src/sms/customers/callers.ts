/**
 * Callers: who sends a request, by what it shows.
 *
 *   X-API-Key              a key of a customer
 *   Authorization: Bearer  a key of a customer, or ADMIN_KEY
 *   nothing                refused, or with ACCESS=open everybody's
 *
 * What is shown counts: a wrong key is refused with ACCESS=open as well. A typo is refused by its checksum before any
 * look-up. A right one that this thread does not know yet may have been made a moment ago by another thread: the worker
 * is asked once, and all who wait share the question, so that wrong keys cost no more than that.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { AdminKey, bearerOf } from '../../access/admin-key.ts';
import { parseKey } from '../../access/api-key.ts';
import { accessErrors } from '../../access/errors.ts';
import { ProvenKeys } from '../../access/proven-keys.ts';
import { wireText } from '../../http/wire-text.ts';
import { openFeed } from '../../service/change-copy.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { smsErrors } from '../errors.ts';
import type { SmsValues } from '../sms.ts';
import type { Caller, CallerOf } from './contract.ts';
import { type CustomerKey, type KeyItem, type KeySecret, KnownKeys } from './known-keys.ts';
import { keysQuestion } from './questions.ts';

const API_KEY = wireText('x-api-key');
const AUTHORIZATION = wireText('authorization');
/** With the worker's look every 500 ms, which is needed only where no NOTIFY passes, it stays below a second. */
const EVERY_MS = 250;

const open: Caller = { kind: 'open' };
const admin: Caller = { kind: 'admin' };

export interface CallersOptions {
  readonly keys: Pick<KnownKeys, 'known' | 'key'>;
  readonly pepper: string | undefined;
  readonly adminKey: string | undefined;
  /** ACCESS=open */
  readonly everybody: boolean;
  /** Wall clock, ms. */
  readonly now: () => number;
  /** Asks for what has changed. */
  readonly look: () => Promise<void>;
}

export class Callers {
  readonly #options: CallersOptions;
  readonly #admin: AdminKey;
  readonly #proven: ProvenKeys<KeySecret>;
  readonly #secretsOf: (id: string) => readonly KeySecret[] | undefined;

  constructor(options: CallersOptions) {
    this.#options = options;
    this.#admin = new AdminKey(options.adminKey);
    this.#proven = new ProvenKeys(options.pepper, 'hex');
    this.#secretsOf = (id) => options.keys.key(id)?.secrets;
  }

  /** `apiKey`, `authorization`: the headers, '' for none. Throws as CallerOf says. */
  identify(apiKey: string, authorization: string): Caller | Promise<Caller> {
    if (apiKey !== '') return this.#byKey(apiKey) ?? this.#later(apiKey);
    if (authorization !== '') {
      const shown = bearerOf(authorization);
      if (shown === undefined) throw accessErrors.KEY_INVALID();
      const caller = this.#byKey(shown);
      if (caller !== undefined) return caller;
      return this.#admin.matches(shown) ? admin : this.#later(shown);
    }
    if (this.#options.everybody) return open;
    throw accessErrors.KEY_REQUIRED({ reason: 'a key must be given: X-API-Key or Authorization: Bearer' });
  }

  /** Undefined: no key that is known. */
  #byKey(text: string): Caller | undefined {
    const proven = this.#proven.find(text, this.#secretsOf);
    const key = proven === undefined ? undefined : (this.#options.keys.key(proven.id) as CustomerKey);
    if (proven === undefined || key === undefined) return undefined;
    const { customerId, expiresAtMs, active } = key;
    const endMs = Math.min(expiresAtMs ?? Number.POSITIVE_INFINITY, proven.secret.untilMs ?? Number.POSITIVE_INFINITY);
    if (endMs <= this.#options.now()) throw accessErrors.KEY_INVALID();
    if (!active) throw smsErrors.CUSTOMER_INACTIVE({ customer: customerId });
    return { kind: 'customer', customerId, keyId: proven.id };
  }

  async #later(text: string): Promise<Caller> {
    if (parseKey(text) === undefined) throw accessErrors.KEY_INVALID();
    await this.#options.look();
    if (!this.#options.keys.known) throw accessErrors.ACCESS_UNKNOWN();
    const caller = this.#byKey(text);
    if (caller === undefined) throw accessErrors.KEY_INVALID();
    return caller;
  }
}

export interface OpenedCallers {
  readonly callerOf: CallerOf;
  close(): void;
}

type Frame = Pick<AcceptorFrame<SmsValues>, 'ask' | 'values' | 'rehearsing' | 'now'>;

/**
 * Opens it in an acceptor; `worker`: the name of the role's callers worker (questions.ts). Resolves when keys are
 * known, or after a few seconds without them. A rehearsal knows nobody.
 */
export async function openCallers({ ask, values, rehearsing, now }: Frame, worker: string): Promise<OpenedCallers> {
  const keys = new KnownKeys();
  const feed = rehearsing
    ? undefined
    : await openFeed<KeyItem>({ ask }, { worker, ask: keysQuestion, everyMs: EVERY_MS, copy: keys });
  const callers = new Callers({
    keys,
    pepper: values.access.keyPepper,
    adminKey: values.sms.adminKey,
    everybody: values.sms.access === 'open',
    now,
    look: () => feed?.look() ?? Promise.resolve(),
  });
  return {
    callerOf: (req: HttpRequest) => callers.identify(req.getHeader(API_KEY), req.getHeader(AUTHORIZATION)),
    close: () => feed?.close(),
  };
}
