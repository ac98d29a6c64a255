/**
 * Verdict: what the end of a call means for its message, by class of the error:
 *
 *   taken       sent
 *   rejected    permanent: failed, refunded
 *   later       temporary: the next operator at once, where one has room; else all of them again after a pause, inside
 *               the validity, and at most MAX_RETRIES times where it may be for the message's own sake. An operator that
 *               throttles, or cannot be reached, uses up no retry
 *   unknown     held: asked about, and never sent again before it is known
 *   no call     the shards were lost between the record and the call: nothing was sent, and it goes again
 */
import type { Operator, QueryResult, SendResult } from '../operators/contract.ts';
import { type BackOff, pauseAfter } from './back-off.ts';
import type { Verdict } from './outcomes.ts';
import type { Queued } from './queued.ts';

export interface Rules extends BackOff {
  readonly maxRetries: number;
  readonly unknownHoldMs: number;
  readonly callTimeoutMs: number;
  /** 0 to 1. */
  readonly random: () => number;
}

const ASK_MS_MIN = 1000;
const ASK_MS_MAX = 60_000;
/** The number of an attempt is a smallint. */
const ATTEMPTS_MAX = 32_000;

export function verdictOf(
  message: Queued,
  attempt: { readonly number: number; readonly operator: Operator },
  result: SendResult | undefined,
  rules: Rules,
  atMs: number,
  hasAnother: (tried: readonly string[]) => boolean,
): Verdict {
  const { number, operator } = attempt;
  if (result === undefined) return { kind: 'later', dueMs: atMs, tried: message.tried, retries: message.retries };
  if (result.kind === 'taken')
    return {
      kind: 'sent',
      operatorId: result.id,
      bears: operator.receiptsBear === 'operator_id',
    };
  if (result.kind === 'rejected') return { kind: 'failed', reason: result.reason };
  // Not at once: the operator may still be taking it, and would say that it never did.
  if (result.kind === 'unknown')
    return { kind: 'held', dueMs: atMs + (operator.query === undefined ? rules.unknownHoldMs : rules.callTimeoutMs) };
  const tried = [...message.tried, operator.name];
  const retries = message.retries + (result.away === true ? 0 : 1);
  if (retries > rules.maxRetries || number >= ATTEMPTS_MAX)
    return { kind: 'failed', reason: `MAX_RETRIES: ${result.reason}` };
  if (hasAnother(tried)) return { kind: 'later', dueMs: atMs, tried, retries };
  const dueMs = atMs + pauseAfter(number, rules, rules.random(), result.afterMs);
  // When its validity ends first, it is looked at once more, and expires.
  return { kind: 'later', dueMs: Math.min(dueMs, message.validMs), tried: [], retries };
}

/** What is known of a held message when its operator has been asked, or cannot be. */
export interface Held {
  readonly messageId: string;
  readonly heldMs: number;
  /** Before the attempt that is asked about. */
  readonly retries: number;
}

/** `answer`: undefined where the operator is gone from OPERATORS, or cannot be asked. */
export function verdictOfHeld(held: Held, answer: QueryResult | undefined, rules: Rules, nowMs: number): Verdict {
  const endMs = held.heldMs + rules.unknownHoldMs;
  if (answer?.kind === 'taken') {
    const { id, state, reason = null } = answer;
    if (state === 'delivered' || state === 'failed')
      return { kind: state === 'failed' ? 'undelivered' : state, operatorId: id === '' ? null : id, reason };
    return { kind: 'sent', operatorId: id, bears: false };
  }
  if (answer?.kind === 'never') {
    const retries = held.retries + 1;
    return retries > rules.maxRetries
      ? { kind: 'failed', reason: 'MAX_RETRIES: the operator has never taken it' }
      : { kind: 'later', dueMs: nowMs, tried: [], retries };
  }
  if (nowMs >= endMs) return { kind: 'unknown', reason: 'nobody said within UNKNOWN_HOLD_S whether it was sent' };
  if (answer === undefined) return { kind: 'held', dueMs: endMs };
  return { kind: 'held', dueMs: Math.min(endMs, nowMs + pauseOfHeld(held, nowMs)) };
}

/** Ms until the next question. */
export const pauseOfHeld = ({ heldMs }: Pick<Held, 'heldMs'>, nowMs: number): number =>
  Math.min(ASK_MS_MAX, Math.max(ASK_MS_MIN, (nowMs - heldMs) / 2));
