/**
 * Findings: what jobs found last. A job runs in one process, the next time in another; a gauge of the process alone would
 * keep what it found once, and lose it at a restart. So the figure is a row of the database, which every process of the
 * role shows.
 */
import type { Sql } from '../store/postgres/time-partitions.ts';

/** Figures that differ, by the last audit; days past their retention that stay, by the last run of the role partitions. */
export type Finding = 'audit_differences' | 'partitions_held';

export async function noteFinding(sql: Sql, name: Finding, value: number): Promise<void> {
  await sql.query(
    `INSERT INTO sms_findings (name, value) VALUES ($1, $2)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value, found_at = now()`,
    [name, value],
  );
}

/** 0 when nobody has looked yet. */
export async function readFinding(sql: Sql, name: Finding): Promise<number> {
  const { rows } = await sql.query<{ value: number }>(
    'SELECT value::float8 AS value FROM sms_findings WHERE name = $1',
    [name],
  );
  return rows[0]?.value ?? 0;
}
