/**
 * Audit: one line for each login, and for each change of who may do what. Written in the transaction of the change, so
 * that none is without its line. Nothing secret stands in one, and no name that nobody has: people type passwords
 * there.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalAddress } from '../../http/address.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';

export const auditActions = [
  'login',
  'login_failed',
  'logout',
  'user_added',
  'user_removed',
  'user_disabled',
  'user_enabled',
  'user_role',
  'user_password',
  'site_key_added',
  'site_key_revoked',
  'share_added',
  'share_removed',
  'share_unlocked',
  'share_unlock_failed',
] as const;
export type AuditAction = (typeof auditActions)[number];

export interface AuditEntry {
  readonly action: AuditAction;
  /** Name of the user; null: the command line, or somebody who is not logged in. */
  readonly actor?: string | null;
  /** Whom or what it is about. */
  readonly subject?: string | null;
  /** Address of the client; its network alone is kept. '': unknown. */
  readonly address?: string;
}

export interface AuditRow {
  readonly at: Date;
  readonly action: AuditAction;
  readonly actor: string | null;
  readonly subject: string | null;
  readonly network: string | null;
}

/** Failed attempts are as many as an attacker likes: of these only so many lines are kept. */
const FAILURES_MAX = 100_000;
/** Lines of one statement. */
const PAGE = 10_000;

/** The network of an address: /24 of IPv4, /48 of IPv6; null for none. */
export function auditNetwork(address: string): string | null {
  if (canonicalAddress(address) === '') return null;
  return `${address}/${address.includes(':') ? 48 : 24}`;
}

export async function audit(
  link: PostgresLink,
  { action, actor = null, subject = null, address = '' }: AuditEntry,
): Promise<void> {
  await link.query('INSERT INTO audit_lines (action, actor, subject, network) VALUES ($1, $2, $3, network($4::inet))', [
    action,
    actor,
    subject,
    auditNetwork(address),
  ]);
}

/** The newest first. */
export async function auditLines(link: PostgresLink, limit: number): Promise<readonly AuditRow[]> {
  const { rows } = await link.query<AuditRow & { readonly [column: string]: unknown }>(
    'SELECT at, action, actor, subject, network::text FROM audit_lines ORDER BY id DESC LIMIT $1',
    [limit],
  );
  return rows;
}

const OLD = `DELETE FROM audit_lines WHERE id IN (
  SELECT id FROM audit_lines WHERE at < now() - make_interval(days => $1) ORDER BY id LIMIT ${PAGE})`;
const FLOOD = `DELETE FROM audit_lines WHERE id IN (
  SELECT id FROM audit_lines WHERE action IN ('login_failed', 'share_unlock_failed')
  ORDER BY id DESC OFFSET $1 LIMIT ${PAGE})`;
const ENDED = `DELETE FROM user_sessions WHERE digest IN (
  SELECT digest FROM user_sessions
   WHERE expires_at < now() OR revoked_at < now() OR seen_at < now() - make_interval(secs => $1) LIMIT ${PAGE})`;

export interface Kept {
  readonly auditDays: number;
  /** A session that was idle for longer has ended. */
  readonly idleMs: number;
  readonly failuresMax?: number;
}

/** Deletes audit lines that are too old or too many, and sessions that have ended. Returns how many lines. */
export async function tidyPeople(
  link: PostgresLink,
  { auditDays, idleMs, failuresMax = FAILURES_MAX }: Kept,
  signal: AbortSignal,
): Promise<number> {
  let deleted = 0;
  for (const [sql, value] of [
    [OLD, auditDays],
    [FLOOD, failuresMax],
    [ENDED, idleMs / 1000],
  ] as const) {
    for (let more = true; more && !signal.aborted; ) {
      const { rowCount } = await link.query(sql, [value]);
      if (sql !== ENDED) deleted += rowCount ?? 0;
      more = rowCount === PAGE;
      if (more) await delay(10);
    }
  }
  return deleted;
}
