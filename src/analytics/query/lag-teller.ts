/**
 * Lag teller: writes into `pipeline_lag` what the outputs of this process have not dealt with, and since when that has
 * been on its way, so that any process can tell how much there is, and of which hours (pipe.ts). Once a second when it has changed, else every few seconds as a sign of life.
 * While the database is away nothing is told, and nothing waits for it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { now } from '../../kernel/clock.ts';
import type { OutputStanding, WorkerJournal } from '../../service/contract.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';

const TELL_MS = 1000;
/** Figures stand for what came within this time as well: those of others are as old. */
const RECENT_TELLS = 3;
const SIGN_TELLS = 5;
/** After a failure. */
const PAUSE_MS = 3000;
const DAYS_KEPT = 7;

interface Told {
  readonly lag: number;
  /** Nothing of it was received before, ms since 1970; undefined: nobody knows yet. */
  readonly sinceMs: number | undefined;
}

/** What is told of an output: its lag, and what came within the last few calls. */
export class RecentLag {
  readonly #totals = new Map<string, number[]>();
  readonly #since = new Map<string, number>();

  of({ name, passed, lag, oldestMs }: OutputStanding, nowMs: number): Told {
    const total = passed + lag;
    const totals = this.#totals.get(name) ?? [total];
    totals.push(total);
    if (totals.length > RECENT_TELLS + 1) totals.shift();
    this.#totals.set(name, totals);
    // An output that has not said what it begins with has nothing older than when it last said so.
    const recentMs = nowMs - (RECENT_TELLS + 1) * TELL_MS;
    if (oldestMs > 0) this.#since.set(name, Math.min(oldestMs, recentMs));
    else if (lag === 0) this.#since.set(name, recentMs);
    // A cursor that goes back takes its records with it; they come again.
    return { lag: lag + Math.max(0, total - totals[0]!), sinceMs: this.#since.get(name) };
  }
}

/** Tells until the signal fires. */
export async function tellLag(dsn: string, journal: WorkerJournal, signal: AbortSignal): Promise<void> {
  const recent = new RecentLag();
  let link: PostgresLink | undefined;
  let told = '';
  let quiet = 0;
  while (!signal.aborted) {
    let pause = TELL_MS;
    try {
      const nowMs = now();
      const outputs = journal.outputs().map((one) => ({ name: one.name, ...recent.of(one, nowMs) }));
      // Of an output that has nothing the time moves by itself.
      const news = JSON.stringify(outputs.map((one) => [one.name, one.lag, one.lag === 0 ? 0 : one.sinceMs]));
      quiet = news === told ? quiet + 1 : 0;
      if (outputs.length > 0 && (quiet % SIGN_TELLS === 0 || link === undefined)) {
        if (link === undefined || link.broken !== undefined) {
          link = await openLink(dsn, { applicationName: 'ringmain-lag', queryTimeoutMs: 10_000 });
          await link.query('DELETE FROM pipeline_lag WHERE told_at < now() - make_interval(days => $1)', [DAYS_KEPT]);
        }
        await link.query(
          `INSERT INTO pipeline_lag (log_id, output, lag, lasting, told_at, since)
           SELECT $1, output, lag, $4, now(), to_timestamp(since / 1000)
           FROM unnest($2::text[], $3::bigint[], $5::float8[]) AS n (output, lag, since)
           ON CONFLICT (log_id, output) DO UPDATE SET lag = excluded.lag, lasting = excluded.lasting,
             told_at = excluded.told_at, since = excluded.since`,
          [
            journal.id,
            outputs.map(({ name }) => name),
            outputs.map(({ lag }) => lag),
            journal.lasting,
            outputs.map(({ sinceMs }) => sinceMs ?? null),
          ],
        );
        told = news;
      }
    } catch {
      // The outputs say in the log and on /readyz that the database is away.
      await link?.close();
      link = undefined;
      pause = PAUSE_MS;
    }
    await delay(pause, undefined, { signal }).catch(() => {});
  }
  await link?.close();
}
