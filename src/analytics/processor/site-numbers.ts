/**
 * Site numbers: from the name in an event to `sites.site`. A site that nobody has added is made by its first event.
 * Names stay valid when a site is renamed, so a number may be kept for ever, until the site is removed: whoever finds
 * that (the lock of the sites) calls forget().
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';

const KEPT_MAX = 20_000;

export class SiteNumbers {
  readonly #known = new Map<string, number>();

  /** The number of a site that a committed batch had; undefined: ask of(). */
  known(siteId: string): number | undefined {
    return this.#known.get(siteId);
  }

  /** The numbers of these sites. Those that are new are known to later batches once the transaction has committed. */
  async of(
    transaction: Pick<Transaction, 'query' | 'onCommit'>,
    siteIds: Iterable<string>,
  ): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    const unknown: string[] = [];
    for (const siteId of siteIds) {
      const site = this.#known.get(siteId);
      if (site === undefined) unknown.push(siteId);
      else found.set(siteId, site);
    }
    if (unknown.length === 0) return found;
    await this.#find(transaction, unknown, found);
    const missing = unknown.filter((siteId) => !found.has(siteId)).sort();
    if (missing.length > 0) {
      await transaction.query('INSERT INTO sites (site_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING', [
        missing,
      ]);
      await transaction.query(
        `INSERT INTO site_names (site_id, site) SELECT site_id, site FROM sites WHERE site_id = ANY ($1::text[])
         ORDER BY site_id ON CONFLICT DO NOTHING`,
        [missing],
      );
      await this.#find(transaction, missing, found);
    }
    transaction.onCommit(() => {
      for (const siteId of unknown) this.#keep(siteId, found.get(siteId)!);
    });
    return found;
  }

  /** Nothing is known any more: a site that was known is gone. */
  forget(): void {
    this.#known.clear();
  }

  async #find(
    transaction: Pick<Transaction, 'query'>,
    siteIds: readonly string[],
    found: Map<string, number>,
  ): Promise<void> {
    const { rows } = await transaction.query<{ site_id: string; site: number }>(
      'SELECT site_id, site FROM site_names WHERE site_id = ANY ($1::text[])',
      [siteIds],
    );
    for (const { site_id: siteId, site } of rows) found.set(siteId, site);
  }

  #keep(siteId: string, site: number): void {
    if (this.#known.size >= KEPT_MAX) this.#known.clear();
    this.#known.set(siteId, site);
  }
}
