/**
 * Migrations of a service: a folder of SQL files, read and checked.
 *
 *   001_tables.sql        what version 1 changes
 *   001_tables.down.sql   what takes it back; may be missing, then version 1 cannot be taken back
 *
 * A file is one transaction, unless its first line is `-- no transaction`: CREATE INDEX CONCURRENTLY and its like
 * refuse to run inside one. Such a file must be written so that it can run again, for it may fail half-way.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SetupError } from './fault.ts';

export interface MigrationFile {
  /** Name of the file. */
  readonly file: string;
  readonly sql: string;
  /** False: the first line is `-- no transaction`. */
  readonly transaction: boolean;
}

export interface Migration extends MigrationFile {
  readonly version: number;
  /** `001_tables` */
  readonly name: string;
  /** SHA-256 of the text with LF as its line ends, 32 hex digits. */
  readonly checksum: string;
  readonly down: MigrationFile | undefined;
}

const NAME = /^((\d{3,})_[a-z0-9_]+)(\.down)?\.sql$/;

/** The migrations of a folder, oldest first. Throws a SetupError that names every file that does not fit. */
export function readMigrations(folder: URL): readonly Migration[] {
  const path = fileURLToPath(folder);
  const problems: string[] = [];
  const ups = new Map<number, string>();
  const downs = new Set<string>();
  for (const file of readdirSync(path).sort()) {
    if (!file.endsWith('.sql')) continue;
    const [, name, digits, down] = NAME.exec(file) ?? [];
    if (name === undefined) problems.push(`${file} must be named like 001_tables.sql or 001_tables.down.sql`);
    else if (down !== undefined) downs.add(name);
    else if (ups.has(Number(digits)))
      problems.push(`${file} must have a number of its own: ${ups.get(Number(digits))}.sql has it`);
    else ups.set(Number(digits), name);
  }
  for (const name of downs) {
    if (![...ups.values()].includes(name)) problems.push(`${name}.down.sql must have its ${name}.sql`);
  }
  if (problems.length > 0) throw new SetupError(`migrations in ${path}: ${problems.join('; ')}`);
  const read = (file: string): MigrationFile => {
    const sql = readFileSync(new URL(file, asFolder(folder)), 'utf8').replaceAll('\r\n', '\n');
    return { file, sql, transaction: !/^-- *no transaction *$/i.test(sql.split('\n', 1)[0]!) };
  };
  return [...ups]
    .sort(([a], [b]) => a - b)
    .map(([version, name]) => {
      const up = read(`${name}.sql`);
      const checksum = createHash('sha256').update(up.sql).digest('hex').slice(0, 32);
      return { ...up, version, name, checksum, down: downs.has(name) ? read(`${name}.down.sql`) : undefined };
    });
}

function asFolder(url: URL): URL {
  return url.href.endsWith('/') ? url : new URL(`${url.href}/`);
}
