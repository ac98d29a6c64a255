/** Queries: what reports ask ClickHouse. Ranges are whole steps already (range.ts). */
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import type { Spender } from './balances.ts';
import type { Amount, CustomerRow, Figures, Latency, OperatorRow, TimeRow } from './contract.ts';
import { DAY_MS, isoOf, type Range } from './range.ts';

/** Reports answer at once, or not: whoever asks can ask for less. */
const TIMEOUT_MS = 20_000;
const settings = { max_execution_time: 15 } as const;

const counts = ['accepted', 'sent', 'delivered', 'failed', 'unknown'] as const;
/** Amounts come as text: a number of JSON would be rounded beyond 2^53. */
const figures = [...counts, 'toString(cost) AS cost'].join(', ');
/** UInt64 would begin anew at 2^64 without a word. */
const summed = [...counts.map((name) => `sum(${name}) AS ${name}_`), 'toString(sum(toUInt128(cost))) AS cost_'].join(
  ', ',
);
const shownSums = [...counts, 'cost'].map((name) => `${name}_ AS ${name}`).join(', ');

/** A row as ClickHouse writes it. */
type Told<R extends Figures> = Omit<R, 'cost'> & { readonly cost: string };
function exactly<R extends Figures>({ cost, ...rest }: Told<R>): R {
  const amount = Number(cost);
  const exact: Amount = Number.isSafeInteger(amount) ? amount : BigInt(cost);
  return { ...rest, cost: exact } as unknown as R;
}

const seconds = ({ from, to }: Range) => ({ from: from / 1000, to: to / 1000 });
const within = "minute >= toDateTime({from:UInt32}, 'UTC') AND minute < toDateTime({to:UInt32}, 'UTC')";
const withinDays = "day >= toDate(toDateTime({from:UInt32}, 'UTC')) AND day < toDate(toDateTime({to:UInt32}, 'UTC'))";

type Counted = Figures & { readonly at: number };
const timed = (rows: readonly Told<Counted>[]): TimeRow[] =>
  rows.map((row) => {
    const { at, ...rest } = exactly<Counted>(row);
    return { time: isoOf(at * 1000), ...rest };
  });

/** A row per minute that has messages. Without a customer: of all. */
export async function byMinute(client: ClickHouse, range: Range, customer: string | undefined): Promise<TimeRow[]> {
  const sql =
    customer === undefined
      ? `SELECT toUnixTimestamp(minute) AS at, ${shownSums} FROM (
          SELECT minute, ${summed} FROM sms_operator_minutes FINAL WHERE ${within} GROUP BY minute)
        WHERE accepted > 0 ORDER BY at`
      : `SELECT toUnixTimestamp(minute) AS at, ${figures} FROM sms_minutes FINAL
        WHERE customer_id = {customer:String} AND ${within} ORDER BY at`;
  const params = { ...seconds(range), ...(customer === undefined ? {} : { customer }) };
  return timed(await client.rows(sql, { params, settings, timeoutMs: TIMEOUT_MS }));
}

/** A row per day, UTC, that has messages. */
export async function byDay(client: ClickHouse, range: Range, customer: string | undefined): Promise<TimeRow[]> {
  const sql =
    customer === undefined
      ? `SELECT at, ${shownSums} FROM (
          SELECT toUnixTimestamp(toStartOfDay(minute)) AS at, ${summed} FROM sms_operator_minutes FINAL WHERE ${within}
          GROUP BY at)
        WHERE accepted > 0 ORDER BY at`
      : `SELECT toUInt32(toUInt16(day)) * ${DAY_MS / 1000} AS at, ${figures} FROM sms_days FINAL
        WHERE customer_id = {customer:String} AND ${withinDays} ORDER BY at`;
  const params = { ...seconds(range), ...(customer === undefined ? {} : { customer }) };
  return timed(await client.rows(sql, { params, settings, timeoutMs: TIMEOUT_MS }));
}

interface RawOperatorRow extends Figures {
  readonly operator: string;
  readonly type: string;
  readonly out: readonly (number | null)[];
  readonly handset: readonly (number | null)[];
}

const latency = ([p50, p95, p99]: readonly (number | null)[]): Latency => ({
  p50: whole(p50),
  p95: whole(p95),
  p99: whole(p99),
});
const whole = (ms: number | null | undefined): number | null =>
  ms === null || ms === undefined ? null : Math.round(ms);

/** Rates and latencies by operator and lane, busiest first. */
export async function byOperator(client: ClickHouse, range: Range): Promise<OperatorRow[]> {
  const rows = await client.rows<Told<RawOperatorRow>>(
    `SELECT operator, type, ${shownSums}, out, handset FROM (
      SELECT operator, type, ${summed},
        quantilesTDigestMerge(0.5, 0.95, 0.99)(to_operator) AS out,
        quantilesTDigestMerge(0.5, 0.95, 0.99)(to_handset) AS handset
      FROM sms_operator_minutes FINAL WHERE ${within} GROUP BY operator, type)
    WHERE accepted > 0 ORDER BY accepted DESC, operator, type LIMIT 1000`,
    { params: seconds(range), settings, timeoutMs: TIMEOUT_MS },
  );
  return rows.map(exactly<RawOperatorRow>).map(({ out, handset, ...row }) => ({
    ...row,
    delivery_rate: row.sent === 0 ? null : row.delivered / row.sent,
    to_operator_ms: latency(out),
    to_handset_ms: latency(handset),
  }));
}

/** Customers with the most messages in whole days. */
export async function topCustomers(client: ClickHouse, range: Range, limit: number): Promise<readonly CustomerRow[]> {
  const rows = await client.rows<Told<CustomerRow>>(
    `SELECT customer_id, ${shownSums} FROM (
      SELECT customer_id, ${summed} FROM sms_days FINAL WHERE ${withinDays} GROUP BY customer_id)
    ORDER BY accepted DESC, customer_id LIMIT {limit:UInt32}`,
    { params: { ...seconds(range), limit }, settings, timeoutMs: TIMEOUT_MS },
  );
  return rows.map(exactly<CustomerRow>);
}

/**
 * What customers have spent in whole days, and since `lately`; those that spent most first, none that spent nothing. For
 * the pace of spending, which is an estimate: nothing is charged by it.
 */
export async function spenders(
  client: ClickHouse,
  range: Range,
  lately: number,
  limit: number,
): Promise<readonly Spender[]> {
  return client.rows<Spender>(
    `SELECT customer_id, sum(toFloat64(cost)) AS spent,
      sumIf(toFloat64(cost), day >= toDate(toDateTime({lately:UInt32}, 'UTC'))) AS lately
    FROM sms_days FINAL WHERE ${withinDays} GROUP BY customer_id HAVING spent > 0
    ORDER BY spent DESC, customer_id LIMIT {limit:UInt32}`,
    { params: { ...seconds(range), lately: lately / 1000, limit }, settings, timeoutMs: TIMEOUT_MS },
  );
}
