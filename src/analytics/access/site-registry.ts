/**
 * Site registry: the registered sites and their keys as the database has them, held by the registry worker of each
 * process for its acceptors (site-guard.ts). Triggers number the changes (site_changes in migrations/); how they are
 * followed, service/change-follower.ts says.
 *
 * Bounded by SITES_MAX sites. Holds digests of keys, and no key.
 */
import { pepperIdOf } from '../../access/pepper.ts';
import { type Logger, Transitions } from '../../kernel/log.ts';
import type { Changes, ChangesQuestion, Versioned } from '../../service/change-copy.ts';
import { ChangeFollower } from '../../service/change-follower.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { type Scope, SITES_MAX } from './sites.ts';

export const CHANGES_CHANNEL = 'site_changes';
/** Between two looks for changes. */
const LOOK_MS = 1000;
/** Sites of one read from the database. */
const PAGE = 2000;

/** A key that is not revoked. */
export interface HeldKey {
  readonly id: string;
  readonly scope: Scope;
  /** Base64. */
  readonly digest: string;
  /** Ms since 1970; null: it does not expire. */
  readonly expires: number | null;
}

/** A registered site, or one that was. Plain data. */
export interface HeldSite extends Versioned {
  readonly site: number;
  /** Not registered any more. */
  readonly gone: boolean;
  /** All that lead to it. */
  readonly names: readonly string[];
  readonly origins: readonly string[];
  readonly keys: readonly HeldKey[];
  /** It has, or once had, an ingest key: revoking the last one does not open the site. */
  readonly keyed: boolean;
  /** How long it keeps its events; null: as long as all do. */
  readonly retentionDays: number | null;
}

export type SitesQuestion = ChangesQuestion;
/** Undefined in place of it: nothing has been read yet. */
export type SitesAnswer = Changes<HeldSite>;

// $3: what was gone when the reading began is passed over. Each site that ever was registered keeps its row in
// site_changes, and in time there are more of them than are kept here.
const CHANGED = `SELECT c.site, c.version, coalesce(s.registered, false) AS registered, s.origins, s.retention_days,
    ARRAY(SELECT site_id::text FROM site_names n WHERE n.site = c.site UNION SELECT s.site_id) AS names,
    (SELECT json_agg(json_build_object('id', key_id, 'scope', scope, 'digest', translate(encode(digest, 'base64'), E'\\n', ''),
       'expires', floor(extract(epoch FROM expires_at) * 1000)))
     FROM site_keys k WHERE k.site = c.site AND revoked_at IS NULL) AS keys,
    EXISTS (SELECT FROM site_keys k WHERE k.site = c.site AND scope = 'ingest') AS keyed,
    EXISTS (SELECT FROM site_keys k WHERE k.site = c.site AND revoked_at IS NULL AND pepper_id <> $2) AS strange
  FROM (SELECT c.site, c.version FROM site_changes c LEFT JOIN sites s USING (site)
        WHERE c.version > $1 AND (s.registered OR c.version > $3) ORDER BY c.version LIMIT ${PAGE}) c
  LEFT JOIN sites s USING (site) ORDER BY c.version`;

interface ChangedRow {
  readonly site: number;
  readonly version: string;
  readonly registered: boolean;
  readonly origins: readonly string[] | null;
  readonly retention_days: number | null;
  readonly names: readonly string[];
  readonly keys: readonly HeldKey[] | null;
  readonly keyed: boolean;
  /** It has a key that was made under another pepper. */
  readonly strange: boolean;
}

const heldOf = (row: ChangedRow): HeldSite => ({
  site: row.site,
  version: Number(row.version),
  gone: !row.registered,
  names: row.registered ? row.names : [],
  origins: row.origins ?? [],
  keys: row.registered ? (row.keys ?? []) : [],
  keyed: row.keyed,
  retentionDays: row.retention_days,
});

export interface SiteRegistryOptions {
  readonly open: () => Promise<PostgresLink>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Called with the first complete reading. */
  readonly ready: () => void;
  /** KEY_PEPPER. */
  readonly pepper: string | undefined;
}

export class SiteRegistry extends ChangeFollower<HeldSite> {
  constructor({ open, log, ready, pepper }: SiteRegistryOptions) {
    const pepperId = pepper === undefined ? null : pepperIdOf(pepper);
    const told = new Transitions(log);
    super({
      open,
      log,
      channel: CHANGES_CHANNEL,
      table: 'site_changes',
      lookMs: LOOK_MS,
      nameOf: ({ site }) => site,
      // `ringmain site add` keeps to the same bound; sites that go while it reads on count as well.
      itemsMax: 2 * SITES_MAX,
      words: {
        name: 'sites',
        away: (held) =>
          `sites and keys cannot be read; ${held ? 'those that were read last stay in force' : 'no event is taken'}`,
        back: 'sites and keys are read',
      },
      async read(link, since, horizon) {
        const { rows } = await link.query<ChangedRow & { readonly [column: string]: unknown }>(CHANGED, [
          since,
          pepperId,
          horizon,
        ]);
        const items = rows.map(heldOf);
        if (pepper === undefined && items.some(({ gone, keys }) => !gone && keys.length > 0))
          told.down('pepper', 'sites have keys and KEY_PEPPER is not set: every key is refused');
        if (rows.some(({ registered, strange }) => registered && strange))
          told.down('pepper', 'sites have keys that were made under another KEY_PEPPER: those are refused');
        const more = rows.length === PAGE;
        return { items, more, version: more ? items.at(-1)!.version : horizon };
      },
      began(items, first) {
        if (!first) return;
        const sites = [...items].filter(({ gone }) => !gone).length;
        log.info(
          { sites },
          sites === 0
            ? 'no site is registered: everybody may send events and read statistics (ringmain site add)'
            : 'sites are registered: events and statistics by their keys and origins',
        );
        ready();
      },
    });
  }
}
