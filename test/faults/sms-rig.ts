/**
 * What the fault tests of the SMS gateway have in common: clients that repeat a send until it is answered, an operator
 * whose temper is random, and the comparison of all books at the end: answers, messages, ledger, and what the operator has.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { audit } from '../../src/sms/money/audit.ts';
import type { HttpOperator, OperatorBehaviour } from '../servers/http-operator.ts';
import { openLink, type PostgresLink } from '../sms/database.ts';

/** Numbers from 0 to 1 by a seed (mulberry32, public domain). */
export function randomBy(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Most are taken; some refused for good or put off; some are taken, or not, without an answer. */
export function temper(random: () => number): () => OperatorBehaviour {
  return () => {
    const at = random();
    if (at < 0.86) return 'take';
    if (at < 0.92) return 'refuse';
    return (['throttle', 'away', 'cut', 'drop', 'broken', 'silent'] as const)[Math.floor(random() * 6)]!;
  };
}

/** Options that make everything that waits come soon. */
export const impatient = {
  ACCESS: 'open',
  RETRY_MS: '50ms',
  RETRY_MAX_MS: '500ms',
  CALL_TIMEOUT_MS: '1500ms',
  UNKNOWN_HOLD_S: '20',
  STRANDED_AFTER_S: '10',
  DRAIN_TIMEOUT_MS: '2000',
};

export interface Answer {
  readonly status: number;
  readonly ms: number;
}

export class Clients {
  readonly customers: readonly string[];
  /** Ids that keys were answered with. */
  readonly answered = new Map<string, string>();
  /** Every answer; status 0: none came. */
  readonly answers: Answer[] = [];
  readonly #url: () => string;
  readonly #random: () => number;
  readonly #validityS: number | undefined;
  #stopped = false;
  #next = 0;
  /** Sends that have their answer: the same key under way twice is rightly refused with 409. */
  readonly #ended: number[] = [];
  #running: Promise<unknown> = Promise.resolve();

  /** `validityS`: of every other message; so short a one ends while the worker that sends it is dead. */
  constructor(url: () => string, customers: readonly string[], seed: number, validityS?: number) {
    this.#url = url;
    this.customers = customers;
    this.#random = randomBy(seed);
    this.#validityS = validityS;
  }

  /** Starts so many clients, each with a pause between two sends. */
  start(clients: number, pauseMs: number): void {
    const run = async (): Promise<void> => {
      while (!this.#stopped) {
        await this.send(this.#next++);
        // Somebody comes again with the key of a message that was answered long ago.
        const again = this.#ended[Math.floor(this.#random() * this.#ended.length)];
        if (this.#random() < 0.05 && again !== undefined) await this.send(again);
        await sleep(pauseMs);
      }
    };
    this.#running = Promise.all(Array.from({ length: clients }, run));
  }

  /** Resolves when the last send has its answer. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Repeats a send until it is answered 200; the same key is never answered with another id. */
  async send(n: number): Promise<void> {
    const key = `k${n}`;
    const customer_id = this.customers[n % this.customers.length]!;
    const type = n % 7 === 0 ? 'express' : 'normal';
    const validity_s = n % 2 === 0 ? this.#validityS : undefined;
    const message = { customer_id, to: '+989121234567', text: `n ${n}`, type, validity_s };
    const body = JSON.stringify({ ...message, idempotency_key: key });
    for (;;) {
      const begun = performance.now();
      const response = await fetch(`${this.#url()}/v1/sms/send`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        signal: AbortSignal.timeout(20_000),
      }).catch(() => undefined);
      const said = (await response?.json().catch(() => undefined)) as { message_id?: string } | undefined;
      this.answers.push({ status: said === undefined ? 0 : response!.status, ms: performance.now() - begun });
      if (response?.status === 200 && said?.message_id !== undefined) {
        const before = this.answered.get(key);
        assert.ok(before === undefined || before === said.message_id, `${key} was answered twice differently`);
        if (before === undefined) this.#ended.push(n);
        this.answered.set(key, said.message_id);
        return;
      }
      assert.ok(
        response === undefined || said === undefined || [409, 503].includes(response.status),
        JSON.stringify(said),
      );
      await sleep(20 + 80 * this.#random());
    }
  }
}

/** Waits until every message has ended. A failure says where the others wait, and whether operators are called. */
export async function untilEnded(dsn: string, seconds = 180): Promise<void> {
  const left = async (): Promise<unknown> => {
    const link = await openLink(dsn);
    try {
      const { rows } = await link.query(
        `SELECT status, money, count(*)::int AS n FROM sms_logs
         WHERE money = 'reserved' OR status IN ('accepted', 'sending') GROUP BY 1, 2`,
      );
      if (rows.length === 0) return rows;
      const { rows: places } = await link.query(
        `SELECT (SELECT count(*)::int FROM sms_outbox) AS outbox, (SELECT count(*)::int FROM sms_queue) AS queue,
           (SELECT count(held_ms)::int FROM sms_queue) AS held,
           (SELECT count(*)::int FROM sms_queue WHERE due_ms > extract(epoch FROM now()) * 1000) AS not_due,
           (SELECT json_agg(o) FROM sms_operator_states o) AS operators`,
      );
      return [...rows, ...places];
    } finally {
      await link.close();
    }
  };
  await expect.poll(left, { timeout: seconds * 1000, interval: 200 }).toEqual([]);
}

interface Row extends Record<string, unknown> {
  readonly message_id: string;
  readonly status: string;
  readonly money: string;
}

export interface Books {
  readonly sent: number;
  readonly failed: number;
  readonly unknown: number;
}

/**
 * Compares all books: each answered message is there once and has ended once, as handed over, refunded or unknown; no
 * operator got one twice; each reservation was captured or refunded once; nothing drifts.
 */
export async function compareBooks(
  link: PostgresLink,
  operators: readonly HttpOperator[],
  answered: ReadonlyMap<string, string>,
): Promise<Books> {
  const { rows } = await link.query<Row>('SELECT message_id, status, money FROM sms_logs');
  assert.deepEqual(rows.map(({ message_id }) => message_id).sort(), [...answered.values()].sort());
  const counts = new Map<string, number>();
  for (const { taken } of operators)
    for (const { message_id } of taken) counts.set(message_id, (counts.get(message_id) ?? 0) + 1);
  assert.deepEqual(
    [...counts].filter(([, count]) => count > 1),
    [],
    'an operator got a message twice',
  );
  const wrong = rows.filter(({ message_id, status, money }) => {
    const has = counts.has(message_id);
    if (status === 'sent' || status === 'delivered') return !has || money !== 'captured';
    if (status === 'failed') return has || money !== 'refunded';
    return status !== 'unknown' || money === 'reserved';
  });
  assert.deepEqual(wrong, [], 'a message did not end as its operator has it');
  const { rows: entries } = await link.query(
    `SELECT message_id, string_agg(kind, ' ' ORDER BY kind DESC) AS kinds FROM balance_txn WHERE message_id IS NOT NULL
     GROUP BY message_id HAVING string_agg(kind, ' ' ORDER BY kind DESC) NOT IN ('reserve refund', 'reserve capture')`,
  );
  assert.deepEqual(entries, [], 'a reservation was not settled once');
  assert.deepEqual((await audit(link)).differences, []);
  const number = (...of: string[]): number => rows.filter(({ status }) => of.includes(status)).length;
  return { sent: number('sent', 'delivered'), failed: number('failed'), unknown: number('unknown') };
}
