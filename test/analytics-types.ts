/**
 * Writes src/analytics/tables.generated.ts: the types of the tables of analytics, read from a database that has all of
 * its migrations. `npm run sql-types`, after a migration has changed; test/analytics/query/tables.test.ts fails when
 * the file is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { migrateUp } from '../src/store/postgres/migrate.ts';
import { fastSettings, startPostgres } from './servers/postgres.ts';
import { runProgram, type TestScope, temporaryFolder } from './servers/process.ts';

export const generatedFile: string = join(import.meta.dirname, '..', 'src', 'analytics', 'tables.generated.ts');
const migrations = new URL('../src/analytics/migrations/', import.meta.url);
const HEAD = '// Written by `npm run sql-types` from migrations/; changes belong there.\n';

/** Brings the database of this connection string to the newest version. */
export async function migrateAnalytics(dsn: string): Promise<void> {
  await migrateUp({ dsn, service: 'analytics', folder: migrations });
}

/** What the file should hold, by a database that is migrated. */
export async function generatedTables(dsn: string): Promise<string> {
  const require = createRequire(import.meta.url);
  const program = join(dirname(require.resolve('kysely-codegen')), 'cli', 'bin.js');
  const { folder, remove } = temporaryFolder('ringmain-sql-types-');
  try {
    const file = join(folder, 'tables.ts');
    const words = ['--dialect', 'postgres', '--url', dsn, '--out-file', file, '--log-level', 'error'];
    // Partitions are made as time goes on; the runner's own tables belong to it.
    await runProgram(process.execPath, [program, ...words, '--exclude-pattern', '*.ringmain_*'], { env: process.env });
    return HEAD + readFileSync(file, 'utf8');
  } finally {
    remove();
  }
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const ends: (() => unknown)[] = [];
  const scope: TestScope = { onTestFinished: (end) => void ends.push(end) };
  const { dsn } = await startPostgres(scope, { port: 23_109, own: true, settings: fastSettings });
  await migrateAnalytics(dsn);
  writeFileSync(generatedFile, await generatedTables(dsn));
  for (const end of ends) await end();
}
