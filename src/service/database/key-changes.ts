/**
 * Key changes: what services do alike to the rows of their table `api_keys` (id, key_hash, pepper_id, previous_hash,
 * previous_until, is_active, expires_at). What else a key has, and how it is shown, is the service's.
 */
import { type ApiKey, digestOf, type KeyEnv, renewKey } from '../../access/api-key.ts';
import { pepperIdOf, pepperProblem } from '../../access/pepper.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { serviceErrors } from '../errors.ts';
import { audit } from './audit.ts';
import type { Actor } from './contract.ts';

/** A rotation is for the time in which programs get the new key. Seconds. */
export const OVERLAP_S_MAX = 30 * 86_400;

/** The keys of a service. */
export interface KeysOf {
  /** How their texts begin. */
  readonly prefix: string;
  /** The command that ends one. */
  readonly revoking: string;
  /** Also assigned when a key gets another secret, in SQL; '': nothing else. */
  readonly renewing: '' | 'version = version + 1';
  /** Throws RESOURCE_UNKNOWN when there is none. */
  find(link: PostgresLink, id: string): Promise<{ readonly state: string; readonly env: KeyEnv }>;
}

/** Keys under two peppers: one half of them would be refused by every process. Throws RESOURCE_TAKEN. */
export async function mustBeThePepper(link: PostgresLink, pepper: string, { revoking }: KeysOf): Promise<void> {
  const reason = await pepperProblem(link, pepper, revoking);
  if (reason !== undefined) throw serviceErrors.RESOURCE_TAKEN({ reason });
}

/**
 * Gives a key another secret, and returns what `made` makes of it in the same transaction. The secret before stays good
 * for `overlapS` more seconds; the one before that ends now. Throws RESOURCE_UNKNOWN, and RESOURCE_TAKEN for a key that
 * is revoked or expired, and under another pepper.
 */
export function renewSecret<T>(
  link: PostgresLink,
  actor: Actor,
  keys: KeysOf,
  { pepper, id, overlapS }: { readonly pepper: string; readonly id: string; readonly overlapS: number },
  made: (key: ApiKey) => Promise<T>,
): Promise<T> {
  if (!Number.isSafeInteger(overlapS) || overlapS < 0 || overlapS > OVERLAP_S_MAX)
    throw serviceErrors.INPUT_REFUSED({
      reason: `overlap_s must be a whole number from 0 to ${OVERLAP_S_MAX}: found=${overlapS}`,
    });
  return inTransaction(link, async () => {
    // Of two rotations at once the later one would keep the secret of neither.
    await link.query('SELECT FROM api_keys WHERE id = $1 FOR UPDATE', [id]);
    const { state, env } = await keys.find(link, id);
    if (state !== 'valid')
      throw serviceErrors.RESOURCE_TAKEN({ reason: `a key that is ${state} cannot be rotated: key=${id}` });
    await mustBeThePepper(link, pepper, keys);
    const key = renewKey(keys.prefix, env, id);
    await link.query(
      `UPDATE api_keys SET key_hash = $2, pepper_id = $4,${keys.renewing === '' ? '' : ` ${keys.renewing},`}
         previous_hash = CASE WHEN $3::int > 0 THEN key_hash END,
         previous_until = CASE WHEN $3::int > 0 THEN now() + make_interval(secs => $3::int) END WHERE id = $1`,
      [id, digestOf(pepper, key), overlapS, pepperIdOf(pepper)],
    );
    await audit(link, actor, { action: 'key_rotated', subject: `key:${id}`, details: { overlap_s: overlapS } });
    return made(key);
  });
}

/** For good. A key that was revoked before stays so, without another row of the audit log. Throws RESOURCE_UNKNOWN. */
export function endKey(link: PostgresLink, actor: Actor, keys: KeysOf, id: string): Promise<void> {
  return inTransaction(link, async () => {
    const { rowCount } = await link.query('UPDATE api_keys SET is_active = false WHERE id = $1 AND is_active', [id]);
    if (rowCount === 0) await keys.find(link, id);
    else await audit(link, actor, { action: 'key_revoked', subject: `key:${id}` });
  });
}
