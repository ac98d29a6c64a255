import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  assertMigrated,
  type MigrateOptions,
  migrateDown,
  migrateUp,
  migrationStatus,
} from '../../../src/store/postgres/migrate.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { sql } from '../../sinks/postgres/fixture.ts';

const PORT = 21562;
let dsn = '';
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  ({ dsn } = await startPostgres({ onTestFinished: (fn) => undo.push(fn) }, { port: PORT, settings: fastSettings }));
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

type Files = Readonly<Record<string, string>>;

/** A folder of migrations; the same folder may get more files. */
function folder(files: Files): { url: URL; write(more: Files): void } {
  const path = mkdtempSync(join(tmpdir(), 'ringmain-migrations-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const write = (more: Files): void => {
    for (const [name, text] of Object.entries(more)) writeFileSync(join(path, name), text);
  };
  write(files);
  return { url: pathToFileURL(path), write };
}

const options = (service: string, url: URL): MigrateOptions & { told: string[] } => {
  const told: string[] = [];
  return { dsn, service, folder: url, told, tell: (line) => told.push(line) };
};
const names = (migrations: readonly { name: string }[]): string[] => migrations.map(({ name }) => name);
const states = async (of: MigrateOptions): Promise<string[]> =>
  (await migrationStatus(of)).map(({ name, state }) => `${name} ${state}`);
const exists = async (table: string): Promise<boolean> =>
  (await sql<{ found: boolean }>(dsn, 'SELECT to_regclass($1) IS NOT NULL AS found', [table]))[0]!.found;

test('up applies what is missing, down takes it back, status tells; two services share a database', async () => {
  const { url, write } = folder({
    '001_tables.sql': 'CREATE TABLE shop (id int); CREATE TABLE shelf (id int);',
    '001_tables.down.sql': 'DROP TABLE shelf; DROP TABLE shop;',
    'README.md': 'not a migration',
  });
  const shop = options('shop', url);
  expect(await states(shop)).toEqual(['001_tables pending']);
  await expect(assertMigrated(shop)).rejects.toThrow(
    'schema of shop must be at 001_tables: missing=001_tables; run: ringmain migrate shop up',
  );
  expect(names(await migrateUp(shop))).toEqual(['001_tables']);
  expect(names(await migrateUp(shop))).toEqual([]);
  write({
    '002_price.sql': 'ALTER TABLE shop ADD price int;',
    '002_price.down.sql': 'ALTER TABLE shop DROP price;',
    '003_index.sql':
      '-- no transaction\nCREATE INDEX CONCURRENTLY shop_id ON shop (id);\n' +
      'CREATE INDEX CONCURRENTLY shop_price ON shop (price);',
    '003_index.down.sql': '-- no transaction\nDROP INDEX CONCURRENTLY shop_id; DROP INDEX CONCURRENTLY shop_price;',
  });
  expect(names(await migrateUp(shop))).toEqual(['002_price', '003_index']);
  expect(shop.told).toEqual(['applied 001_tables.sql', 'applied 002_price.sql', 'applied 003_index.sql']);
  await assertMigrated(shop);

  const other = options('other', folder({ '001_tables.sql': 'CREATE TABLE other (id int)' }).url);
  expect(names(await migrateUp(other))).toEqual(['001_tables']);
  expect(await states(shop)).toEqual(['001_tables applied', '002_price applied', '003_index applied']);

  expect(names(await migrateDown(shop, 2))).toEqual(['003_index', '002_price']);
  expect(await exists('shop_id')).toBe(false);
  expect(await states(shop)).toEqual(['001_tables applied', '002_price pending', '003_index pending']);
  expect(names(await migrateUp(shop))).toEqual(['002_price', '003_index']);
  expect(names(await migrateDown(shop, 10))).toEqual(['003_index', '002_price', '001_tables']);
  expect(await exists('shop')).toBe(false);
  expect(await migrateDown(shop)).toEqual([]);
  await expect(migrateDown(other)).rejects.toThrow('001_tables.down.sql must exist to take 001_tables back');
});

test('an applied file that was changed is refused with both checksums; line ends do not count', async () => {
  const { url, write } = folder({ '001_a.sql': 'CREATE TABLE changed (id int);\n' });
  const service = options('changed', url);
  const applied = (await migrateUp(service))[0]!.checksum;
  write({ '001_a.sql': 'CREATE TABLE changed (id int);\r\n' });
  await assertMigrated(service);
  write({ '001_a.sql': 'CREATE TABLE changed (id bigint);\n', '002_b.sql': 'CREATE TABLE never (id int)' });
  for (const call of [migrateUp, migrateDown, assertMigrated]) {
    const error = await call(service).then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).toMatch(/^001_a\.sql must be as it was applied on 20/);
    const [, found] = /checksum of the file=([0-9a-f]{32});/.exec(error!.message)!;
    expect(error?.message).toContain(`applied checksum=${applied},`);
    expect(found).not.toBe(applied);
  }
  expect(await states(service)).toEqual(['001_a changed', '002_b pending']);
  expect(await exists('never')).toBe(false);
});

test('a file that fails leaves nothing behind, tells its line, and those before it stand', async () => {
  const { url, write } = folder({
    '001_good.sql': 'CREATE TABLE good (id int)',
    '002_bad.sql': "-- 😀 makes a table\nCREATE TABLE half (id int);\nINSERT INTO half\n  SELECT 'x' FROM nowhere;\n",
    '003_later.sql': 'CREATE TABLE later (id int)',
  });
  const service = options('failing', url);
  await expect(migrateUp(service)).rejects.toThrow(
    `002_bad.sql:4 (SELECT 'x' FROM nowhere;): 127.0.0.1:${PORT}: relation "nowhere" does not exist (SQLSTATE 42P01); ` +
      'nothing of the file is applied',
  );
  expect([await exists('good'), await exists('half'), await exists('later')]).toEqual([true, false, false]);
  expect(await states(service)).toEqual(['001_good applied', '002_bad pending', '003_later pending']);
  write({ '002_bad.sql': 'CREATE TABLE half (id int);' });
  expect(names(await migrateUp(service))).toEqual(['002_bad', '003_later']);
});

test('a file without a transaction that fails half-way says so, and runs again from its beginning', async () => {
  const { url, write } = folder({
    '001_t.sql': 'CREATE TABLE twice (id int); INSERT INTO twice VALUES (1), (1)',
    '002_i.sql':
      '-- no transaction\n\nDROP INDEX CONCURRENTLY IF EXISTS twice_a;\n' +
      'CREATE INDEX CONCURRENTLY twice_a ON twice (id);\n' +
      'DROP INDEX CONCURRENTLY IF EXISTS twice_b;\nCREATE UNIQUE INDEX CONCURRENTLY twice_b ON twice (id);\n',
  });
  const service = options('twice', url);
  await expect(migrateUp(service)).rejects.toThrow(
    /^002_i\.sql:6 \(CREATE UNIQUE INDEX CONCURRENTLY twice_b .* could not create unique .* first 3 statements stand/,
  );
  expect(await states(service)).toEqual(['001_t applied', '002_i pending']);
  await sql(dsn, 'DELETE FROM twice WHERE ctid = (SELECT min(ctid) FROM twice)');
  expect(names(await migrateUp(service))).toEqual(['002_i']);
  const valid = await sql(dsn, "SELECT indisvalid FROM pg_index WHERE indrelid = 'twice'::regclass");
  expect(valid).toEqual([{ indisvalid: true }, { indisvalid: true }]);
  write({ '003_c.sql': 'CREATE TABLE ended (id int); COMMIT; CREATE TABLE beyond (id int)' });
  await expect(migrateUp(service)).rejects.toThrow('003_c.sql must not end its transaction');
});

// Goal: of several processes that start at once each file is applied once, also one that builds its index concurrently
// while the others wait for the lock.
test('five runners at once apply each file once', async () => {
  const { url } = folder({
    '001_t.sql': 'CREATE TABLE once (at timestamptz DEFAULT now())',
    '002_row.sql': 'INSERT INTO once DEFAULT VALUES; SELECT pg_sleep(0.3)',
    '003_i.sql': '-- no transaction\nCREATE INDEX CONCURRENTLY once_at ON once (at)',
    '004_row.sql': 'INSERT INTO once DEFAULT VALUES',
  });
  const runners = Array.from({ length: 5 }, () => options('once', url));
  const applied = await Promise.all(runners.map((runner) => migrateUp(runner)));
  expect(applied.map(({ length }) => length).sort()).toEqual([0, 0, 0, 0, 4]);
  expect(await sql(dsn, 'SELECT count(*)::int AS n FROM once')).toEqual([{ n: 2 }]);
  expect(runners.filter(({ told }) => told[0] === 'another process migrates once; waiting')).toHaveLength(4);
});

test('a runner that waits too long for another one gives up', async () => {
  const { url } = folder({ '001_slow.sql': 'SELECT pg_sleep(1)' });
  const first = migrateUp(options('patience', url));
  await expect
    .poll(() => sql(dsn, "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1)' AND state = 'active'"))
    .toHaveLength(1);
  await expect(migrateUp({ ...options('patience', url), lockWaitMs: 200 })).rejects.toThrow(
    `the lock of patience's migrations at 127.0.0.1:${PORT} must become free within 200 ms`,
  );
  expect(await first).toHaveLength(1);
});

// Goal: a process that is killed in the middle of a file leaves a schema that the next one finishes.
// Method: SIGKILL while the file sleeps behind its first statement; the next runner starts at once.
test.each([
  ['in a transaction', '', 1],
  ['without one', '-- no transaction\n', 2],
])('a runner killed in the middle of a file %s is followed by one that finishes', async (what, first, rows) => {
  const service = what.replaceAll(' ', '_');
  const { url } = folder({
    '001_t.sql': `CREATE TABLE ${service} (id int)`,
    '002_slow.sql': `${first}INSERT INTO ${service} VALUES (1);\nSELECT pg_sleep(0.8), '${service}'`,
    '003_u.sql': `CREATE TABLE ${service}_u (id int)`,
  });
  const child = runner(service, url);
  const slow = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE $1";
  await expect.poll(() => sql(dsn, slow, [`%'${service}'%`])).toHaveLength(1);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const next = options(service, url);
  expect(names(await migrateUp(next))).toEqual(['002_slow', '003_u']);
  expect(next.told[0]).toBe(`another process migrates ${service}; waiting`);
  expect(await sql(dsn, `SELECT count(*)::int AS n FROM ${service}`)).toEqual([{ n: rows }]);
  await assertMigrated(next);
});

/** Another process that migrates up. */
function runner(service: string, url: URL): ChildProcess {
  const module = new URL('../../../src/store/postgres/migrate.ts', import.meta.url).href;
  const script = `import { migrateUp } from ${JSON.stringify(module)};
    await migrateUp({ dsn: ${JSON.stringify(dsn)}, service: '${service}', folder: new URL('${url.href}') });`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'ignore' });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

test('a database that is ahead is taken, a file older than what is applied is not', async () => {
  const { url, write } = folder({ '002_b.sql': 'SELECT 1', '005_e.sql': 'SELECT 1' });
  const service = options('ahead', url);
  await migrateUp(service);
  const older = options('ahead', folder({ '002_b.sql': 'SELECT 1' }).url);
  expect((await assertMigrated(older)).map(({ state }) => state)).toEqual(['applied', 'unknown']);
  expect(await migrateUp(older)).toEqual([]);
  await expect(migrateDown(older)).rejects.toThrow('005_e must be taken back by a build that has it');
  write({ '003_c.sql': 'SELECT 1' });
  await expect(migrateUp(service)).rejects.toThrow('003_c.sql must be newer than what is applied: newest=005_e');
});

test('every file that does not fit is named', async () => {
  const { url } = folder({
    '001_a.sql': '',
    '001_b.sql': '',
    '2_c.sql': '',
    '003_D.sql': '',
    '004_gone.down.sql': '',
  });
  const error = await migrationStatus(options('names', url)).catch((reason: Error) => reason);
  expect(error).toBeInstanceOf(Error);
  for (const part of [
    '001_b.sql must have a number of its own: 001_a.sql has it',
    '2_c.sql must be named like 001_tables.sql',
    '003_D.sql must be named like',
    '004_gone.down.sql must have its 004_gone.sql',
  ]) {
    expect((error as Error).message).toContain(part);
  }
});

// Goal: an ALTER TABLE that waits behind a long query does not make everybody behind it wait as well.
test('a migration that cannot get its lock gives up and changes nothing', async () => {
  await sql(dsn, 'CREATE TABLE busy (id int)');
  const { url } = folder({ '001_alter.sql': 'CREATE TABLE busy_too (id int);\nALTER TABLE busy ADD n int' });
  const reader = sql(dsn, 'BEGIN; LOCK TABLE busy IN ACCESS SHARE MODE; SELECT pg_sleep(1.5); COMMIT');
  await expect
    .poll(() => sql(dsn, "SELECT 1 FROM pg_locks WHERE relation = 'busy'::regclass AND granted"))
    .not.toHaveLength(0);
  const service = { ...options('busy', url), lockTimeoutMs: 100 };
  await expect(migrateUp(service)).rejects.toThrow(/001_alter\.sql.*lock timeout.*nothing of the file is applied/);
  expect(await exists('busy_too')).toBe(false);
  await reader;
  expect(names(await migrateUp(service))).toEqual(['001_alter']);
});
