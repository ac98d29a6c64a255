/**
 * Decide: what becomes of the messages of a group, by what the database says under the lock of their customers. It is
 * pure: the same rows, the same verdicts.
 *
 * Messages are judged one by one, in their order. Each that the balance still covers is accepted, also behind one that
 * was too dear, so a balance can be spent to the last unit, and never beyond.
 */
import { type Problem, problemOf } from '../../kernel/errors.ts';
import { smsErrors } from '../errors.ts';
import { type CostPer, costOf, type Tariff } from '../message/price.ts';
import type { UlidMaker } from '../message/ulid.ts';
import type { Lane } from '../model.ts';
import type { Wanted } from './wanted.ts';

/** A customer as it stands in its row. */
export interface CustomerState {
  readonly active: boolean;
  readonly balance: number;
  readonly waiting: number;
  readonly lane: Lane;
  readonly ratePerS: number | undefined;
  readonly tariff: Tariff;
}

/** What was answered when a key came first. */
export interface KeptKey {
  readonly fingerprint: Buffer;
  readonly messageId: string;
  readonly segments: number;
  readonly cost: number;
  readonly balance: number;
}

export interface AcceptedAnswer {
  readonly messageId: string;
  readonly segments: number;
  readonly cost: number;
  /** Of the customer, after this message. */
  readonly balance: number;
}

export type Verdict =
  | ({ readonly kind: 'accepted'; readonly lane: Lane } & AcceptedAnswer)
  | ({ readonly kind: 'replayed' } & AcceptedAnswer)
  | { readonly kind: 'refused'; readonly problem: Problem };

/** A message that goes into the tables. */
export interface AcceptedMessage extends AcceptedAnswer {
  readonly wanted: Wanted;
  readonly lane: Lane;
  readonly atMs: number;
}

/** What a group takes from a customer. */
export interface Charge {
  readonly customerId: string;
  readonly cost: number;
  readonly messages: number;
}

export interface Decision {
  /** By place in the group. */
  readonly verdicts: readonly Verdict[];
  readonly messages: readonly AcceptedMessage[];
  /** Customers with accepted messages, in order of id. */
  readonly charges: readonly Charge[];
}

export interface Rules {
  readonly costPer: CostPer;
  readonly backlogLimit: number;
  /** Whether an operator may carry the number: what nobody carries would be refunded a moment later. */
  carries(to: string): boolean;
  readonly ids: Pick<UlidMaker, 'make'>;
  /** Ms since 1970; the ids may be later, when the clock was set back. */
  readonly nowMs: number;
  readonly timeOf: (messageId: string) => number;
}

/** A client that is told to wait longer would not believe it. */
const RETRY_S_MAX = 3600;

export const keyName = (customerId: string, key: string): string => `${customerId}\t${key}`;

export const refused = (problem: Problem): Verdict => ({ kind: 'refused', problem });

/**
 * `customers` by id, `keys` by keyName(): those that the group names and the database has. `locked`: customers who are
 * there, but whose rows are held by somebody else.
 */
export function decide(
  group: readonly Wanted[],
  customers: ReadonlyMap<string, CustomerState>,
  keys: ReadonlyMap<string, KeptKey>,
  rules: Rules,
  locked?: ReadonlySet<string>,
): Decision {
  const accounts = new Map<string, Account>();
  for (const [customerId, state] of customers) accounts.set(customerId, new Account(customerId, state, rules));
  const messages: AcceptedMessage[] = [];
  const verdicts = group.map((wanted): Verdict => {
    const kept = wanted.key === undefined ? undefined : keys.get(keyName(wanted.customerId, wanted.key));
    if (kept !== undefined) return replay(wanted, kept);
    const account = accounts.get(wanted.customerId);
    if (account === undefined && locked?.has(wanted.customerId))
      return refused(problemOf(smsErrors.CUSTOMER_BUSY, { customer: wanted.customerId }));
    if (account === undefined) return refused(problemOf(smsErrors.CUSTOMER_UNKNOWN, { customer: wanted.customerId }));
    const taken = account.take(wanted);
    if ('kind' in taken) return taken;
    messages.push(taken);
    const { messageId, segments, cost, balance, lane } = taken;
    return { kind: 'accepted', messageId, segments, cost, balance, lane };
  });
  const charges = [...accounts.values()]
    .filter((account) => account.messages > 0)
    .sort((a, b) => (a.customerId < b.customerId ? -1 : 1));
  return { verdicts, messages, charges };
}

function replay(wanted: Wanted, { fingerprint, ...answer }: KeptKey): Verdict {
  if (wanted.fingerprint === undefined || !fingerprint.equals(wanted.fingerprint))
    return refused(problemOf(smsErrors.IDEMPOTENCY_MISMATCH, { key: wanted.key! }));
  return { kind: 'replayed', ...answer };
}

/** A customer while its messages are judged. */
class Account implements Charge {
  readonly customerId: string;
  readonly #state: CustomerState;
  readonly #rules: Rules;
  messages = 0;
  cost = 0;

  constructor(customerId: string, state: CustomerState, rules: Rules) {
    this.customerId = customerId;
    this.#state = state;
    this.#rules = rules;
  }

  take(wanted: Wanted): AcceptedMessage | Verdict {
    const { active, lane, tariff } = this.#state;
    const { costPer, carries, ids, nowMs, timeOf } = this.#rules;
    if (!active) return refused(problemOf(smsErrors.CUSTOMER_INACTIVE, { customer: this.customerId }));
    if (!carries(wanted.to)) return refused(problemOf(smsErrors.NUMBER_NOT_CARRIED, { to: wanted.to }));
    const full = this.#backlogFull();
    if (full !== undefined) return full;
    const cost = costOf(tariff, wanted.to, wanted.segments, costPer);
    const left = this.#state.balance - this.cost;
    if (cost > left) return refused(problemOf(smsErrors.BALANCE_TOO_LOW, { cost, balance: left }));
    this.cost += cost;
    this.messages += 1;
    const messageId = ids.make(nowMs);
    const { segments } = wanted;
    const atMs = timeOf(messageId);
    return { wanted, messageId, segments, cost, balance: left - cost, lane: wanted.lane ?? lane, atMs };
  }

  #backlogFull(): Verdict | undefined {
    const { backlogLimit: limit } = this.#rules;
    const waiting = this.#state.waiting + this.messages;
    if (waiting < limit) return undefined;
    const retryAfterS = Math.min(RETRY_S_MAX, Math.ceil((waiting - limit + 1) / (this.#state.ratePerS ?? 1)));
    return refused(problemOf(smsErrors.BACKLOG_FULL, { limit, waiting, retryAfterS }));
  }
}
