/** Limits, quota and networks of a user; each is replaced as a whole. null: no limit. */
import { canonicalNetwork } from '../../../http/address.ts';
import { audit } from '../../../service/database/audit.ts';
import { serviceErrors } from '../../../service/errors.ts';
import type { PostgresLink } from '../../../store/postgres/connection.ts';
import { inTransaction } from '../../../store/postgres/in-transaction.ts';
import { FORGET_REACHED } from '../../quota/thresholds.ts';
import type { Actor, QuotaLimits, RateLimits } from './contract.ts';

/** Of a user, and of a key. Each acceptor keeps them all. */
const NETWORKS_MAX = 10_000;

const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });

/** Throws RESOURCE_UNKNOWN when there is no such user; keeps others from changing it until the transaction ends. */
export async function lockUser(link: PostgresLink, id: number): Promise<void> {
  const { rows } = await link.query('SELECT FROM users WHERE id = $1 FOR UPDATE', [id]);
  if (rows.length === 0) throw serviceErrors.RESOURCE_UNKNOWN({ what: 'user', id: String(id) });
}

/** A whole number in these bounds, or null. Throws INPUT_REFUSED. */
function numbersOf<T>(names: readonly (keyof T & string)[], given: Partial<T>, least: number): T {
  const entries = names.map((name) => {
    const value: unknown = given[name] ?? null;
    if (value === null || (Number.isSafeInteger(value) && (value as number) >= least)) return [name, value] as const;
    throw invalid(`${name} must be null or a whole number from ${least} on: found=${String(value)}`);
  });
  return Object.fromEntries(entries) as T;
}

export function rateLimitsOf(given: Partial<RateLimits>): RateLimits {
  const limits = numbersOf<RateLimits>(['requests_per_minute', 'requests_per_hour', 'burst'], given, 1);
  if (limits.burst !== null && limits.requests_per_minute === null && limits.requests_per_hour === null)
    throw invalid('burst must stand beside requests_per_minute or requests_per_hour: it says how many of them at once');
  return limits;
}

/** Replaces the limits of a user. */
export function setLimits(
  link: PostgresLink,
  actor: Actor,
  userId: number,
  given: Partial<RateLimits>,
): Promise<RateLimits> {
  const limits = rateLimitsOf(given);
  return inTransaction(link, async () => {
    await lockUser(link, userId);
    await link.query(
      `INSERT INTO rate_limits (user_id, requests_per_minute, requests_per_hour, burst) VALUES ($1, $2, $3, $4)
       ON CONFLICT (user_id) DO UPDATE SET requests_per_minute = excluded.requests_per_minute,
         requests_per_hour = excluded.requests_per_hour, burst = excluded.burst, updated_at = now()`,
      [userId, limits.requests_per_minute, limits.requests_per_hour, limits.burst],
    );
    await audit(link, actor, { action: 'limits_set', subject: `user:${userId}`, details: { ...limits } });
    return limits;
  });
}

/** Replaces the quota of a user. */
export function setQuota(
  link: PostgresLink,
  actor: Actor,
  userId: number,
  given: Partial<QuotaLimits>,
): Promise<QuotaLimits> {
  const quota = numbersOf<QuotaLimits>(['monthly_requests', 'monthly_bytes', 'storage_bytes'], given, 0);
  return inTransaction(link, async () => {
    await lockUser(link, userId);
    await link.query(
      `INSERT INTO quotas (user_id, monthly_requests, monthly_bytes, storage_bytes) VALUES ($1, $2, $3, $4)
       ON CONFLICT (user_id) DO UPDATE SET monthly_requests = excluded.monthly_requests,
         monthly_bytes = excluded.monthly_bytes, storage_bytes = excluded.storage_bytes, updated_at = now()`,
      [userId, quota.monthly_requests, quota.monthly_bytes, quota.storage_bytes],
    );
    await link.query(FORGET_REACHED, [userId]);
    await audit(link, actor, { action: 'quota_set', subject: `user:${userId}`, details: { ...quota } });
    return quota;
  });
}

/** The networks in their one spelling, each once. Throws INPUT_REFUSED. */
export function networksOf(given: readonly string[]): readonly string[] {
  if (given.length > NETWORKS_MAX)
    throw invalid(`there must be at most ${NETWORKS_MAX} networks: found=${given.length}`);
  const found = given.map((text) => {
    try {
      return canonicalNetwork(text);
    } catch (error) {
      throw invalid((error as Error).message);
    }
  });
  return [...new Set(found)];
}

/** Replaces the networks of a user (`user_id`), or of a key (`key_id`), within a transaction. */
export async function replaceNetworks(
  link: PostgresLink,
  column: 'user_id' | 'key_id',
  id: number | string,
  networks: readonly string[],
): Promise<void> {
  await link.query(`DELETE FROM ip_whitelist WHERE ${column} = $1`, [id]);
  if (networks.length > 0)
    await link.query(`INSERT INTO ip_whitelist (${column}, ip_cidr) SELECT $1, unnest($2::cidr[])`, [id, networks]);
}

/** Replaces the networks of a user; an empty list: every network. */
export function setNetworks(
  link: PostgresLink,
  actor: Actor,
  userId: number,
  given: readonly string[],
): Promise<readonly string[]> {
  const networks = networksOf(given);
  return inTransaction(link, async () => {
    await lockUser(link, userId);
    await replaceNetworks(link, 'user_id', userId, networks);
    // A list of thousands would fill the log: how many there are, and the first ones.
    const details = { count: networks.length, networks: networks.slice(0, 20) };
    await audit(link, actor, { action: 'networks_set', subject: `user:${userId}`, details });
    return networks;
  });
}
