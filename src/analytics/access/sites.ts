/**
 * Sites: what `ringmain site` does to the tables sites, site_names and site_keys. Each change is one transaction about
 * one site, in which triggers note the change for the registries of all processes.
 *
 * A site has one name and those it had before; each leads to it. It is registered by `add`; others exist because events
 * of theirs have been stored, and nobody has to register them as long as no site is.
 */
import { digestOf, makeKey } from '../../access/api-key.ts';
import { pepperIdOf } from '../../access/pepper.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { sqlState } from '../../store/postgres/fault.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { analyticsErrors } from '../errors.ts';
import { audit } from '../people/audit.ts';

export const scopes = ['ingest', 'read'] as const;
export type Scope = (typeof scopes)[number];

/** What an installation may hold: each acceptor keeps all registered sites in memory. */
export const SITES_MAX = 100_000;
/** Keys of one site that are not revoked. */
const SITE_KEYS_MAX = 100;
const KEY_PREFIX = 'rm';

/** Undefined: as it was, or the default of a new site. */
export interface SiteSettings {
  readonly origins: readonly string[] | undefined;
  readonly timeZone: string | undefined;
  /** null: as RETENTION_DAYS says. */
  readonly retentionDays: number | null | undefined;
}

export interface SiteRow {
  readonly site_id: string;
  readonly registered: boolean;
  readonly origins: readonly string[];
  readonly time_zone: string;
  readonly retention_days: number | null;
  /** Names it had before. */
  readonly aliases: readonly string[];
  /** Keys that work. */
  readonly ingest_keys: number;
  readonly read_keys: number;
  readonly created_at: Date;
}

export interface KeyRow {
  readonly key_id: string;
  readonly site_id: string;
  readonly scope: Scope;
  readonly label: string;
  readonly state: 'valid' | 'expired' | 'revoked';
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
}

const refused = (reason: string): Error => analyticsErrors.SITE_REFUSED({ reason });

interface Found {
  readonly site: number;
  readonly siteId: string;
  readonly registered: boolean;
}

/** The site that a name leads to, locked against changes until the end of the transaction. */
async function find(link: PostgresLink, name: string): Promise<Found | undefined> {
  const { rows } = await link.query<Found>(
    `SELECT site, site_id AS "siteId", registered FROM sites
      WHERE site_id = $1 OR site = (SELECT site FROM site_names WHERE site_id = $1)
      ORDER BY site_id = $1 DESC LIMIT 1 FOR UPDATE`,
    [name],
  );
  return rows[0];
}

/** Throws SITE_REFUSED when there is none. */
export async function mustFind(link: PostgresLink, name: string): Promise<Found> {
  const found = await find(link, name);
  if (found === undefined)
    throw refused(`there is no such site: site=${name}; \`ringmain site list\` shows those there are`);
  return found;
}

export type Added = 'added' | 'changed' | 'unchanged';

/** Registers a site, or changes the settings of one that is. */
export function addSite(link: PostgresLink, name: string, settings: SiteSettings): Promise<Added> {
  return inTransaction(link, async () => {
    const { origins, timeZone, retentionDays } = settings;
    const found = await find(link, name);
    if (found !== undefined && found.siteId !== name)
      throw refused(`${name} is an earlier name of another site: site=${found.siteId}`);
    const given = Object.values(settings).some((value) => value !== undefined);
    if (found?.registered && !given) return 'unchanged';
    if (!found?.registered && (await countSites(link)) >= SITES_MAX)
      throw refused(`at most ${SITES_MAX} sites can be registered`);
    await link.query(
      `INSERT INTO sites AS s (site_id, registered, origins, time_zone, retention_days)
       VALUES ($1, true, coalesce($2::text[], '{}'), coalesce($3::text, 'UTC'), $4::int)
       ON CONFLICT (site_id) DO UPDATE SET registered = true, origins = coalesce($2::text[], s.origins),
         time_zone = coalesce($3::text, s.time_zone), retention_days = CASE WHEN $5::bool THEN $4::int ELSE s.retention_days END`,
      [name, origins, timeZone, retentionDays, retentionDays !== undefined],
    );
    await nameIt(link, name);
    return found?.registered ? 'changed' : 'added';
  });
}

const nameIt = (link: PostgresLink, name: string) =>
  link.query(
    'INSERT INTO site_names (site_id, site) SELECT site_id, site FROM sites WHERE site_id = $1 ON CONFLICT DO NOTHING',
    [name],
  );

/** How many sites are registered. */
export async function countSites(link: PostgresLink): Promise<number> {
  const { rows } = await link.query<{ sites: number }>('SELECT count(*)::int AS sites FROM sites WHERE registered');
  return rows[0]!.sites;
}

/** Registered sites by name; `all`: also those that only events have made. */
export async function listSites(link: PostgresLink, all: boolean): Promise<readonly SiteRow[]> {
  const { rows } = await link.query<SiteRow & { readonly [column: string]: unknown }>(
    `SELECT s.site_id, s.registered, s.origins, s.time_zone, s.retention_days,
       ARRAY(SELECT n.site_id::text FROM site_names n WHERE n.site = s.site AND n.site_id <> s.site_id
              ORDER BY n.site_id) AS aliases,
       coalesce(k.ingest_keys, 0) AS ingest_keys, coalesce(k.read_keys, 0) AS read_keys, s.created_at
     FROM sites s LEFT JOIN (
       SELECT site, count(*) FILTER (WHERE scope = 'ingest')::int AS ingest_keys,
         count(*) FILTER (WHERE scope = 'read')::int AS read_keys
       FROM site_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) GROUP BY site) k
     USING (site) WHERE s.registered OR $1::bool ORDER BY s.site_id COLLATE "C" LIMIT ${SITES_MAX}`,
    [all],
  );
  return rows;
}

export interface NewKey {
  readonly scope: Scope;
  readonly label: string;
  /** Undefined: it does not expire. */
  readonly expiresAt: Date | undefined;
}

/** Makes a key of a registered site. The text is returned here and kept nowhere. */
export function addKey(
  link: PostgresLink,
  pepper: string,
  name: string,
  { scope, label, expiresAt }: NewKey,
): Promise<{ readonly id: string; readonly text: string; readonly siteId: string }> {
  return inTransaction(link, async () => {
    const { site, siteId, registered } = await mustFind(link, name);
    if (!registered) throw refused(`the site must be registered first: ringmain site add ${siteId}`);
    const { rows } = await link.query<{ keys: string }>(
      'SELECT count(*) AS keys FROM site_keys WHERE site = $1 AND revoked_at IS NULL',
      [site],
    );
    if (Number(rows[0]!.keys) >= SITE_KEYS_MAX)
      throw refused(`a site has at most ${SITE_KEYS_MAX} keys that are not revoked: site=${siteId}`);
    const key = makeKey(KEY_PREFIX, 'live');
    await link.query(
      `INSERT INTO site_keys (key_id, site, scope, digest, label, expires_at, pepper_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [key.id, site, scope, digestOf(pepper, key), label, expiresAt, pepperIdOf(pepper)],
    );
    await audit(link, { action: 'site_key_added', subject: `${siteId}: ${key.id} (${scope})` });
    return { id: key.id, text: key.text, siteId };
  });
}

/** Keys of one site, or of all; the newest last. */
export async function listKeys(link: PostgresLink, name: string | undefined): Promise<readonly KeyRow[]> {
  const site = name === undefined ? undefined : (await mustFind(link, name)).site;
  const { rows } = await link.query<KeyRow & { readonly [column: string]: unknown }>(
    `SELECT k.key_id, s.site_id, k.scope, k.label, k.created_at, k.expires_at, k.revoked_at,
       CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired' ELSE 'valid' END AS state
     FROM site_keys k JOIN sites s USING (site) WHERE $1::int IS NULL OR k.site = $1
     ORDER BY s.site_id COLLATE "C", k.created_at, k.key_id`,
    [site],
  );
  return rows;
}

/** The site whose key it was; false: it had been revoked before. */
export function revokeKey(link: PostgresLink, id: string): Promise<{ siteId: string; now: boolean }> {
  return inTransaction(link, async () => {
    const { rows } = await link.query<{ siteId: string; now: boolean }>(
      `WITH done AS (UPDATE site_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL RETURNING site)
       SELECT s.site_id AS "siteId", EXISTS (SELECT FROM done) AS now
       FROM site_keys k JOIN sites s USING (site) WHERE k.key_id = $1`,
      [id],
    );
    const [found] = rows;
    if (found === undefined)
      throw refused(`there is no such key: id=${id}; \`ringmain site keys\` shows those there are`);
    if (found.now) await audit(link, { action: 'site_key_revoked', subject: `${found.siteId}: ${id}` });
    return found;
  });
}

/** Gives the site another name. The old one keeps leading to it. */
export async function renameSite(link: PostgresLink, from: string, to: string): Promise<void> {
  try {
    await inTransaction(link, async () => {
      const { site, siteId } = await mustFind(link, from);
      if (siteId !== from) throw refused(`${from} is an earlier name: the site is called ${siteId} now`);
      const { rows } = await link.query<{ siteId: string }>(
        `SELECT s.site_id AS "siteId" FROM sites s
          WHERE s.site <> $2 AND (s.site_id = $1 OR s.site = (SELECT site FROM site_names WHERE site_id = $1))`,
        [to, site],
      );
      if (rows.length > 0)
        throw refused(`${to} is the name of another site: site=${rows[0]!.siteId}; two sites cannot become one`);
      await nameIt(link, from);
      await link.query('UPDATE sites SET site_id = $2 WHERE site = $1', [site, to]);
      await nameIt(link, to);
    });
  } catch (error) {
    // An event of that name has made its site meanwhile.
    if (sqlState(error) === '23505') throw refused(`${to} is the name of another site; two sites cannot become one`);
    throw error;
  }
}

/** Ends the registration: keys, share links, origins and settings go, data and names stay. */
export function unregisterSite(link: PostgresLink, name: string): Promise<Found> {
  return inTransaction(link, async () => {
    const found = await mustFind(link, name);
    if (found.siteId !== name) throw refused(`${name} is an earlier name: the site is called ${found.siteId} now`);
    await link.query('DELETE FROM site_keys WHERE site = $1', [found.site]);
    await link.query('DELETE FROM site_shares WHERE site = $1', [found.site]);
    await link.query(
      `UPDATE sites SET registered = false, origins = '{}', time_zone = 'UTC', retention_days = NULL WHERE site = $1`,
      [found.site],
    );
    return found;
  });
}
