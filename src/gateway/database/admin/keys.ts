/**
 * Keys of users: made, listed, changed, rotated, revoked. The text of a key is returned where it is made, and kept
 * nowhere.
 */
import { type ApiKey, digestOf, makeKey } from '../../../access/api-key.ts';
import { pepperIdOf } from '../../../access/pepper.ts';
import { audit } from '../../../service/database/audit.ts';
import { endKey, type KeysOf, mustBeThePepper, renewSecret } from '../../../service/database/key-changes.ts';
import { expiryIn, mustBeKeyName } from '../../../service/database/key-input.ts';
import { serviceErrors } from '../../../service/errors.ts';
import type { PostgresLink } from '../../../store/postgres/connection.ts';
import { inTransaction } from '../../../store/postgres/in-transaction.ts';
import { signingKeyOf } from '../../keys/signing.ts';
import { scopes as allScopes, type Scope } from '../../model.ts';
import type { Actor, KeyChange, KeyView, MadeKey, NewKey } from './contract.ts';
import { lockUser, networksOf, rateLimitsOf, replaceNetworks } from './limits.ts';

export const KEY_PREFIX = 'rm';
/** Keys of one user that are not revoked. */
const USER_KEYS_MAX = 100;
const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });
const unknown = (id: string): Error => serviceErrors.RESOURCE_UNKNOWN({ what: 'key', id });

const VIEW = `SELECT k.id, k.user_id, k.name, k.env, k.scopes,
    CASE WHEN NOT k.is_active THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired' ELSE 'valid' END AS state,
    k.expires_at, ARRAY(SELECT ip_cidr::text FROM ip_whitelist w WHERE w.key_id = k.id ORDER BY ip_cidr) AS networks,
    json_build_object('requests_per_minute', k.requests_per_minute, 'requests_per_hour', k.requests_per_hour,
      'burst', k.burst) AS limits,
    k.version, CASE WHEN k.previous_until > now() THEN k.previous_until END AS previous_until, k.created_at, k.last_used_at
  FROM api_keys k`;

type Times = 'expires_at' | 'previous_until' | 'created_at' | 'last_used_at';
interface Row extends Omit<KeyView, 'user_id' | Times> {
  readonly [column: string]: unknown;
  readonly user_id: string;
  readonly expires_at: Date | null;
  readonly previous_until: Date | null;
  readonly created_at: Date;
  readonly last_used_at: Date | null;
}

const viewOf = (row: Row): KeyView => ({
  ...row,
  user_id: Number(row.user_id),
  expires_at: row.expires_at?.toISOString() ?? null,
  previous_until: row.previous_until?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
  last_used_at: row.last_used_at?.toISOString() ?? null,
});

async function made(link: PostgresLink, pepper: string, key: ApiKey): Promise<MadeKey> {
  const view = await findKey(link, key.id);
  return { ...view, key: key.text, signing_key: signingKeyOf(pepper, key.id, view.version) };
}

/** Throws RESOURCE_UNKNOWN when there is none. */
export async function findKey(link: PostgresLink, id: string): Promise<KeyView> {
  const { rows } = await link.query<Row>(`${VIEW} WHERE k.id = $1`, [id]);
  if (rows[0] === undefined) throw unknown(id);
  return viewOf(rows[0]);
}

/** The keys of a user, also those that are revoked; the newest last. */
export async function listKeys(link: PostgresLink, userId: number): Promise<readonly KeyView[]> {
  const { rows: users } = await link.query('SELECT FROM users WHERE id = $1', [userId]);
  if (users.length === 0) throw serviceErrors.RESOURCE_UNKNOWN({ what: 'user', id: String(userId) });
  const { rows } = await link.query<Row>(`${VIEW} WHERE k.user_id = $1 ORDER BY k.created_at, k.id`, [userId]);
  return rows.map(viewOf);
}

/** The scopes in their order, each once. Throws INPUT_REFUSED. */
function grantedOf(scopes: readonly Scope[]): readonly Scope[] {
  const granted = allScopes.filter((scope) => scopes.includes(scope));
  if (granted.length === 0 || scopes.some((scope) => !allScopes.includes(scope)))
    throw invalid(`scopes must be one or more of ${allScopes.join(', ')}: found=${scopes.join(',') || 'none'}`);
  return granted;
}

export function addKey(
  link: PostgresLink,
  actor: Actor,
  pepper: string,
  userId: number,
  { name = '', env = 'live', scopes = ['read', 'upload'], expires_at, networks = [], limits = {} }: NewKey,
): Promise<MadeKey> {
  mustBeKeyName(name);
  const granted = grantedOf(scopes);
  const expires = expiryIn(expires_at);
  const rates = rateLimitsOf(limits);
  const allowed = networksOf(networks);
  return inTransaction(link, async () => {
    await lockUser(link, userId);
    const { rows } = await link.query<{ keys: number; late: boolean }>(
      `SELECT count(*)::int AS keys, $2::timestamptz <= now() AS late FROM api_keys WHERE user_id = $1 AND is_active`,
      [userId, expires],
    );
    if (rows[0]!.late) throw invalid(`expires_at must be in the future: found=${expires_at}`);
    if (rows[0]!.keys >= USER_KEYS_MAX)
      throw serviceErrors.RESOURCE_TAKEN({ reason: `a user has at most ${USER_KEYS_MAX} keys that are not revoked` });
    await mustBeThePepper(link, pepper, keys);
    const key = makeKey(KEY_PREFIX, env);
    await link.query(
      `INSERT INTO api_keys (id, user_id, key_hash, pepper_id, name, env, scopes, expires_at, requests_per_minute,
         requests_per_hour, burst)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [
        ...[key.id, userId, digestOf(pepper, key), pepperIdOf(pepper), name, env, granted, expires],
        ...[rates.requests_per_minute, rates.requests_per_hour, rates.burst],
      ],
    );
    await replaceNetworks(link, 'key_id', key.id, allowed);
    const details = { user_id: userId, name, scopes: granted };
    await audit(link, actor, { action: 'key_added', subject: `key:${key.id}`, details });
    return made(link, pepper, key);
  });
}

/** Changes what is given; the key itself stays as it is. One that has expired may be given a later end. */
export function changeKey(link: PostgresLink, actor: Actor, id: string, change: KeyChange): Promise<KeyView> {
  const { name, scopes, expires_at, networks, limits } = change;
  if (name !== undefined) mustBeKeyName(name);
  const granted = scopes === undefined ? undefined : grantedOf(scopes);
  const expires = expiryIn(expires_at);
  const rates = limits === undefined ? undefined : rateLimitsOf(limits);
  const allowed = networks === undefined ? undefined : networksOf(networks);
  return inTransaction(link, async () => {
    const { rows } = await link.query<{ late: boolean | null }>(
      'SELECT $2::timestamptz <= now() AS late FROM api_keys WHERE id = $1 FOR UPDATE',
      [id, expires],
    );
    if (rows.length === 0) throw unknown(id);
    if (rows[0]!.late === true) throw invalid(`expires_at must be in the future: found=${expires_at}`);
    const before = await findKey(link, id);
    if (before.state === 'revoked')
      throw serviceErrors.RESOURCE_TAKEN({ reason: `a key that is revoked cannot be changed: key=${id}` });
    const { requests_per_minute, requests_per_hour, burst } = rates ?? before.limits;
    await link.query(
      `UPDATE api_keys SET name = $2, scopes = $3, expires_at = CASE WHEN $4 THEN $5::timestamptz ELSE expires_at END,
         requests_per_minute = $6, requests_per_hour = $7, burst = $8 WHERE id = $1`,
      [
        ...[id, name ?? before.name, granted ?? before.scopes, expires_at !== undefined, expires],
        ...[requests_per_minute, requests_per_hour, burst],
      ],
    );
    if (allowed !== undefined) await replaceNetworks(link, 'key_id', id, allowed);
    const details = {
      ...change,
      ...(allowed === undefined ? {} : { networks: allowed.slice(0, 20), networks_count: allowed.length }),
    };
    await audit(link, actor, { action: 'key_changed', subject: `key:${id}`, details });
    return findKey(link, id);
  });
}

/** The keys of this service. Another secret has another signing key, which goes by the version. */
const keys: KeysOf = {
  prefix: KEY_PREFIX,
  revoking: 'ringmain gateway key revoke',
  renewing: 'version = version + 1',
  find: findKey,
};

/**
 * Gives a key another secret and another signing key. Those before stay good for `overlapS` more seconds; those before
 * them end now.
 */
export const rotateKey = (
  link: PostgresLink,
  actor: Actor,
  pepper: string,
  id: string,
  overlapS: number,
): Promise<MadeKey> => renewSecret(link, actor, keys, { pepper, id, overlapS }, (key) => made(link, pepper, key));

/** For good. A key that was revoked before stays so, without another row of the audit log. */
export const revokeKey = (link: PostgresLink, actor: Actor, id: string): Promise<void> => endKey(link, actor, keys, id);
