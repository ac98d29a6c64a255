import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Migrated, migrateAtStart, runMigrate } from '../../src/service/migrate.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';

const PORT = 21564;
let dsn = '';
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  ({ dsn } = await startPostgres({ onTestFinished: (fn) => undo.push(fn) }, { port: PORT, settings: fastSettings }));
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

interface Values {
  readonly dsn: string | undefined;
  readonly migrate: boolean;
}

function service(name: string, files: Readonly<Record<string, string>>): Migrated<Values> {
  const path = mkdtempSync(join(tmpdir(), 'ringmain-migrations-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return {
    name,
    migrations: { folder: pathToFileURL(path), dsn: (values) => values.dsn, atStart: (values) => values.migrate },
  };
}

async function run(
  of: Migrated<Values>,
  words: readonly string[],
  values: Values = { dsn, migrate: false },
): Promise<{ code: number; text: string }> {
  let text = '';
  const code = await runMigrate(of, values, words, (more) => {
    text += more;
  });
  return { code, text };
}

test('migrate tells people what it does, and scripts by its exit code', async () => {
  const toy = service('toy', {
    '001_tables.sql': 'CREATE TABLE toy (id int)',
    '001_tables.down.sql': 'DROP TABLE toy',
    '002_more.sql': 'ALTER TABLE toy ADD n int',
    '002_more.down.sql': 'ALTER TABLE toy DROP n',
  });
  expect(await run(toy, ['status'])).toEqual({ code: 1, text: '001_tables  pending\n002_more    pending\n' });
  expect(await run(toy, ['up'])).toEqual({ code: 0, text: 'applied 001_tables.sql\napplied 002_more.sql\n' });
  expect(await run(toy, ['up'])).toEqual({ code: 0, text: 'nothing to apply\n' });
  const status = await run(toy, ['status']);
  expect(status.code).toBe(0);
  expect(status.text).toMatch(/^001_tables {2}applied {2}20\d\d-.*Z\n002_more {4}applied {2}20\d\d-.*Z\n$/);
  expect(await run(toy, ['down'])).toEqual({ code: 0, text: 'took back 002_more.sql\n' });
  expect(await run(toy, ['down', '5'])).toEqual({ code: 0, text: 'took back 001_tables.sql\n' });
  expect(await run(toy, ['down'])).toEqual({ code: 0, text: 'nothing to take back\n' });
});

test('migrate refuses words that it does not know, and a service without a database', async () => {
  const toy = service('words', { '001_a.sql': 'SELECT 1' });
  for (const words of [[], ['sideways'], ['down', 'x'], ['down', '0'], ['down', '1.5'], ['up', '1'], ['status', 'x']]) {
    await expect(run(toy, words), words.join(' ')).rejects.toMatchObject({ code: 'USAGE' });
  }
  const database = 'words has no database: the option with its DSN is not set\n';
  expect(await run(toy, ['up'], { dsn: undefined, migrate: false })).toEqual({ code: 78, text: database });
  expect(await run({ name: 'bare' }, ['up'])).toEqual({ code: 78, text: 'bare has no migrations\n' });
});

test('a failed migration ends with 1 and its line, a database that is away with 75 and its address', async () => {
  const toy = service('bad', { '001_a.sql': 'SELECT 1;\nSELEC 2;' });
  await expect(run(toy, ['up'])).rejects.toMatchObject({
    exit: 1,
    message: expect.stringMatching(/^001_a\.sql:2 \(SELEC 2;\): 127\.0\.0\.1:\d+: syntax error at or near "SELEC".*$/),
  });
  const away = { dsn: 'postgres://nobody:secret@127.0.0.1:9/none', migrate: false };
  await expect(run(toy, ['up'], away)).rejects.toMatchObject({
    exit: 75,
    message: expect.stringMatching(
      /^the database cannot be used now: connect ECONNREFUSED 127\.0\.0\.1:9; run it again/,
    ),
  });
  const stranger = { dsn: dsn.replace(/:[^:@/]*@/, ':wrong@'), migrate: false };
  const denied = { exit: 78, message: expect.stringMatching(/^127\.0\.0\.1:\d+: password authentication failed/) };
  await expect(run(toy, ['status'], stranger)).rejects.toMatchObject(denied);
  for (const migrate of [true, false])
    await expect(migrateAtStart(toy, { ...stranger, migrate }, () => {})).rejects.toMatchObject(denied);
  const nowhere = { dsn: dsn.replace(/[^/]*$/, 'nowhere'), migrate: true };
  await expect(migrateAtStart(toy, nowhere, () => {})).rejects.toMatchObject({ exit: 78 });
  // Who starts the service again would only see it fail again.
  await expect(migrateAtStart(toy, { dsn, migrate: true }, () => {})).rejects.toMatchObject({
    exit: 78,
    message: expect.stringContaining('001_a.sql:2'),
  });
  for (const migrate of [true, false])
    await expect(migrateAtStart(toy, { ...away, migrate }, () => {})).rejects.toMatchObject({
      exit: 75,
      message: expect.stringContaining('127.0.0.1:9'),
    });
});

test('a start applies what is missing when it may, else it is refused until everything is applied', async () => {
  const toy = service('start', { '001_a.sql': 'CREATE TABLE start (id int)' });
  const told: string[] = [];
  const tell = (line: string): void => void told.push(line);
  await expect(migrateAtStart(toy, { dsn, migrate: false }, tell)).rejects.toThrow('run: ringmain migrate start up');
  await migrateAtStart(toy, { dsn, migrate: true }, tell);
  await migrateAtStart(toy, { dsn, migrate: false }, tell);
  expect(told).toEqual(['applied 001_a.sql']);
  await migrateAtStart(service('start', {}), { dsn, migrate: true }, tell);
  expect(told[1]).toBe('the database has versions that this build does not know: 001_a');
  await migrateAtStart(toy, { dsn: undefined, migrate: true }, tell);
  expect(told).toHaveLength(2);
});
