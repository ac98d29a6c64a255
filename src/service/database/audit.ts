/**
 * Audit: one row for each change that administrators make, written in the transaction of the change, so that none is
 * without its row. Nothing secret stands in one. The table is `audit_log` of the service.
 */
import { canonicalAddress } from '../../http/address.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { Actor, AuditEntry, Page } from './contract.ts';

export interface Audited {
  /** Like user_added. */
  readonly action: string;
  /** Whom or what it is about: user:17, key:9fK2mQx07TbA, backend:3. */
  readonly subject: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export async function audit(
  link: PostgresLink,
  { name, address = '' }: Actor,
  { action, subject, details = {} }: Audited,
): Promise<void> {
  await link.query('INSERT INTO audit_log (actor, action, subject, client_ip, details) VALUES ($1, $2, $3, $4, $5)', [
    name,
    action,
    subject,
    canonicalAddress(address) || null,
    JSON.stringify(details),
  ]);
}

interface Row {
  readonly [column: string]: unknown;
  readonly id: string;
  readonly at: Date;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly client_ip: string | null;
  readonly details: Readonly<Record<string, unknown>>;
}

/** The newest first, from below the id `before`. */
export async function listAudit(link: PostgresLink, limit: number, before?: number): Promise<Page<AuditEntry>> {
  const { rows } = await link.query<Row>(
    `SELECT id, at, actor, action, subject, host(client_ip) AS client_ip, details FROM audit_log
      WHERE $2::bigint IS NULL OR id < $2 ORDER BY id DESC LIMIT $1`,
    [limit + 1, before],
  );
  const items = rows.slice(0, limit).map((row) => ({ ...row, id: Number(row.id), at: row.at.toISOString() }));
  return { items, next: rows.length > limit ? items.at(-1)!.id : null };
}
