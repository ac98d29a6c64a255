/**
 * Seals the days that are over: writes their columns. A day that has got events since it was sealed is sealed again;
 * until then questions read its raw events. One transaction reads the day's revision and its events in one snapshot, so
 * events that come meanwhile raise the revision beyond that of the columns, and the day is simply due once more. When
 * the columns are committed, `site_days.sealed` gets their revision; a process that is stopped in between leaves a day
 * that is sealed once more.
 * Columns are deleted with the raw events (processor/retention.ts): they tell as much.
 */
import { settle } from '../../kernel/threads/settle.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTurn } from '../../store/postgres/in-turn.ts';
import { ALL_SITES } from '../processor/retention.ts';
import { buildFromRaw, type SiteDay, SORT_MEMORY } from './raw.ts';
import { writeDay } from './store.ts';

const LATEST_MS = 10 * 60_000;
/** Events of a day whose building leaves some megabytes of garbage, in a thread that does nothing until the next day is over. */
const LARGE = 100_000;
/** Most days that a run looks at, and that Rest keeps in mind. A few days of each site change at once. */
const LOOK_MAX = 50_000;
/** Days: nobody keeps events so long. */
const EVER = 1_000_000;

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
  /** Most days that one run seals. */
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

  /** Called once a run with the days that are due. Keeps them in mind, and no others. Returns `most` days at most. */
  of<D extends DueDay>(due: readonly D[], most: number): readonly D[] {
    const now = this.#now();
    const seen = new Map<string, { revision: number; sinceMs: number }>();
    const rested: D[] = [];
    for (const one of due) {
      const { site, day, revision } = one;
      const key = `${site}/${day}`;
      const before = this.#seen.get(key);
      const sinceMs = before?.sinceMs ?? now;
      const taken = rested.length < most && (before?.revision === revision || now - sinceMs >= LATEST_MS);
      if (taken) rested.push(one);
      // A day that changes on is due anew.
      seen.set(key, { revision, sinceMs: taken ? now : sinceMs });
    }
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
  let sealed = 0;
  await inTurn(
    link,
    due.map((one) => async () => {
      if (options.signal?.aborted) return;
      await sealDay(link, one, options.gapMs);
      sealed += 1;
    }),
  );
  return sealed;
}

/**
 * The oldest first: a site whose last days change all the time must not keep the others waiting. The index over days
 * that are due finds them, and none that is sealed. Those that change are left out before `daysMax` cuts the list.
 */
async function dueDays(
  link: PostgresLink,
  { today, retentionDays, daysMax, rest }: SealOptions,
): Promise<readonly SiteDay[]> {
  const { rows } = await link.query<{ site: number; day: number; revision: number }>(
    `SELECT d.site, d.day, d.revision FROM site_days d
       JOIN sites s ON s.site = d.site
       LEFT JOIN kept_from k ON k.site = d.site
       WHERE d.due AND d.day < $1 AND d.day > $2 AND (s.retention_days IS NULL OR d.day > $1 - s.retention_days)
         AND d.day >= coalesce((SELECT day FROM kept_from WHERE site = ${ALL_SITES}), $2)
         AND d.day >= coalesce(k.day, $2)
       ORDER BY d.day, d.site LIMIT $3`,
    [today, today - (retentionDays ?? EVER), LOOK_MAX],
  );
  return rest?.of(rows, daysMax) ?? rows.slice(0, daysMax);
}

/** The load takes no notice of the lock; an erase of the site waits for it, so that no columns outlive their site. */
export async function sealDay(link: PostgresLink, of: SiteDay, gapMs: number): Promise<void> {
  let revision: number | undefined;
  let events = 0;
  await link.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL work_mem = '${SORT_MEMORY}'`);
  try {
    const { rows } = await link.query<{ revision: number }>(
      `SELECT d.revision FROM site_days d JOIN sites s ON s.site = d.site
       WHERE d.site = $1 AND d.day = $2 FOR KEY SHARE OF s SKIP LOCKED`,
      [of.site, of.day],
    );
    revision = rows[0]?.revision;
    if (revision !== undefined) {
      const day = await buildFromRaw(link, of, gapMs);
      await writeDay(link, of, revision, day);
      events = day.counts.events;
    }
    await link.query('COMMIT');
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    throw error;
  }
  if (revision === undefined) return;
  // Not in the snapshot above: there, a row that the load has changed since cannot be updated.
  await link.query('UPDATE site_days SET sealed = $3 WHERE site = $1 AND day = $2', [of.site, of.day, revision]);
  if (events >= LARGE) settle();
}
