/** Users of the gateway: what the administrators' routes and the command line do to them. */

import { audit } from '../../../service/database/audit.ts';
import { serviceErrors } from '../../../service/errors.ts';
import type { PostgresLink } from '../../../store/postgres/connection.ts';
import { sqlState } from '../../../store/postgres/fault.ts';
import { inTransaction } from '../../../store/postgres/in-transaction.ts';
import type { Actor, NewUser, Page, UserChange, UserView } from './contract.ts';
import { lockUser } from './limits.ts';

/** Each acceptor keeps them all in memory. */
export const USERS_MAX = 100_000;
const LENGTH_MAX = 255;

const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });

/** Throws INPUT_REFUSED for a name that cannot be one. */
function nameOf(text: string): string {
  const fits = text.length >= 1 && text.length <= LENGTH_MAX && text.trim() === text && !/[\p{Cc}\p{Cf}]/u.test(text);
  if (fits) return text;
  throw invalid(
    `username must be 1 to ${LENGTH_MAX} characters, no control characters and no space around them: ` +
      `found=${JSON.stringify(text.slice(0, LENGTH_MAX))}`,
  );
}

/** RFC 5321 in essence: a local part and a domain. Whether somebody reads it, only a mail would tell. */
function emailOf(text: string): string {
  if (text.length <= LENGTH_MAX && /^[^\s@\p{Cc}\p{Cf}]+@[^\s@\p{Cc}\p{Cf}]+$/u.test(text)) return text;
  throw invalid(`email must be an address like ada@example.com: found=${JSON.stringify(text.slice(0, LENGTH_MAX))}`);
}

const VIEW = `SELECT u.id, u.username, u.email, u.is_active, u.created_at, u.updated_at,
    json_build_object('requests_per_minute', r.requests_per_minute, 'requests_per_hour', r.requests_per_hour,
      'burst', r.burst) AS limits,
    json_build_object('monthly_requests', q.monthly_requests, 'monthly_bytes', q.monthly_bytes,
      'storage_bytes', q.storage_bytes) AS quota,
    ARRAY(SELECT ip_cidr::text FROM ip_whitelist w WHERE w.user_id = u.id ORDER BY ip_cidr) AS networks,
    (SELECT count(*)::int FROM api_keys k WHERE k.user_id = u.id AND k.is_active
      AND (k.expires_at IS NULL OR k.expires_at > now())) AS keys
  FROM users u LEFT JOIN rate_limits r ON r.user_id = u.id LEFT JOIN quotas q ON q.user_id = u.id`;

interface Row extends Omit<UserView, 'id' | 'created_at' | 'updated_at'> {
  readonly [column: string]: unknown;
  readonly id: string;
  readonly created_at: Date;
  readonly updated_at: Date;
}

const viewOf = (row: Row): UserView => ({
  ...row,
  id: Number(row.id),
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
});

/** Throws RESOURCE_UNKNOWN when there is none. */
export async function findUser(link: PostgresLink, id: number): Promise<UserView> {
  const { rows } = await link.query<Row>(`${VIEW} WHERE u.id = $1`, [id]);
  if (rows[0] === undefined) throw serviceErrors.RESOURCE_UNKNOWN({ what: 'user', id: String(id) });
  return viewOf(rows[0]);
}

/** The id of the user of this name, or else of this id. Throws RESOURCE_UNKNOWN when there is none. */
export async function userIdOf(link: PostgresLink, user: string): Promise<number> {
  const { rows } = await link.query<{ id: string }>(
    'SELECT id FROM users WHERE username = $1 OR id::text = $1 ORDER BY username = $1 DESC LIMIT 1',
    [user],
  );
  if (rows[0] === undefined) throw serviceErrors.RESOURCE_UNKNOWN({ what: 'user', id: user });
  return Number(rows[0].id);
}

/** By id, above the id `after`; `search`: only those whose name or address has this text. */
export async function listUsers(
  link: PostgresLink,
  { after = 0, limit, search = '' }: { readonly after?: number; readonly limit: number; readonly search?: string },
): Promise<Page<UserView>> {
  const { rows } = await link.query<Row>(
    `${VIEW} WHERE u.id > $1 AND ($3 = '' OR strpos(lower(u.username), lower($3)) > 0
      OR strpos(lower(u.email), lower($3)) > 0) ORDER BY u.id LIMIT $2`,
    [after, limit + 1, search],
  );
  const items = rows.slice(0, limit).map(viewOf);
  return { items, next: rows.length > limit ? items.at(-1)!.id : null };
}

/** A name or an address that is taken becomes RESOURCE_TAKEN. */
async function unique<T>(work: Promise<T>, { username, email }: UserChange): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (sqlState(error) !== '23505') throw error;
    const byEmail = (error as { readonly constraint?: string }).constraint === 'users_email_key';
    throw serviceErrors.RESOURCE_TAKEN({
      reason: byEmail
        ? `there is a user with this email: email=${email}`
        : `there is a user of this name: username=${username}`,
    });
  }
}

export function addUser(link: PostgresLink, actor: Actor, { username, email }: NewUser): Promise<UserView> {
  const [name, address] = [nameOf(username), emailOf(email)];
  const added = inTransaction(link, async () => {
    const { rows: counted } = await link.query<{ users: number }>('SELECT count(*)::int AS users FROM users');
    if (counted[0]!.users >= USERS_MAX)
      throw serviceErrors.RESOURCE_TAKEN({ reason: `there can be at most ${USERS_MAX} users` });
    const { rows } = await link.query<{ id: string }>(
      'INSERT INTO users (username, email) VALUES ($1, $2) RETURNING id',
      [name, address],
    );
    const id = Number(rows[0]!.id);
    await audit(link, actor, { action: 'user_added', subject: `user:${id}`, details: { username: name } });
    return findUser(link, id);
  });
  return unique(added, { username, email });
}

export function changeUser(link: PostgresLink, actor: Actor, id: number, change: UserChange): Promise<UserView> {
  const username = change.username === undefined ? undefined : nameOf(change.username);
  const email = change.email === undefined ? undefined : emailOf(change.email);
  const changed = inTransaction(link, async () => {
    await lockUser(link, id);
    await link.query(
      `UPDATE users SET username = coalesce($2, username), email = coalesce($3, email),
         is_active = coalesce($4::boolean, is_active), updated_at = now() WHERE id = $1`,
      [id, username, email, change.is_active],
    );
    await audit(link, actor, { action: 'user_changed', subject: `user:${id}`, details: { ...change } });
    return findUser(link, id);
  });
  return unique(changed, change);
}

/** Keys, limits, quota and ownership of uploads go with the user; its requests and its usage stay. */
export function removeUser(link: PostgresLink, actor: Actor, id: number): Promise<void> {
  return inTransaction(link, async () => {
    const { username } = await findUser(link, id);
    await link.query('DELETE FROM users WHERE id = $1', [id]);
    await audit(link, actor, { action: 'user_removed', subject: `user:${id}`, details: { username } });
  });
}
