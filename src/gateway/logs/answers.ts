/** Answers of the area `logs` (database/questions.ts): pages of request_logs. */

import type { Answers } from '../../service/database/questions.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { sqlState } from '../../store/postgres/fault.ts';
import { gatewayErrors } from '../errors.ts';
import { cursorOf, type LogEntry, type LogsPage, type LogsQuestion } from './question.ts';

interface Row extends Omit<LogEntry, 'id' | 'created_at' | 'user_id' | 'backend_id'> {
  readonly [column: string]: unknown;
  readonly id: string;
  readonly created_at: Date;
  readonly user_id: string | null;
  readonly backend_id: string | null;
  readonly request_size_bytes: never;
  readonly response_size_bytes: never;
}

const QUERY_CANCELED = '57014';

/**
 * The newest entries. Those of a user, of a key, or of a status from 400 on have an index each; statuses are looked up
 * one by one, because a rare one must not be looked for among those of its class. Throws LOGS_TOO_SLOW.
 */
export async function listLogs(link: PostgresLink, question: LogsQuestion): Promise<LogsPage> {
  const { userId, keyId, status, outcome, fromMs, toMs, path, limit, before } = question;
  const values: unknown[] = [];
  const wheres: string[] = [];
  /** `sql` names the values $1, $2, ... of its own. */
  const where = (sql: string, ...given: readonly unknown[]): void => {
    const first = values.length;
    values.push(...given);
    wheres.push(sql.replace(/\$(\d)/g, (_, n: string) => `$${first + Number(n)}`));
  };
  if (userId !== undefined) where('user_id = $1', userId);
  if (keyId !== undefined) where('key_id = $1', keyId);
  const byStatus = status !== undefined && status[0] >= 400 && userId === undefined && keyId === undefined;
  if (byStatus) wheres.push('response_status = s.status AND response_status >= 400');
  else if (status !== undefined) where('response_status BETWEEN $1 AND $2', ...status);
  if (outcome !== undefined) where('outcome = $1', outcome);
  if (fromMs !== undefined) where('created_at >= to_timestamp($1::float8 / 1000)', fromMs);
  if (toMs !== undefined) where('created_at < to_timestamp($1::float8 / 1000)', toMs);
  if (path !== undefined) where('starts_with(request_path, $1)', path);
  // The first comparison lets the server leave out partitions.
  if (before !== undefined)
    where(
      'created_at <= to_timestamp($1::float8 / 1000) AND (created_at, id) < (to_timestamp($1::float8 / 1000), $2)',
      before.ms,
      before.id,
    );
  values.push(limit + 1);
  const newest = `ORDER BY created_at DESC, id DESC LIMIT $${values.length}`;
  let sql = `SELECT id, created_at, user_id, key_id, backend_id, request_id, method, request_path, response_status,
      outcome, response_time_ms, request_size_bytes, response_size_bytes, host(client_ip) AS client_ip
    FROM request_logs ${wheres.length === 0 ? '' : `WHERE ${wheres.join(' AND ')}`} ${newest}`;
  if (byStatus) {
    values.push(...status);
    const series = `generate_series($${values.length - 1}::int, $${values.length}::int)`;
    sql = `SELECT found.* FROM ${series} AS s (status) CROSS JOIN LATERAL (${sql}) AS found ${newest}`;
  }
  const { rows } = await link.query<Row>(sql, values).catch((error: unknown) => {
    throw sqlState(error) === QUERY_CANCELED ? gatewayErrors.LOGS_TOO_SLOW({}, error) : error;
  });
  const items = rows.slice(0, limit).map(entryOf);
  const last = rows[limit - 1];
  const next = rows.length > limit ? cursorOf({ ms: last!.created_at.getTime(), id: Number(last!.id) }) : null;
  return { items, next };
}

const numberOrNull = (text: string | null): number | null => (text === null ? null : Number(text));

const entryOf = (row: Row): LogEntry => ({
  ...row,
  id: Number(row.id),
  created_at: row.created_at.toISOString(),
  user_id: numberOrNull(row.user_id),
  backend_id: numberOrNull(row.backend_id),
  request_size_bytes: Number(row.request_size_bytes),
  response_size_bytes: Number(row.response_size_bytes),
});

export const logsAnswers: Answers = { list: listLogs };
