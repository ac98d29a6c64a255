/** Goal: the types of the tables are those of the migrations. Method: they are read anew from a real Postgres. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { generatedFile, generatedTables, migrateAnalytics } from '../../analytics-types.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';

test('tables.generated.ts is what `npm run sql-types` writes', async (t) => {
  const { dsn } = await startPostgres(t, { port: 23_111, settings: fastSettings });
  await migrateAnalytics(dsn);
  expect(await generatedTables(dsn)).toBe(readFileSync(generatedFile, 'utf8'));
});
