/**
 * Contract of an operator: what delivery/ asks of who carries messages to handsets. A driver (HTTP, SMPP) makes an
 * Operator; Routing chooses among them and keeps their windows and rates.
 *
 *   delivery: reserve() a place > record the attempt, with the operator's name, in Postgres > send() > release()
 *
 * The place is held while the attempt is recorded, so a recorded attempt goes out at once.
 */
import type { Logger } from '../../kernel/log.ts';
import type { Meters, MetricSet } from '../../kernel/metrics.ts';
import type { OutgoingMessage } from '../model.ts';
import type { SmsValues } from '../sms.ts';
import type { BreakerState } from './breaker.ts';
import type { GivenOperator } from './operator-option.ts';

/**
 * What is known when a call has ended.
 *
 *   taken     the operator has it; `id` is its own name of it ('' when it gives none), which receipts may bear
 *   rejected  the operator has it not and never will: refunded
 *   later     the operator has it not, and may take it later: tried again, after `afterMs` where it said so. `away`: it
 *             takes nothing now, whatever the message: it throttles, or cannot be reached. No retry is used up by that
 *   unknown   it may have it: no answer, a connection lost after the message was written
 */
export type SendResult =
  | { readonly kind: 'taken'; readonly id: string }
  | { readonly kind: 'rejected'; readonly reason: string }
  | { readonly kind: 'later'; readonly reason: string; readonly afterMs?: number; readonly away?: true }
  | { readonly kind: 'unknown'; readonly reason: string };

/**
 * What an operator knows of a message.
 *
 *   taken      it has it; `state` says how it ended where it has ended
 *   never      it has never taken it: it may be sent again
 *   unanswered it did not say; it is asked again later
 */
export type QueryResult =
  | { readonly kind: 'taken'; readonly id: string; readonly state?: 'delivered' | 'failed'; readonly reason?: string }
  | { readonly kind: 'never' }
  | { readonly kind: 'unanswered'; readonly reason: string };

/** up: it is called. away: its breaker is open, or it is not connected; it may come back by itself. */
export type OperatorState = 'up' | 'away';

export interface Operator {
  /** From OPERATORS: a metric label, a column of sms_logs, the last part of the path of its receipts. */
  readonly name: string;
  /** What its receipts name a message by: our id, or the id that its answer gave. */
  readonly receiptsBear: 'message_id' | 'operator_id';
  /**
   * Never rejects for what an operator or a network can do: that is a SendResult. `signal` fires when the process can
   * wait no longer; what has been written by then is `unknown`, what has not is `later`.
   */
  send(message: OutgoingMessage, signal: AbortSignal): Promise<SendResult>;
  /** Left out: it cannot be asked. Never rejects either. */
  query?(messageId: string, operatorId: string | null, signal: AbortSignal): Promise<QueryResult>;
  state(): OperatorState;
}

/** How an operator stands in this process. */
export interface Standing {
  readonly name: string;
  /** What OPERATORS says of it. */
  readonly given: Pick<GivenOperator, 'prefixes'>;
  /** Messages under way. */
  readonly busy: number;
  readonly breaker: BreakerState;
  state(): OperatorState;
}

/** A place in the window of an operator, and a piece of its rate. */
export interface Place {
  readonly kind: 'place';
  readonly operator: Operator;
  /** Gives the place back. `result` teaches the breaker; undefined: nothing was sent, and the rate is given back too. */
  release(result?: SendResult): void;
}

export interface Routing {
  /** Every operator of OPERATORS, in their order. */
  readonly operators: readonly Operator[];
  /**
   * A place for the message at the best operator that carries its number and is not in `tried` (names, of this round
   * of attempts). `wait`: all that could are full or away; ask again after `ms`, at the earliest. `none`: none will
   * ever carry it. Places of a window that are set aside for express are given to express only. Synchronous and cheap:
   * it is asked for every message.
   */
  reserve(
    message: Pick<OutgoingMessage, 'to' | 'lane' | 'messageId' | 'segments'>,
    tried: readonly string[],
  ): Place | { readonly kind: 'wait'; readonly ms: number } | { readonly kind: 'none'; readonly reason: string };
  /** Waits for nothing: calls that run have ended, or their signals have fired. */
  close(): Promise<void>;
}

/** What routing.ts exports as `openRouting`. `expressShare`: part of every window that only express may use, 0 to 1. */
export type OpenRouting = (
  values: SmsValues,
  means: {
    readonly log: Logger;
    readonly expressShare: number;
    /**
     * Takes a receipt that came over the operator's connection. Resolves after the commit; unknown: nobody has such a
     * message, or not yet. Rejects while the database is away: the operator is to send it again.
     */
    receive(receipt: Receipt): Promise<'recorded' | 'unknown'>;
    /** Of the thread's frame; the role has `operatorMetrics`. */
    meters<M extends MetricSet>(set: M): Meters<M>;
  },
) => Promise<Routing & { readonly operators: readonly (Operator & Standing)[] }>;

/** What an operator gives back of our request. */
export interface Submitted {
  /** E.164 with the plus. */
  readonly to: string;
  /** message/reference.ts. */
  readonly reference: number;
}

/** What an operator says later of a message that it took. One of its ids is always there, or `submitted`. */
export interface Receipt {
  readonly messageId: string | null;
  /** The operator's own name of the message. */
  readonly operatorId: string | null;
  /** Finds a message that is held, where neither id does. */
  readonly submitted?: Submitted;
  /** No answer to send() has brought `operatorId`: it is kept, because later receipts may bear nothing else. */
  readonly newId?: boolean;
  readonly operator: string;
  /** sent: it was handed over, which it may say before its answer to send() comes. */
  readonly status: 'sent' | 'delivered' | 'failed';
  readonly reason: string | null;
  /** Ms since 1970, by the operator's clock. */
  readonly atMs: number;
}
