/** Sessions: logins as they are kept in user_sessions. The time is the database's, so that all processes agree. */
import { makeToken, tokenDigest } from '../../access/token.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { audit } from './audit.ts';
import type { Role } from './users.ts';

/** Logins of one user at a time: the one that was used least lately gives way. */
export const USER_SESSIONS_MAX = 20;
/** How exactly it is known when a session was used. */
const SEEN_S = 60;

export interface SessionUser {
  readonly userId: number;
  readonly user: string;
  readonly role: Role;
}

export interface Account extends SessionUser {
  readonly password: string;
}

/** Somebody who may log in; undefined: there is nobody of that name, or disabled. */
export async function findAccount(link: PostgresLink, name: string): Promise<Account | undefined> {
  const { rows } = await link.query<Account & { readonly [column: string]: unknown }>(
    `SELECT user_id AS "userId", name AS "user", role, password FROM users
      WHERE lower(name) = lower($1) AND disabled_at IS NULL`,
    [name],
  );
  return rows[0];
}

interface Opening {
  readonly account: Account;
  readonly maxAgeMs: number;
  readonly address: string;
  /** A digest by the parameters of today; undefined: that of the account is one. */
  readonly rehashed: string | undefined;
}

/**
 * Makes a session and returns its token, which is kept nowhere. Undefined: the account has been changed since it was
 * found.
 */
export function openSession(
  link: PostgresLink,
  { account, maxAgeMs, address, rehashed }: Opening,
): Promise<string | undefined> {
  return inTransaction(link, async () => {
    const { rowCount } = await link.query(
      `UPDATE users SET last_login_at = now(), password = $3
        WHERE user_id = $1 AND password = $2 AND disabled_at IS NULL`,
      [account.userId, account.password, rehashed ?? account.password],
    );
    if (rowCount === 0) return undefined;
    const token = makeToken();
    await link.query(
      `INSERT INTO user_sessions (digest, user_id, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3))`,
      [tokenDigest(token), account.userId, maxAgeMs / 1000],
    );
    await link.query(
      `DELETE FROM user_sessions WHERE digest IN (
        SELECT digest FROM user_sessions WHERE user_id = $1
        ORDER BY revoked_at IS NOT NULL, seen_at DESC, created_at DESC, digest OFFSET ${USER_SESSIONS_MAX})`,
      [account.userId],
    );
    await audit(link, { action: 'login', actor: account.user, address });
    return token;
  });
}

/** Whose session it is; undefined: of nobody, or it has ended. */
export async function findSession(link: PostgresLink, token: string, idleMs: number): Promise<SessionUser | undefined> {
  const digest = tokenDigest(token);
  const { rows } = await link.query<SessionUser & { readonly stale: boolean; readonly [column: string]: unknown }>(
    `SELECT u.user_id AS "userId", u.name AS "user", u.role, s.seen_at < now() - interval '${SEEN_S} seconds' AS stale
       FROM user_sessions s JOIN users u USING (user_id)
      WHERE s.digest = $1 AND s.revoked_at IS NULL AND s.expires_at > now()
        AND s.seen_at > now() - make_interval(secs => $2) AND u.disabled_at IS NULL`,
    [digest, idleMs / 1000],
  );
  const [found] = rows;
  if (found === undefined) return undefined;
  if (found.stale) await link.query('UPDATE user_sessions SET seen_at = now() WHERE digest = $1', [digest]);
  const { userId, user, role } = found;
  return { userId, user, role };
}

/** Ends a session; nothing happens when it has ended. */
export function endSession(link: PostgresLink, token: string, address: string): Promise<void> {
  return inTransaction(link, async () => {
    const { rows } = await link.query<{ name: string }>(
      `UPDATE user_sessions s SET revoked_at = now() FROM users u
        WHERE s.digest = $1 AND s.revoked_at IS NULL AND u.user_id = s.user_id RETURNING u.name`,
      [tokenDigest(token)],
    );
    if (rows[0] !== undefined) await audit(link, { action: 'logout', actor: rows[0].name, address });
  });
}
