/**
 * Rollup: keeps the sums of migration 003 equal to what sms_raw says. Sums are never added to: a minute for which
 * records have come is computed anew as a whole, so a record that comes twice, or days late, leaves the right number.
 *
 *   which    minutes with rows inserted since the last pass, and within OVERLAP_MS before it: an insert may become
 *            visible a little after the time that stands in its rows, at most INSERT_S_MAX. Of these, minutes that have
 *            the same rows as when this process computed them last are left out
 *   version  the time of the server before the pass reads. Of two computations of a minute the one that began later
 *            wins; what neither saw is inserted later still, and computed by the next pass
 *   kept     minutes before the first day that is kept are left as they are (retention.ts)
 *   bounded  MINUTES_AT_ONCE minutes per statement; within it ClickHouse reads in the order of the table
 *   crash    a pass that did not end is repeated from where the last whole one began
 *
 * Several processes may run it at once: that costs work, and changes no number. They take turns (turn.ts).
 */
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import { inOrder, messagesWhere } from './messages.ts';
import { INSERT_S_MAX } from './place.ts';
import { KEPT } from './retention.ts';

const OVERLAP_MS = (INSERT_S_MAX + 10) * 1000;
const MINUTES_AT_ONCE = 10;
const NAME = 'minutes';
/** A computation may wait for merges. */
const TIMEOUT_MS = 10 * 60_000;
const DAY_S = 86_400;

const sums = `
  count() AS accepted, countIf(m_sent) AS sent, countIf(m_status = 'delivered') AS delivered,
  countIf(m_status = 'failed') AS failed, countIf(m_status = 'unknown') AS unknown, sum(m_cost) AS cost`;

/** `minutes`: whole seconds since 1970, in an array. */
const touched = 'minute IN (SELECT arrayJoin({minutes:Array(UInt32)}))';

const minutesSql = `
  INSERT INTO sms_minutes (customer_id, minute, accepted, sent, delivered, failed, unknown, cost, version)
  SELECT customer_id, minute, ${sums}, {version:UInt64}
  FROM (${messagesWhere(touched)}) GROUP BY customer_id, minute ${inOrder}`;

/**
 * A message that another operator has taken over leaves the sums of the first one. Rows of operators that have no
 * message left are computed as well, or their old sums would stay: each row that is there counts as a message that is
 * none.
 */
const operatorsSql = `
  INSERT INTO sms_operator_minutes (minute, operator, type, accepted, sent, delivered, failed, unknown, cost,
    to_operator, to_handset, version)
  SELECT minute, m_operator, m_type, countIf(is), countIf(is AND m_sent), countIf(is AND m_status = 'delivered'),
    countIf(is AND m_status = 'failed'), countIf(is AND m_status = 'unknown'), sumIf(m_cost, is),
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(toFloat32(m_sent_at - m_began_at), is AND m_sent_at >= m_began_at),
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(toFloat32(m_delivered_at - m_sent_at),
      is AND m_sent_at > 0 AND m_delivered_at >= m_sent_at),
    {version:UInt64}
  FROM (
    SELECT minute, m_operator, m_type, m_status, m_sent, m_cost, m_began_at, m_sent_at, m_delivered_at, true AS is
    FROM (${messagesWhere(touched)})
    UNION ALL
    SELECT minute, operator, type, '', false, 0, 0, 0, 0, false FROM sms_operator_minutes WHERE ${touched}
  )
  GROUP BY minute, m_operator, m_type ${inOrder}`;

/** Days of the customers whose minutes this pass has computed. */
const daysSql = `
  INSERT INTO sms_days (day, customer_id, accepted, sent, delivered, failed, unknown, cost, version)
  SELECT toDate(minute), customer_id, sum(accepted), sum(sent), sum(delivered), sum(failed), sum(unknown), sum(cost),
    {version:UInt64}
  FROM sms_minutes FINAL
  WHERE minute >= toDateTime({day:UInt32}, 'UTC') AND minute < toDateTime({day:UInt32} + ${DAY_S}, 'UTC')
    AND customer_id IN (SELECT customer_id FROM sms_minutes WHERE version = {version:UInt64}
      AND minute >= toDateTime({day:UInt32}, 'UTC') AND minute < toDateTime({day:UInt32} + ${DAY_S}, 'UTC'))
  GROUP BY toDate(minute), customer_id`;

/** How long signatures of minutes are compared: they are over the rows inserted since then. */
const BASE_MS_MAX = 5 * 60_000;

interface Due {
  readonly minute: number;
  /** Of the rows that were inserted since the base: another row, or one less after a merge, makes it another. */
  readonly signature: string;
}

export class Rollup {
  readonly #client: ClickHouse;
  /** Ms since 1970, by the server. */
  #base = 0;
  readonly #computed = new Map<number, string>();

  constructor(client: ClickHouse) {
    this.#client = client;
  }

  /** Computes what is due; returns how many minutes that were. */
  async pass(signal: AbortSignal): Promise<number> {
    const [start] = await this.#client.rows<{ now: number; version: number; until: number; kept: number }>(
      `SELECT toUnixTimestamp64Milli(now64(3)) AS now, toUnixTimestamp64Micro(now64(6)) AS version,
        (SELECT max(until) FROM sms_rollups WHERE name = {name:String}) AS until,
        (SELECT max(until) FROM sms_rollups WHERE name = {keptName:String}) AS kept`,
      { params: { name: NAME, keptName: KEPT } },
    );
    const { now, version, until, kept } = start!;
    const due = await this.#due(Math.max(0, until - OVERLAP_MS), now, kept);
    const minutes = due.map(({ minute }) => minute);
    await this.#compute(minutes, version, signal);
    for (const { minute, signature } of due) this.#computed.set(minute, signature);
    await this.#client.command('INSERT INTO sms_rollups (name, until) SELECT {name:String}, {until:UInt64}', {
      params: { name: NAME, until: now },
    });
    return minutes.length;
  }

  async #due(since: number, now: number, kept: number): Promise<readonly Due[]> {
    if (now - this.#base > BASE_MS_MAX) {
      this.#base = since;
      this.#computed.clear();
    }
    const touched = await this.#client.rows<Due>(
      `SELECT toUnixTimestamp(minute) AS minute,
        concat(toString(count()), ' ', toString(sum(toUnixTimestamp64Milli(inserted_at)))) AS signature
      FROM sms_raw WHERE inserted_at >= fromUnixTimestamp64Milli({base:Int64})
        AND minute >= toDateTime({kept:UInt32}, 'UTC')
      GROUP BY minute HAVING max(inserted_at) >= fromUnixTimestamp64Milli({since:Int64}) ORDER BY minute`,
      { params: { base: Math.min(this.#base, since), since, kept: kept / 1000 }, timeoutMs: TIMEOUT_MS },
    );
    return touched.filter(({ minute, signature }) => this.#computed.get(minute) !== signature);
  }

  async #compute(minutes: readonly number[], version: number, signal: AbortSignal): Promise<void> {
    for (let i = 0; i < minutes.length; i += MINUTES_AT_ONCE) {
      const params = { minutes: `[${minutes.slice(i, i + MINUTES_AT_ONCE)}]`, version };
      await this.#client.command(minutesSql, { params, timeoutMs: TIMEOUT_MS, signal });
      await this.#client.command(operatorsSql, { params, timeoutMs: TIMEOUT_MS, signal });
    }
    for (const day of new Set(minutes.map((minute) => minute - (minute % DAY_S))))
      await this.#client.command(daysSql, { params: { day, version }, timeoutMs: TIMEOUT_MS, signal });
  }
}
