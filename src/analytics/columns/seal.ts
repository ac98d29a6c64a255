/**
 * Seals the days that are over: writes their columns. A day that has got events since it was sealed is sealed again;
 * until then questions read its raw events. One transaction reads the day's revision and its events in one snapshot, so
 * events that come meanwhile raise the revision beyond that of the columns, and the day is simply due once more.
 * Columns are deleted with the raw events (processor/retention.ts): they tell as much.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { ALL_SITES } from '../processor/retention.ts';
import { buildFromRaw, type SiteDay, SORT_MEMORY } from './raw.ts';
import { writeDay } from './store.ts';

const LATEST_MS = 10 * 60_000;

export interface SealOptions {
  /** Days before this one are over. */
  readonly today: number;
  /**
   * RETENTION_DAYS; a site may have a shorter one. Older days have lost raw events, and stay as they are; so do those
   * that a shorter retention has touched before (`kept_from`).
   */
  readonly retentionDays?: number | undefined;
  /** SESSION_TIMEOUT, ms. */
  readonly gapMs: number;
  /** Most days of one run. */
  readonly daysMax: number;
  /** Days that still change wait; left out: none does. */
  readonly rest?: Rest;
  readonly signal?: AbortSignal;
}

interface DueDay extends SiteDay {
  readonly revision: number;
}

/**
 * Which of the days that are due have come to rest: nothing has come for them since the run before. While a backlog of
 * such a day is drained, its revision grows with every batch, and each run would read and sort the whole day for columns
 * that are stale at once. A day that does not rest is sealed LATEST_MS after it was first due: until then questions with
 * filters read its raw events.
 */
export class Rest {
  readonly #now: () => number;
  #seen: ReadonlyMap<string, { readonly revision: number; readonly sinceMs: number }> = new Map();

  /** `now`: ms of a clock that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Called once a run with the days that are due. Keeps them in mind, and no others. */
  of<D extends DueDay>(due: readonly D[]): readonly D[] {
    const now = this.#now();
    const seen = new Map<string, { revision: number; sinceMs: number }>();
    const rested = due.filter(({ site, day, revision }) => {
      const key = `${site}/${day}`;
      const before = this.#seen.get(key);
      const sinceMs = before?.sinceMs ?? now;
      const rests = before?.revision === revision || now - sinceMs >= LATEST_MS;
      // A day that changes on is due anew.
      seen.set(key, { revision, sinceMs: rests ? now : sinceMs });
      return rests;
    });
    this.#seen = seen;
    return rested;
  }
}

/**
 * Returns how many days it has sealed: `daysMax` means that more may be due. A day that fails does not keep the others
 * waiting; its error is thrown when they are done.
 */
export async function sealDays(link: PostgresLink, options: SealOptions): Promise<number> {
  const due = await dueDays(link, options);
  const failures: unknown[] = [];
  let sealed = 0;
  for (const one of due) {
    if (options.signal?.aborted) break;
    try {
      await sealDay(link, one, options.gapMs);
      sealed += 1;
    } catch (error) {
      if (link.broken !== undefined) throw error;
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return sealed;
}

/** The oldest first: a site whose last days change all the time must not keep the others waiting. */
async function dueDays(link: PostgresLink, options: SealOptions): Promise<readonly SiteDay[]> {
  const { rows } = await link.query<{ site: number; day: number; revision: number }>(
    `SELECT d.site, d.day, d.revision FROM site_days d
       JOIN sites s ON s.site = d.site
       LEFT JOIN kept_from k ON k.site = d.site
       LEFT JOIN day_columns c ON c.site = d.site AND c.day = d.day AND c.name = 'head'
       WHERE d.day < $1 AND c.revision IS DISTINCT FROM d.revision
         AND d.day > $1 - coalesce(least(s.retention_days, $2), 1000000)
         AND d.day >= coalesce(greatest(k.day, (SELECT day FROM kept_from WHERE site = ${ALL_SITES})), d.day)
       ORDER BY d.day, d.site LIMIT $3`,
    [options.today, options.retentionDays ?? null, options.daysMax],
  );
  return options.rest?.of(rows) ?? rows;
}

export async function sealDay(link: PostgresLink, of: SiteDay, gapMs: number): Promise<void> {
  await link.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL work_mem = '${SORT_MEMORY}'`);
  try {
    const { rows } = await link.query<{ revision: number }>(
      'SELECT revision FROM site_days WHERE site = $1 AND day = $2',
      [of.site, of.day],
    );
    const revision = rows[0]?.revision;
    if (revision !== undefined) await writeDay(link, of, revision, await buildFromRaw(link, of, gapMs));
    await link.query('COMMIT');
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    throw error;
  }
}
