/**
 * Retention: takes days out of sms_raw that are past REPORTS_RAW_DAYS, a partition at a time, so no row is rewritten.
 * The sums of migration 003 stay, and stay right:
 *
 *   kept   the begin of the first day that is kept, in sms_rollups. It only moves forward: a longer retention brings no
 *          message back. The rollup computes no minute before it, because some of its messages may be gone
 *   order  a pass drops what the pass before has given up. A computation that began before that has ended by then
 *   late   a record that comes for a day that is gone is dropped by the next pass, and changes no sum
 *
 * No TTL of ClickHouse: that takes rows at a moment of its own, so nobody could say which minutes are still whole.
 */
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import { DAY_MS, isoOf } from './range.ts';

/** The row of sms_rollups. */
export const KEPT = 'raw';
/** Waits for merges of the partition. */
const TIMEOUT_MS = 60_000;

/** Begin of the first day, UTC, whose messages are all there, ms since 1970; 0: nothing was given up yet. */
export async function keptSince(client: ClickHouse): Promise<number> {
  const [row] = await client.rows<{ until: number }>(
    'SELECT max(until) AS until FROM sms_rollups WHERE name = {name:String}',
    { params: { name: KEPT } },
  );
  return row?.until ?? 0;
}

export class Retention {
  readonly #client: ClickHouse;
  readonly #days: number;

  /** `days`: REPORTS_RAW_DAYS. */
  constructor(client: ClickHouse, days: number) {
    this.#client = client;
    this.#days = days;
  }

  /** Returns the days that it has dropped, as 20261128. Call it behind a pass of the rollup. */
  async pass(): Promise<readonly string[]> {
    const kept = await keptSince(this.#client);
    const dropped = await this.#drop(kept);
    const [clock] = await this.#client.rows<{ now: number }>('SELECT toUnixTimestamp64Milli(now64(3)) AS now');
    const first = Math.max(0, Math.floor(clock!.now / DAY_MS) - this.#days) * DAY_MS;
    if (first > kept)
      await this.#client.command('INSERT INTO sms_rollups (name, until) SELECT {name:String}, {until:UInt64}', {
        params: { name: KEPT, until: first },
      });
    return dropped;
  }

  async #drop(kept: number): Promise<readonly string[]> {
    const rows = await this.#client.rows<{ partition: string }>(
      `SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() AND table = 'sms_raw' AND active
        AND partition < {first:String} ORDER BY partition`,
      { params: { first: isoOf(kept).slice(0, 10).replaceAll('-', '') } },
    );
    const days = rows.map(({ partition }) => partition).filter((partition) => /^\d{8}$/.test(partition));
    for (const day of days)
      await this.#client.command(`ALTER TABLE sms_raw DROP PARTITION ${day}`, {
        // A day of many messages is larger than what a server lets go by default.
        settings: { max_partition_size_to_drop: 0 },
        timeoutMs: TIMEOUT_MS,
      });
    return days;
  }
}
