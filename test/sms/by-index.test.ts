/**
 * Goal: a plan that is kept from an empty table never reads all of a full one.
 * Method: ask for the plans that are kept, of empty tables, in a session with the settings of the service.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { keyedStatements } from '../../src/sms/accept/group.ts';
import { groupSettings } from '../../src/sms/accept/session.ts';
import { SETTLE } from '../../src/sms/money/settle.ts';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { openLink, startDatabase } from './database.ts';

async function planOf(link: PostgresLink, sql: string): Promise<string> {
  const { rows } = await link.query<{ 'QUERY PLAN': string }>(`EXPLAIN (GENERIC_PLAN) ${sql}`);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

test('statements by key have plans by index, whatever the tables hold when they are planned', async (t) => {
  const { dsn } = await startDatabase(t, 26_545);
  const plain = await openLink(dsn);
  const ours = await openLink(dsn, { settings: groupSettings });
  t.onTestFinished(async () => void (await Promise.all([plain.close(), ours.close()])));
  assert.match(await planOf(plain, SETTLE), /Seq Scan on sms_logs/, 'what the settings are for');
  for (const sql of [...keyedStatements, SETTLE]) assert.doesNotMatch(await planOf(ours, sql), /Seq Scan/);
});
