/** Messages as accepting leaves them, an operator in this process, and a worker around it, for tests of delivery. */
import { setTimeout as delay } from 'node:timers/promises';
import { loadConfig } from '../../../src/kernel/config.ts';
import { byIndex } from '../../../src/sms/by-index.ts';
import { workerConfig } from '../../../src/sms/delivery/config.ts';
import { Delivery, type DeliveryDeps } from '../../../src/sms/delivery/delivery.ts';
import { shardOf } from '../../../src/sms/delivery/shard.ts';
import { UlidMaker } from '../../../src/sms/message/ulid.ts';
import type { Lane, OutgoingMessage } from '../../../src/sms/model.ts';
import type {
  Operator,
  OperatorState,
  Place,
  QueryResult,
  Routing,
  SendResult,
} from '../../../src/sms/operators/contract.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { TestScope } from '../../servers/process.ts';

const young = new UlidMaker();
/** Ids of one maker only grow: old ones have another one each time. */
const maker = ({ ageMs }: Wish): UlidMaker => (ageMs === undefined ? young : new UlidMaker());

export interface Wish {
  readonly customer: string;
  readonly count: number;
  readonly lane?: Lane;
  readonly to?: string;
  readonly segments?: number;
  /** Before now, ms. */
  readonly ageMs?: number;
  readonly validMs?: number;
  readonly callback?: string;
  /** False: accepted, and not in the queue. */
  readonly queued?: boolean;
}

/** Accepts messages of customers that exist, each for 1, and puts them into the queue. Returns their ids. */
export async function accept(link: PostgresLink, wishes: readonly Wish[]): Promise<string[]> {
  const rows = wishes.flatMap((wish) =>
    Array.from({ length: wish.count }, () => ({ id: maker(wish).make(Date.now() - (wish.ageMs ?? 0)), wish })),
  );
  const ids = rows.map(({ id }) => id);
  await link.query(
    `WITH given AS (
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int2[], $6::float8[], $7::float8[],
         $8::text[]) AS g (message_id, customer_id, lane, recipient, segments, created_ms, valid_ms, callback_url)
     ), logs AS (
       INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, lane, segments, cost, valid_until,
           callback_url)
         SELECT to_timestamp(created_ms / 1000), message_id, customer_id, recipient, 'text', lane, segments, 1,
           to_timestamp(valid_ms / 1000), callback_url FROM given
     ), ledger AS (
       INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
         SELECT customer_id, 'reserve', 'available', 'reserved', 1, message_id FROM given
     )
     UPDATE customers c SET balance = balance - n, reserved = reserved + n, waiting = waiting + n
       FROM (SELECT customer_id, count(*) AS n FROM given GROUP BY customer_id) s WHERE c.customer_id = s.customer_id`,
    [
      ids,
      rows.map(({ wish }) => wish.customer),
      rows.map(({ wish }) => wish.lane ?? 'normal'),
      rows.map(({ wish }) => wish.to ?? '+989121234567'),
      rows.map(({ wish }) => wish.segments ?? 1),
      rows.map(({ id }) => timeIn(id)),
      rows.map(({ id, wish }) => timeIn(id) + (wish.validMs ?? 3_600_000)),
      rows.map(({ wish }) => wish.callback ?? null),
    ],
  );
  await enqueue(
    link,
    rows.filter(({ wish }) => wish.queued !== false).map(({ id, wish }) => ({ id, wish })),
  );
  return ids;
}

/** As the load does, with what it reads from a record. */
export async function enqueue(
  link: PostgresLink,
  rows: readonly { readonly id: string; readonly wish: Wish }[],
): Promise<void> {
  await link.query(
    `INSERT INTO sms_queue (message_id, customer_id, shard, express, segments, recipient, accepted_ms, valid_ms, due_ms)
       SELECT m, c, s, e, n, r, a, v, a FROM unnest($1::text[], $2::text[], $3::int2[], $4::bool[], $5::int2[],
         $6::text[], $7::int8[], $8::int8[]) AS g (m, c, s, e, n, r, a, v) ON CONFLICT DO NOTHING`,
    [
      rows.map(({ id }) => id),
      rows.map(({ wish }) => wish.customer),
      rows.map(({ wish }) => shardOf(wish.customer)),
      rows.map(({ wish }) => wish.lane === 'express'),
      rows.map(({ wish }) => wish.segments ?? 1),
      rows.map(({ wish }) => wish.to ?? '+989121234567'),
      rows.map(({ id }) => timeIn(id)),
      rows.map(({ id, wish }) => timeIn(id) + (wish.validMs ?? 3_600_000)),
    ],
  );
}

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const timeIn = (id: string): number => [...id.slice(0, 10)].reduce((ms, digit) => 32 * ms + DIGITS.indexOf(digit), 0);

export type Answer = SendResult | Promise<SendResult>;

/** An operator in this process. */
export class FakeOperator implements Operator {
  readonly name: string;
  receiptsBear: 'message_id' | 'operator_id' = 'message_id';
  readonly sent: OutgoingMessage[] = [];
  readonly asked: string[] = [];
  answer: (message: OutgoingMessage) => Answer = ({ messageId }) => ({ kind: 'taken', id: `op-${messageId}` });
  query?: (messageId: string, operatorId: string | null, signal: AbortSignal) => Promise<QueryResult>;

  constructor(name: string) {
    this.name = name;
  }

  async send(message: OutgoingMessage): Promise<SendResult> {
    this.sent.push(message);
    return this.answer(message);
  }

  state(): OperatorState {
    return 'up';
  }

  /** How often each message was sent. */
  get counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { messageId } of this.sent) counts.set(messageId, (counts.get(messageId) ?? 0) + 1);
    return counts;
  }
}

/** The first operator of the list that was not tried, while it has room. */
export class FakeRouting implements Routing {
  readonly operators: readonly FakeOperator[];
  window = Number.POSITIVE_INFINITY;
  /** Pieces per second; undefined: no limit. */
  tps: number | undefined;
  out = 0;
  #budget = 0;
  #filledMs = performance.now();

  constructor(...operators: FakeOperator[]) {
    this.operators = operators;
  }

  reserve(
    _message: unknown,
    tried: readonly string[],
  ): Place | { readonly kind: 'wait'; readonly ms: number } | { readonly kind: 'none'; readonly reason: string } {
    const operator = this.operators.find(({ name }) => !tried.includes(name));
    if (operator === undefined) return { kind: 'wait', ms: 100 };
    if (this.out >= this.window || !this.#piece()) return { kind: 'wait', ms: 5 };
    this.out += 1;
    return {
      kind: 'place',
      operator,
      release: () => {
        this.out -= 1;
      },
    };
  }

  async close(): Promise<void> {}

  #piece(): boolean {
    if (this.tps === undefined) return true;
    const nowMs = performance.now();
    this.#budget = Math.min(this.tps / 50, this.#budget + ((nowMs - this.#filledMs) * this.tps) / 1000);
    this.#filledMs = nowMs;
    if (this.#budget < 1) return false;
    this.#budget -= 1;
    return true;
  }
}

export interface RunningDelivery {
  readonly delivery: Delivery;
  readonly routing: Routing;
  readonly told: { held: number; gone: number; late: number; took: number[] };
  stop(): Promise<void>;
}

/** A worker in this process; ends with the test. `options`: as on the command line. */
export function startDelivery(
  t: TestScope,
  dsn: string,
  routing: Routing,
  options: Readonly<Record<string, string>> = {},
): RunningDelivery {
  const argv = Object.entries({ RETRY_MS: '50ms', RETRY_MAX_MS: '200ms', ...options }).map(
    ([name, value]) => `--${name.toLowerCase().replaceAll('_', '-')}=${value}`,
  );
  const config = loadConfig([workerConfig], { argv, env: {} }).values.worker;
  const told = { held: 0, gone: 0, late: 0, took: [] as number[] };
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const delivery = new Delivery({
    open: (purpose) => openLink(dsn, { applicationName: `test-${purpose}`, settings: byIndex }),
    routing,
    config,
    log: quiet as unknown as DeliveryDeps['log'],
    told: {
      attempted: () => undefined,
      recorded: (held, gone) => {
        told.held += held;
        told.gone += gone;
      },
      settled: () => undefined,
      handOver: ({ late, tookMs }) => {
        if (late) told.late += 1;
        if (tookMs !== undefined) told.took.push(tookMs);
      },
    },
    standing: () => undefined,
    now: () => Date.now(),
  });
  const end = new AbortController();
  const running = delivery.run(end.signal, 2000);
  const stop = async (): Promise<void> => {
    end.abort();
    await running;
  };
  t.onTestFinished(stop);
  return { delivery, routing, told, stop };
}

/** How many messages stand in each state. */
export async function statesOf(link: PostgresLink): Promise<Readonly<Record<string, number>>> {
  const { rows } = await link.query<{ status: string; n: number }>(
    'SELECT status, count(*)::int AS n FROM sms_logs GROUP BY status',
  );
  return Object.fromEntries(rows.map(({ status, n }) => [status, n]));
}

export const queueRows = async (link: PostgresLink): Promise<number> =>
  (await link.query<{ n: number }>('SELECT count(*)::int AS n FROM sms_queue')).rows[0]!.n;

export { delay };
