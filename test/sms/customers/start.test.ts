/** What the start says of keys and of administration, and what ACCESS=open opens. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { expressMissKey, OPENING_KEY } from '../../../src/sms/money/ledger.ts';
import { migrateDown, migrateUp } from '../../../src/store/postgres/migrate.ts';
import { main } from '../../servers/collector.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { openLink, startDatabase } from '../database.ts';
import { PEPPER, startSms } from '../running.ts';

const scope = fileScope();
let server: PostgresServer;
beforeAll(async () => {
  server = await startDatabase(scope, 26_220);
});

/** `ringmain sms ...` until it ends. */
async function ringmain(
  env: Readonly<Record<string, string>>,
  ...words: string[]
): Promise<{ readonly code: number; readonly stderr: string }> {
  const { folder } = temporaryFolder('ringmain-sms-start-');
  const given = { PATH: process.env['PATH'] ?? '', REPORTS: 'off', ...env };
  const ran = promisify(execFile)(process.execPath, [main, 'sms', ...words], { cwd: folder, env: given });
  return ran.then(
    ({ stderr }) => ({ code: 0, stderr }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
  );
}

test('without a pepper, or without a database, the start is refused by a line for each', async () => {
  const { code, stderr } = await ringmain({ PG_DSN: server.dsn }, 'all', '--check-config');
  expect(code).toBe(78);
  expect(stderr).toMatch(/^.*KEY_PEPPER \(or KEY_PEPPER_FILE\) must be set.*ACCESS=open does without keys$/m);
  expect(await ringmain({ PG_DSN: server.dsn, ACCESS: 'open' }, 'all', '--check-config')).toMatchObject({ code: 0 });
  const drops = { PG_DSN: server.dsn, ACCESS: 'open', ON_LAG: 'drop' };
  expect((await ringmain(drops, 'all', '--check-config')).stderr).toMatch(/ON_LAG must be refuse/);
  const without = await ringmain({ KEY_PEPPER: PEPPER }, 'all', '--check-config');
  expect(without.stderr).toMatch(/DATABASE_URL must be set/);
});

test('ACCESS=open lets everybody send; administration asks for its key, and is off without one', async () => {
  const key = 'ringmain sms key';
  const sms = await startSms(scope, {
    ...{ port: 26_221, dsn: server.dsn },
    env: { ACCESS: 'open', KEY_PEPPER: '', ADMIN_KEY: '' },
  });
  const ask = (method: string, path: string, body?: object, authorization?: string) =>
    fetch(`${sms.url}${path}`, {
      method,
      ...(authorization === undefined ? {} : { headers: { authorization } }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const message = { customer_id: 'ada', to: '+989121234567', text: 'hello' };
  expect((await ask('POST', '/v1/sms/send', message)).status).toBe(404);
  const added = await ringmain({ PG_DSN: server.dsn }, 'customer', 'add', 'ada', '--balance=5');
  expect(added, added.stderr).toMatchObject({ code: 0 });
  expect((await ask('POST', '/v1/sms/send', message)).status).toBe(200);
  expect((await ask('POST', '/v1/sms/send', message, 'Bearer wrong')).status).toBe(401);
  for (const authorization of [undefined, 'Bearer ', 'Bearer undefined', `Bearer ${key}`]) {
    const refused = await ask('GET', '/v1/customers', undefined, authorization);
    expect(refused.status).toBe(401);
    expect((await refused.json()) as object).toMatchObject({ detail: expect.stringContaining('has no ADMIN_KEY') });
  }
  expect(sms.process.log).toMatch(/"admin":"off: ADMIN_KEY is not set"/);
  expect(sms.process.log).toMatch(/"access":"open: everybody may send for every customer"/);
});

test('another pepper than the one of the keys is refused at the start', async () => {
  await ringmain({ PG_DSN: server.dsn }, 'customer', 'add', 'bob');
  const added = await ringmain({ PG_DSN: server.dsn, KEY_PEPPER: PEPPER }, 'key', 'add', 'bob');
  expect(added, added.stderr).toMatchObject({ code: 0 });
  const other = { PG_DSN: server.dsn, KEY_PEPPER: 'f'.repeat(32) };
  const { code, stderr } = await ringmain({ ...other, SERVER_ADDR: '127.0.0.1:26222' }, 'all');
  expect(code).toBe(78);
  expect(stderr).toMatch(/KEY_PEPPER must be the one that the keys in the database were made under.*keys=1/);
  expect((await ringmain(other, 'key', 'add', 'bob')).stderr).toMatch(/KEY_PEPPER must be the one/);
});

test('the tables of keys go and come again by migrations, and leave nothing behind', async () => {
  const folder = new URL('../../../src/sms/migrations/', import.meta.url);
  const link = await openLink(server.dsn);
  const { rows } = await link.query<{ newest: number }>(
    'SELECT max(version)::int AS newest FROM ringmain_migrations_sms',
  );
  const options = { dsn: server.dsn, service: 'sms', folder, tell: () => undefined };
  // Credits of the service itself, under the names that they had before 020; what people credited keeps its key.
  const keys = async () =>
    (await link.query('SELECT idempotency_key AS key FROM balance_credits ORDER BY amount')).rows.map(({ key }) => key);
  const miss = '01KB3V7J2K0000000000000000';
  await link.query(
    `INSERT INTO balance_credits (customer_id, idempotency_key, amount, balance)
       VALUES ('ada', $1, 6, 6), ('bob', 'opening', 7, 7), ('bob', $2, 8, 8)`,
    [expressMissKey(miss), `express-miss:${miss}`],
  );
  await link.query(
    `INSERT INTO audit_log (actor, action, subject, details)
       SELECT 'cli', 'customer_credited', 'customer:bob', jsonb_build_object('idempotency_key', key)
       FROM unnest($1::text[]) AS key`,
    [['opening', `express-miss:${miss}`]],
  );
  const now = [OPENING_KEY, expressMissKey(miss), 'opening', `express-miss:${miss}`];
  expect(await keys()).toEqual(now);
  await migrateDown(options, rows[0]!.newest - 19);
  expect(await keys()).toEqual(['opening', `express-miss:${miss}`, 'opening', `express-miss:${miss}`]);
  await migrateUp(options);
  expect(await keys()).toEqual(now);
  await migrateDown(options, rows[0]!.newest - 3);
  const left = await link.query(
    `SELECT proname FROM pg_proc WHERE proname LIKE 'note_key%' UNION
      SELECT relname FROM pg_class WHERE relname IN ('api_keys', 'key_changes', 'audit_log')`,
  );
  expect(left.rows).toEqual([]);
  await migrateUp(options);
  await link.close();
});
