/**
 * Shares: links that show one site to whoever has them, with a password or without, until they expire. The link holds a
 * token, the database its digest.
 *
 * Who has given the password gets a cookie for this link: `<until>.<mac>`, seconds since 1970 by the database, and
 * HMAC-SHA-256 under the kept digest of the password. So nothing has to be kept of it, and a new password ends it.
 */
import { createHmac } from 'node:crypto';
import { makeToken, sameText, tokenDigest } from '../../access/token.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { mustFind } from '../access/sites.ts';
import { analyticsErrors } from '../errors.ts';
import { audit } from './audit.ts';

export const SITE_SHARES_MAX = 100;
export const SHARE_LABEL_MAX = 100;
/** How long a password need not be given again. */
export const UNLOCKED_S = 12 * 3600;

export interface ShareRow {
  readonly share_id: string;
  readonly site_id: string;
  readonly label: string;
  readonly locked: boolean;
  readonly created_at: Date;
  readonly expires_at: Date | null;
}

/** A share that is valid. */
export interface FoundShare {
  readonly id: string;
  readonly site: number;
  /** All that lead to the site; its own first. */
  readonly names: readonly string[];
  /** Digest; null: it asks for none. */
  readonly password: string | null;
  /** Seconds since 1970. */
  readonly nowS: number;
}

export interface ShareSettings {
  readonly label: string;
  /** A digest; undefined: no password. */
  readonly password: string | undefined;
  readonly expiresAt: Date | undefined;
  readonly actor: string | null;
}

const COLUMNS = `sh.share_id, s.site_id, sh.label, sh.password IS NOT NULL AS locked, sh.created_at, sh.expires_at`;

/** Whether a name leads to a site, registered or made by an event. */
export async function hasSite(link: PostgresLink, name: string): Promise<boolean> {
  const { rows } = await link.query<{ found: boolean }>(
    `SELECT EXISTS (SELECT FROM sites WHERE site_id = $1) OR EXISTS (SELECT FROM site_names WHERE site_id = $1) AS found`,
    [name],
  );
  return rows[0]!.found;
}

/** Makes a link of a site; its token is returned here and kept nowhere. */
export function addShare(
  link: PostgresLink,
  name: string,
  { label, password, expiresAt, actor }: ShareSettings,
): Promise<ShareRow & { readonly token: string }> {
  return inTransaction(link, async () => {
    const { site, siteId } = await mustFind(link, name);
    const { rows: held } = await link.query<{ shares: number }>(
      'SELECT count(*)::int AS shares FROM site_shares WHERE site = $1',
      [site],
    );
    if (held[0]!.shares >= SITE_SHARES_MAX)
      throw analyticsErrors.SITE_REFUSED({
        reason: `a site has at most ${SITE_SHARES_MAX} share links: site=${siteId}`,
      });
    const token = makeToken();
    // Of the digest, which is random enough: the id is public and says nothing about the token.
    const id = tokenDigest(makeToken()).toString('hex').slice(0, 12);
    const { rows } = await link.query<ShareRow & { readonly [column: string]: unknown }>(
      `WITH sh AS (INSERT INTO site_shares (share_id, site, digest, label, password, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING *)
       SELECT ${COLUMNS} FROM sh JOIN sites s USING (site)`,
      [id, site, tokenDigest(token), label, password ?? null, expiresAt ?? null],
    );
    await audit(link, { action: 'share_added', actor, subject: `${siteId}: ${id}` });
    return { ...rows[0]!, token };
  });
}

/** Links of one site, or of all; the newest last. */
export async function listShares(link: PostgresLink, name: string | undefined): Promise<readonly ShareRow[]> {
  const site = name === undefined ? null : (await mustFind(link, name)).site;
  const { rows } = await link.query<ShareRow & { readonly [column: string]: unknown }>(
    `SELECT ${COLUMNS} FROM site_shares sh JOIN sites s USING (site) WHERE $1::int IS NULL OR sh.site = $1
      ORDER BY s.site_id COLLATE "C", sh.created_at, sh.share_id`,
    [site],
  );
  return rows;
}

/** Ends a link. `name`: of its site, where it must belong to one. The site; undefined: there is no such link. */
export function removeShare(
  link: PostgresLink,
  id: string,
  { name, actor }: { readonly name: string | undefined; readonly actor: string | null },
): Promise<string | undefined> {
  return inTransaction(link, async () => {
    const site = name === undefined ? null : (await mustFind(link, name)).site;
    const { rows } = await link.query<{ siteId: string }>(
      `DELETE FROM site_shares sh USING sites s
        WHERE sh.share_id = $1 AND s.site = sh.site AND ($2::int IS NULL OR sh.site = $2) RETURNING s.site_id AS "siteId"`,
      [id, site],
    );
    const [found] = rows;
    if (found !== undefined) await audit(link, { action: 'share_removed', actor, subject: `${found.siteId}: ${id}` });
    return found?.siteId;
  });
}

/** The link that this token opens; undefined: none that is valid. */
export async function findShare(link: PostgresLink, token: string): Promise<FoundShare | undefined> {
  const { rows } = await link.query<FoundShare & { readonly [column: string]: unknown }>(
    `SELECT sh.share_id AS id, sh.site, sh.password, extract(epoch FROM now())::float8 AS "nowS",
       ARRAY[s.site_id::text] || ARRAY(SELECT n.site_id::text FROM site_names n
         WHERE n.site = s.site AND n.site_id <> s.site_id) AS names
     FROM site_shares sh JOIN sites s USING (site)
     WHERE sh.digest = $1 AND (sh.expires_at IS NULL OR sh.expires_at > now())`,
    [tokenDigest(token)],
  );
  return rows[0];
}

const macOf = (share: FoundShare, until: number): string =>
  createHmac('sha256', share.password ?? '')
    .update(`${share.id}.${until}`)
    .digest('base64url');

/** The value of the cookie of somebody who has given the password. */
export function unlockedValue(share: FoundShare): string {
  const until = Math.floor(share.nowS) + UNLOCKED_S;
  return `${until}.${macOf(share, until)}`;
}

/** Whether the link asks for no password, or this value is that of its cookie. */
export function isUnlocked(share: FoundShare, value: string): boolean {
  if (share.password === null) return true;
  const [, until] = /^(\d{1,12})\.[A-Za-z0-9_-]{43}$/.exec(value) ?? [];
  if (until === undefined || Number(until) <= share.nowS) return false;
  return sameText(value, `${until}.${macOf(share, Number(until))}`);
}
