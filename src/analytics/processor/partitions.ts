/**
 * Partitions: months of `events` and `visitor_days` (store/postgres/month-partitions.ts), weeks of `event_ids`.
 *
 *   months   past ones are also made when a load brings events of theirs
 *   weeks    this one and the next; dropped when they ended EVENT_ID_DAYS ago
 */
import { type Logger, Transitions } from '../../kernel/log.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { inTurn } from '../../store/postgres/in-turn.ts';
import {
  beginOf,
  byTime,
  MONTHS_AHEAD,
  MONTHS_BACK,
  MonthPartitions,
  monthNow,
  monthsOf,
  monthText,
} from '../../store/postgres/month-partitions.ts';
import { attached, partitionLock, type Sql, withinLock } from '../../store/postgres/time-partitions.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import { DAY_MS } from '../dimensions.ts';

const WEEK_MS = 7 * DAY_MS;
/** A month that could not be made is tried again by a load after this time. */
const AGAIN_MS = 30_000;
/** Months that a load keeps in mind. */
const KNOWN_MAX = 1000;
/** That of dedupe.ts. */
const WEEK_LOCK = partitionLock('ringmain event_ids');

export const months = new MonthPartitions<'events' | 'visitor_days'>(
  [
    byTime('events', '"timestamp"'),
    {
      table: 'visitor_days',
      column: 'day',
      bound: (month) => String(beginOf(month) / DAY_MS),
      time: 'to_timestamp(day * 86400.0)',
    },
  ],
  'ringmain analytics partitions',
);

/** Weeks since 1970, by the server's clock. */
export async function weekNow(sql: Sql): Promise<number> {
  return Math.floor((await monthNow(sql)).ms / WEEK_MS);
}

/** Weeks of `event_ids` that have a partition. */
async function weeksOf(sql: Sql): Promise<readonly number[]> {
  const names = [...(await attached(sql, 'event_ids'))];
  return names.map((name) => Number(name.slice('event_ids_'.length))).sort((a, b) => a - b);
}

/** Makes this month, those ahead, and those whose rows lie in the default partition; this week and the next. */
export async function makePartitions(link: PostgresLink): Promise<void> {
  await inTurn(link, [() => months.make(link), () => makeWeeks(link)]);
}

async function makeWeeks(link: PostgresLink): Promise<void> {
  const week = await weekNow(link);
  const weeks = await weeksOf(link);
  for (const one of [week, week + 1]) if (!weeks.includes(one)) await makeWeek(link, one);
}

function makeWeek(link: PostgresLink, week: number): Promise<void> {
  const name = `event_ids_${week}`;
  return withinLock(link, WEEK_LOCK, async () => {
    if ((await attached(link, 'event_ids')).has(name)) return;
    await link.query(`CREATE TABLE ${name} (LIKE event_ids INCLUDING ALL)`);
    await link.query(`ALTER TABLE event_ids ATTACH PARTITION ${name} FOR VALUES IN (${week})`);
  });
}

/** Drops the weeks that ended more than `days` ago, and forgets what was refused in them; returns their names. */
export async function dropWeeks(link: PostgresLink, days: number): Promise<readonly string[]> {
  const { ms } = await monthNow(link);
  const old = (await weeksOf(link)).filter((week) => (week + 1) * WEEK_MS + days * DAY_MS <= ms);
  const names = old.map((week) => `event_ids_${week}`);
  await inTurn(link, [
    ...names.map((name) => () => withinLock(link, WEEK_LOCK, () => link.query(`DROP TABLE IF EXISTS ${name}`))),
    () =>
      link.query('DELETE FROM refused_events WHERE (week + 1) * $1::bigint <= $2::bigint', [
        WEEK_MS,
        Math.floor(ms) - days * DAY_MS,
      ]),
  ]);
  return names;
}

/** Makes months for a load, on a session of its own, so that the load's transaction holds no lock of theirs. */
export class MonthsOnDemand {
  readonly #dsn: string;
  readonly #known = new Set<number>();
  readonly #told: Transitions;
  readonly #make: (link: PostgresLink, month: number) => Promise<void>;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(
    dsn: string,
    log: Pick<Logger, 'info' | 'warn'>,
    make = (link: PostgresLink, month: number) => months.makePeriod(link, month),
  ) {
    this.#dsn = dsn;
    this.#told = new Transitions(log);
    this.#make = make;
  }

  /**
   * The months (dimensions.ts: monthOf) have their partitions afterwards, but for those out of reach and those that
   * cannot be had now: their rows go to the default partition. Called before the transaction touches the tables.
   */
  async ensure(transaction: Sql, wanted: readonly number[]): Promise<void> {
    const unknown = wanted.filter((month) => !this.#known.has(month));
    if (unknown.length === 0) return;
    const { month: now } = await monthNow(transaction);
    const inReach = unknown.filter((month) => month >= now - MONTHS_BACK && month <= now + MONTHS_AHEAD);
    if (inReach.length === 0) return;
    const there: (readonly number[])[] = [];
    for (const { table } of months.tables) there.push(await monthsOf(transaction, table));
    const missing = inReach.filter((month) => !there.every((has) => has.includes(month)));
    if (this.#known.size > KNOWN_MAX) this.#known.clear();
    for (const month of inReach) if (!missing.includes(month)) this.#known.add(month);
    if (missing.length === 0 || performance.now() < this.#notBefore) return;
    try {
      await this.#makeAll(missing);
      this.#told.up('months', 'partitions of past months can be made again');
    } catch (error) {
      this.#notBefore = performance.now() + AGAIN_MS;
      const fields = { months: missing.map(monthText), reason: describeFault(error) };
      this.#told.down(
        'months',
        'partitions of past months cannot be made; their events wait in events_default',
        fields,
      );
    }
  }

  async #makeAll(missing: readonly number[]): Promise<void> {
    const link = await openLink(this.#dsn, { applicationName: 'ringmain-analytics-months', settings: passing });
    try {
      await inTurn(
        link,
        missing.map((month) => async () => {
          await this.#make(link, month);
          this.#known.add(month);
        }),
      );
    } finally {
      await link.close();
    }
  }
}
