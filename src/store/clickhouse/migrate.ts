/**
 * Migrate: brings a database of ClickHouse to the schema of this build. ClickHouse has no transactions and no locks
 * that could keep two processes apart, so every statement of a file must bear to be run again, beside itself as well:
 * CREATE ... IF NOT EXISTS. A row of `ringmain_migrations` says which file was applied, for people and for the check
 * that it was not changed since.
 */
import { type Migration, readMigrations } from '../postgres/migrations.ts';
import { splitStatements } from '../postgres/statements.ts';
import type { ClickHouse } from './client.ts';

/** A file that is applied only with certain options, and taken back (its .down.sql) without them. */
export interface OptionalMigration {
  readonly on: boolean;
  /** What stands for `{name}` in its text. */
  readonly values: Readonly<Record<string, string>>;
}

interface Applied {
  readonly name: string;
  readonly checksum: string;
}

const NONE = '-';

/** A file is not what was applied under its name. */
export class ChangedMigration extends Error {}

/** Applies what is missing, oldest first. Returns the names of the files that it ran. */
export async function migrateClickHouse(
  client: ClickHouse,
  folder: URL,
  optional: Readonly<Record<string, OptionalMigration>> = {},
): Promise<readonly string[]> {
  await client.command(
    `CREATE TABLE IF NOT EXISTS ringmain_migrations (name String, checksum String, applied_at DateTime64(3) DEFAULT now64(3))
    ENGINE = ReplacingMergeTree(applied_at) ORDER BY name`,
  );
  const rows = await client.rows<Applied>('SELECT name, checksum FROM ringmain_migrations FINAL');
  const applied = new Map(rows.map(({ name, checksum }) => [name, checksum]));
  const done: string[] = [];
  for (const migration of readMigrations(folder)) {
    const option = optional[migration.name];
    const wanted = checksumOf(migration, option);
    const found = applied.get(migration.name) ?? NONE;
    if (found === wanted) continue;
    if (option === undefined && found !== NONE)
      throw new ChangedMigration(`${migration.file} must be the file that was applied: its checksum is another one`);
    if (option !== undefined && found !== NONE) await runAll(client, migration.down?.sql ?? '', {});
    if (wanted !== NONE) await runAll(client, migration.sql, option?.values ?? {});
    await client.command('INSERT INTO ringmain_migrations (name, checksum) SELECT {name:String}, {checksum:String}', {
      params: { name: migration.name, checksum: wanted },
    });
    done.push(migration.name);
  }
  return done;
}

/** Other values make another file: it is taken back and applied again. */
function checksumOf({ checksum }: Migration, option: OptionalMigration | undefined): string {
  if (option === undefined) return checksum;
  return option.on ? `${checksum} ${JSON.stringify(option.values)}` : NONE;
}

async function runAll(client: ClickHouse, text: string, values: Readonly<Record<string, string>>): Promise<void> {
  const filled = Object.entries(values).reduce(
    (sql, [name, value]) => sql.replaceAll(`{${name}}`, value.replaceAll(/[\\']/g, '\\$&')),
    text,
  );
  for (const { sql } of splitStatements(filled)) await client.command(sql);
}
