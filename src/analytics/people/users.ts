/**
 * Users: what `ringmain analytics user` does to the table users. A name is what somebody logs in with; upper and lower
 * case are the same. Each change is one transaction with its audit line.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { sqlState } from '../../store/postgres/fault.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { analyticsErrors } from '../errors.ts';
import { type AuditAction, audit } from './audit.ts';

export const roles = ['owner', 'viewer'] as const;
export type Role = (typeof roles)[number];

/** Everybody of an organization; the list is shown whole. */
export const USERS_MAX = 10_000;
export const USER_NAME_MAX = 200;

export interface UserRow {
  readonly name: string;
  readonly role: Role;
  readonly disabled: boolean;
  readonly sessions: number;
  readonly created_at: Date;
  readonly last_login_at: Date | null;
}

const refused = (reason: string): Error => analyticsErrors.USER_REFUSED({ reason });

/** What is wrong with a name; undefined: nothing. */
export function userNameProblem(name: string): string | undefined {
  const { length } = [...name];
  const fits = length >= 1 && length <= USER_NAME_MAX && name.trim() === name && !/[\p{Cc}\p{Cf}]/u.test(name);
  return fits
    ? undefined
    : `a user must be called by 1 to ${USER_NAME_MAX} characters, no control characters and no space around them: ` +
        `found=${JSON.stringify(name.slice(0, USER_NAME_MAX))}`;
}

export async function countUsers(link: PostgresLink): Promise<number> {
  const { rows } = await link.query<{ users: number }>('SELECT count(*)::int AS users FROM users');
  return rows[0]!.users;
}

export async function addUser(link: PostgresLink, name: string, role: Role, password: string): Promise<void> {
  try {
    await inTransaction(link, async () => {
      if ((await countUsers(link)) >= USERS_MAX) throw refused(`there can be at most ${USERS_MAX} users`);
      await link.query('INSERT INTO users (name, role, password) VALUES ($1, $2, $3)', [name, role, password]);
      await audit(link, { action: 'user_added', subject: `${name} (${role})` });
    });
  } catch (error) {
    if (sqlState(error) === '23505') throw refused(`there is a user of that name: user=${name}`);
    throw error;
  }
}

export async function listUsers(link: PostgresLink): Promise<readonly UserRow[]> {
  const { rows } = await link.query<UserRow & { readonly [column: string]: unknown }>(
    `SELECT u.name, u.role, u.disabled_at IS NOT NULL AS disabled, u.created_at, u.last_login_at,
       (SELECT count(*)::int FROM user_sessions s
         WHERE s.user_id = u.user_id AND revoked_at IS NULL AND expires_at > now()) AS sessions
     FROM users u ORDER BY lower(u.name) COLLATE "C" LIMIT ${USERS_MAX}`,
  );
  return rows;
}

interface Change {
  readonly action: AuditAction;
  /** What of `users` changes: `role = $2`. */
  readonly set: string;
  readonly value?: unknown;
  /** Their sessions end. */
  readonly endsSessions: boolean;
  readonly said?: string;
}

/** Returns the name as it is kept. */
function change(link: PostgresLink, name: string, { action, set, value, endsSessions, said }: Change): Promise<string> {
  return inTransaction(link, async () => {
    const values = value === undefined ? [name] : [name, value];
    const { rows } = await link.query<{ id: number; name: string }>(
      `UPDATE users SET ${set} WHERE lower(name) = lower($1) RETURNING user_id AS id, name`,
      values,
    );
    const [found] = rows;
    if (found === undefined) throw unknown(name);
    if (endsSessions)
      await link.query('UPDATE user_sessions SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL', [
        found.id,
      ]);
    await audit(link, { action, subject: said === undefined ? found.name : `${found.name} (${said})` });
    return found.name;
  });
}

const unknown = (name: string): Error =>
  refused(`there is no such user: user=${name}; \`ringmain analytics user list\` shows those there are`);

/** A new password ends all logins of the user. */
export const setPassword = (link: PostgresLink, name: string, password: string): Promise<string> =>
  change(link, name, { action: 'user_password', set: 'password = $2', value: password, endsSessions: true });

export const setRole = (link: PostgresLink, name: string, role: Role): Promise<string> =>
  change(link, name, { action: 'user_role', set: 'role = $2', value: role, endsSessions: false, said: role });

export const setDisabled = (link: PostgresLink, name: string, disabled: boolean): Promise<string> =>
  change(link, name, {
    action: disabled ? 'user_disabled' : 'user_enabled',
    set: `disabled_at = ${disabled ? 'coalesce(disabled_at, now())' : 'NULL'}`,
    endsSessions: disabled,
  });

/** Deletes the user with all logins. Returns the name as it was kept. */
export function removeUser(link: PostgresLink, name: string): Promise<string> {
  return inTransaction(link, async () => {
    const { rows } = await link.query<{ name: string }>(
      'DELETE FROM users WHERE lower(name) = lower($1) RETURNING name',
      [name],
    );
    const [found] = rows;
    if (found === undefined) throw unknown(name);
    await audit(link, { action: 'user_removed', subject: found.name });
    return found.name;
  });
}
