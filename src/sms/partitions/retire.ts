/** Retire: the whole way of days that are past their retention: closed, archived, dropped. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { archiveDay, dropDay, openArchives } from './archive.ts';
import { type Closed, closeDay } from './close.ts';
import type { DailyTable, SmsDays } from './days.ts';

/** Days that each table keeps. */
export type Retention = Readonly<Record<DailyTable, number>>;

export interface Retired {
  readonly closed: readonly Closed[];
  /** Names of days that are past their retention and hold a message that has not ended. */
  readonly held: readonly string[];
  readonly archived: readonly { readonly relation: string; readonly rows: number }[];
  readonly dropped: readonly string[];
}

/**
 * Rejects with the first failure; what was done by then stays done, and the next run goes on from there.
 */
export async function retire(
  link: PostgresLink,
  days: SmsDays,
  { retention, folder }: { readonly retention: Retention; readonly folder: string },
  signal: AbortSignal,
): Promise<Retired> {
  const closed: Closed[] = [];
  const held: string[] = [];
  for (const { table } of days.tables) {
    for (const day of await days.past(link, table, retention[table])) {
      signal.throwIfAborted();
      const one = await closeDay(link, days, table, day, signal);
      if (one === undefined) held.push(days.nameOf(table, day));
      else closed.push(one);
    }
  }
  const archived: { relation: string; rows: number }[] = [];
  const dropped: string[] = [];
  for (const archive of await openArchives(link)) {
    signal.throwIfAborted();
    if (archive.state === 'detached') {
      const { rows } = await archiveDay(link, archive, folder, signal);
      archived.push({ relation: archive.relation, rows });
    }
    await dropDay(link, archive);
    dropped.push(archive.relation);
  }
  return { closed, held, archived, dropped };
}
