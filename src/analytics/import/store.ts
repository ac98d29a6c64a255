/**
 * Store of an import: puts batches of events straight into the database, by the load that stores and counts all others
 * (processor/event-load.ts), in one transaction with the ids of their lines.
 *
 * Why not through POST /events: its promise of once holds for as long as ids are remembered, a week; here a line counts
 * once for ever, however often and late its file is imported, and whether it was counted is known in the same
 * transaction. An import needs no running service, and does not stand in the books of one.
 */
import { Transaction } from '../../sinks/postgres/transaction.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { DAY_MS } from '../dimensions.ts';
import { analyticsErrors } from '../errors.ts';
import type { EventLoad } from '../processor/event-load.ts';
import { keptFrom } from '../processor/retention.ts';
import { SiteNumbers } from '../processor/site-numbers.ts';
import type { Imported } from './events.ts';
import { endImport, importSalt } from './salts.ts';

/** Tries of a batch that another load has pushed aside. */
const TRIES_MAX = 5;
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';
const LOCK = "hashtext('ringmain analytics import')";

export class ImportStore {
  readonly #link: PostgresLink;
  readonly #load: EventLoad;
  readonly #siteId: string;
  readonly site: number;

  private constructor(link: PostgresLink, load: EventLoad, siteId: string, site: number) {
    this.#link = link;
    this.#load = load;
    this.#siteId = siteId;
    this.site = site;
  }

  /** Throws SITE_REFUSED when others are registered and this one is not, or when it is being imported already. */
  static async open(link: PostgresLink, load: EventLoad, siteId: string): Promise<ImportStore> {
    const site = await siteOf(link, siteId);
    const { rows } = await link.query<{ free: boolean }>(`SELECT pg_try_advisory_lock(${LOCK}, $1) AS free`, [site]);
    if (rows[0]?.free === true) return new ImportStore(link, load, siteId, site);
    throw analyticsErrors.SITE_REFUSED({
      reason: `one import of a site runs at a time, and another one is running: site=${siteId}`,
    });
  }

  salt(): Promise<Buffer> {
    return importSalt(this.#link, this.site);
  }

  /** Begin of the first UTC day of which the site takes events, in ms since 1970. `days`: RETENTION_DAYS. */
  async keptFromMs(nowMs: number, days: number | undefined): Promise<number> {
    const firstDay = await keptFrom(this.#link, new Set([this.#siteId]), nowMs, days);
    return firstDay(this.#siteId) * DAY_MS;
  }

  /** The import is complete: nobody can make its visitors' ids again. */
  forgetSalt(): Promise<void> {
    return endImport(this.#link, this.site);
  }

  /** Returns how many of them were not known yet. */
  async put(batch: readonly Imported[]): Promise<number> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#put(batch);
      } catch (error) {
        this.#load.abandon();
        if (this.#link.broken !== undefined) throw error;
        await this.#link.query('ROLLBACK');
        if (tries === TRIES_MAX || this.#load.classify(error) !== 'retry') throw error;
        await this.#load.prepare();
      }
    }
  }

  async #put(batch: readonly Imported[]): Promise<number> {
    const transaction = new Transaction(this.#link, BEGIN, undefined);
    const byLine = new Map(batch.map((one) => [one.line, one]));
    const { rows } = await transaction.query<{ line: string }>(
      `INSERT INTO import_lines (site, line) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING RETURNING line`,
      [this.site, [...byLine.keys()].sort()],
    );
    const fresh = rows.map(({ line }) => byLine.get(line)!);
    const named = new Map(fresh.flatMap(({ event, named }) => (named ? [[event.eventId, 0] as const] : [])));
    const events = fresh.map(({ event }) => event);
    const counted = events.length === 0 ? 0 : await this.#load.take(transaction, events, named);
    await transaction.commit();
    return counted;
  }
}

async function siteOf(link: PostgresLink, siteId: string): Promise<number> {
  const find = () => link.query<{ site: number }>('SELECT site FROM site_names WHERE site_id = $1', [siteId]);
  const { rows } = await find();
  if (rows[0] !== undefined) return rows[0].site;
  const { rowCount } = await link.query('SELECT FROM sites WHERE registered LIMIT 1');
  if ((rowCount ?? 0) > 0)
    throw analyticsErrors.SITE_REFUSED({
      reason: `the site must be registered, since others are: site=${siteId}; ringmain site add ${siteId}`,
    });
  const transaction = new Transaction(link, BEGIN, undefined);
  const sites = await new SiteNumbers().of(transaction, [siteId]);
  await transaction.commit();
  return sites.get(siteId)!;
}
