/**
 * Held: messages that an operator may or may not have. Who owns their shards asks about them, and ends them as
 * `unknown` when UNKNOWN_HOLD_S is over; a receipt ends them at any time (receipts.ts). None is sent again before its
 * operator has said that it never took it.
 *
 * A message is not read again while its question runs, or its outcome waits to be written. An operator is asked about a
 * bounded number at a time: one that does not answer holds up none that are another's.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { instantArray, int2Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { ulidMs } from '../message/ulid.ts';
import type { Operator, QueryResult } from '../operators/contract.ts';
import type { Outcome, Verdict } from './outcomes.ts';
import { pauseOfHeld, type Rules, verdictOfHeld } from './verdict.ts';

const LOOK_MS = 500;
/** Pause between two looks while there is more to ask about. */
const MORE_MS = 10;
/** Of one look. */
const ROWS = 64;
/** Messages that are asked about at the same time, or whose outcome waits: of an operator, and of all. */
const ASKED_MAX = 64;
const ASKING_MAX = 256;

const DUE = `SELECT q.message_id, q.held_ms, q.express, q.attempts FROM unnest($1::int2[]) AS s (shard)
  CROSS JOIN LATERAL (SELECT message_id, held_ms, due_ms, express, attempts FROM sms_queue h
    WHERE h.shard = s.shard AND h.held_ms IS NOT NULL AND h.due_ms <= $2 AND h.message_id <> ALL ($3::text[])
    ORDER BY h.due_ms LIMIT ${ROWS}) q
  ORDER BY q.due_ms LIMIT ${ROWS}`;

const STATES = `SELECT l.message_id, l.status, l.attempts, l.operator, l.operator_id
  FROM unnest($1::text[], $2::timestamptz[]) AS g (message_id, created_at)
  JOIN sms_logs l ON l.message_id = g.message_id AND l.created_at = g.created_at`;

interface Due {
  readonly message_id: string;
  readonly held_ms: string;
  readonly express: boolean;
  readonly attempts: number;
}

interface State {
  readonly message_id: string;
  readonly status: string;
  readonly attempts: number;
  readonly operator: string | null;
  readonly operator_id: string | null;
}

export interface HeldDeps {
  readonly operators: readonly Operator[];
  readonly rules: Rules;
  readonly shards: () => Iterable<number>;
  /** Messages whose call still runs here are not asked about. */
  readonly underWay: (messageId: string) => boolean;
  readonly settle: (outcome: Outcome) => void;
  readonly now: () => number;
}

export class HeldMessages {
  readonly #deps: HeldDeps;
  readonly #asking = new Set<string>();
  /** Questions that run, by operator. */
  readonly #asked = new Map<string, number>();
  /** Outcomes that are not written yet: until then what is read of their messages is old. */
  readonly #ending = new Set<Outcome>();

  constructor(deps: HeldDeps) {
    this.#deps = deps;
  }

  /** Asks until the signal fires; rejects when the session fails. */
  async run(link: PostgresLink, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const more = (await this.#look(link, signal)) || this.#asking.size >= ASKING_MAX;
      await delay(more ? MORE_MS : LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** An outcome is written, of whichever part of the worker. */
  settled(outcome: Outcome): void {
    if (this.#ending.delete(outcome)) this.#asking.delete(outcome.messageId);
  }

  /** Begins to ask about what is due; whether there may be more. */
  async #look(link: PostgresLink, signal: AbortSignal): Promise<boolean> {
    const shards = [...this.#deps.shards()];
    if (shards.length === 0 || this.#asking.size >= ASKING_MAX) return false;
    const due = await link.prepared<Due>('sms-held', DUE, [
      int2Array(shards, (shard) => shard),
      this.#deps.now(),
      textArray([...this.#asking], (id) => id),
    ]);
    const rows = due.rows.filter(({ message_id }) => !this.#deps.underWay(message_id));
    if (rows.length === 0) return false;
    const states = await link.prepared<State>('sms-held-states', STATES, [
      textArray(rows, ({ message_id }) => message_id),
      instantArray(rows, ({ message_id }) => ulidMs(message_id)!),
    ]);
    const byMessage = new Map(states.rows.map((state) => [state.message_id, state] as const));
    for (const row of rows) {
      this.#asking.add(row.message_id);
      void this.#ask(row, byMessage.get(row.message_id), signal);
    }
    return due.rows.length === ROWS;
  }

  async #ask({ message_id: messageId, ...due }: Due, state: State | undefined, signal: AbortSignal): Promise<void> {
    const { operators, rules, settle, now } = this.#deps;
    const attempt = state?.attempts ?? 0;
    const operator = operators.find(({ name }) => name === state?.operator);
    const held = { messageId, heldMs: Number(due.held_ms), retries: due.attempts };
    let answer: QueryResult | 'busy' | undefined;
    if (state?.status === 'sending' && operator?.query !== undefined)
      answer = await this.#query(operator, messageId, state.operator_id, signal);
    if (signal.aborted) {
      this.#asking.delete(messageId);
      return;
    }
    const atMs = now();
    let verdict: Verdict;
    if (answer === 'busy') verdict = { kind: 'held', dueMs: atMs + pauseOfHeld(held, atMs) };
    else if (state?.status === 'sending') verdict = verdictOfHeld(held, answer, rules, atMs);
    else if (state?.status === 'accepted') verdict = { kind: 'deferred', dueMs: atMs };
    // It has ended, or its day is gone: any end takes its row out of the queue, and changes nothing else.
    else verdict = { kind: 'unknown', reason: 'it has ended' };
    const lane = due.express ? 'express' : 'normal';
    const outcome = { messageId, verdict, operator: undefined, attempt, atMs, lane } as const;
    this.#ending.add(outcome);
    settle(outcome);
  }

  /** busy: the operator is being asked about as many as may be. */
  async #query(
    operator: Operator,
    messageId: string,
    operatorId: string | null,
    signal: AbortSignal,
  ): Promise<QueryResult | 'busy'> {
    const asked = this.#asked.get(operator.name) ?? 0;
    if (asked >= ASKED_MAX) return 'busy';
    this.#asked.set(operator.name, asked + 1);
    try {
      return await operator.query!(messageId, operatorId, signal);
    } catch (error) {
      // A driver never rejects; of one that does nothing is known.
      return { kind: 'unanswered', reason: `the driver failed: ${(error as Error).message}` };
    } finally {
      this.#asked.set(operator.name, this.#asked.get(operator.name)! - 1);
    }
  }
}
