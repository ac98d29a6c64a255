/**
 * Migrate: brings the schema of a service to the version of this build, or back.
 *
 *   table  ringmain_migrations_<service>: version, name, checksum, applied_at, duration_ms. Services may share a
 *          database, for each has its own table and lock
 *   once   a session advisory lock: of several processes that start at once, one applies and the others wait
 *   safe   the changes of a file and its row commit together. A file without transaction gets its row after its last
 *          statement; after a failure in its middle it runs again from its first statement
 *   honest a file that was changed after it was applied is refused, and so is one older than a version that is applied
 *
 * The lock is asked for again and again instead of waited for: a session that waits inside a statement holds a
 * snapshot, and CREATE INDEX CONCURRENTLY waits for every snapshot, so the two would wait for each other. The lock
 * belongs to the session: a pooler in transaction mode must not stand between. When the process dies, the server ends
 * its session (after the statement that is running) and with it the transaction and the lock.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { placeOf } from '../../kernel/place.ts';
import { connect, type PostgresLink } from './connection.ts';
import { parseDsn } from './dsn.ts';
import { describeFault, SetupError } from './fault.ts';
import { type Migration, type MigrationFile, readMigrations } from './migrations.ts';
import { parseTableName } from './names.ts';
import { lineAt, splitStatements } from './statements.ts';
import { vanishing } from './vanishing.ts';

export interface MigrateOptions {
  readonly dsn: string;
  readonly service: string;
  readonly folder: URL;
  /** Told of each step, in words. */
  readonly tell?: (line: string) => void;
  /** Longest wait for another process that migrates. */
  readonly lockWaitMs?: number;
  /** Longest wait of a transaction for a table that others use: whoever comes after it waits as well. */
  readonly lockTimeoutMs?: number;
}

export type MigrationState = 'applied' | 'pending' | 'changed' | 'unknown';
export interface MigrationStatus {
  readonly version: number;
  readonly name: string;
  /**
   * changed: the file is not the one that was applied. unknown: applied by a build that has more files than this one.
   */
  readonly state: MigrationState;
  readonly appliedAt: Date | undefined;
}

/** A file has failed, or does not fit what is applied. The message names the file and, where it is known, the line. */
class MigrationError extends SetupError {}

interface Applied {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly applied_at: Date;
}

const LOCK_WAIT_MS = 10 * 60_000;
const LOCK_POLL_MS = 200;
const LOCK_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A migration may rewrite a large table; a frozen server is given up all the same. */
const STATEMENT_MS_MAX = 24 * 3600_000;
/** Between statements of a transaction nothing is waited for: a process that is stopped there lets go of the tables. */
const IDLE_MS_MAX = 60_000;

/** Applies what is missing, oldest first; returns what was applied. */
export function migrateUp(options: MigrateOptions): Promise<readonly Migration[]> {
  return locked(options, async (migrator) => {
    const pending = migrator.pending();
    for (const migration of pending) {
      await migrator.run(migration, (link, table, ms) =>
        link.query(`INSERT INTO ${table} (version, name, checksum, duration_ms) VALUES ($1, $2, $3, $4)`, [
          migration.version,
          migration.name,
          migration.checksum,
          ms,
        ]),
      );
      options.tell?.(`applied ${migration.file}`);
    }
    return pending;
  });
}

/** Takes back the newest `count` versions, newest first; returns them. */
export function migrateDown(options: MigrateOptions, count = 1): Promise<readonly Migration[]> {
  return locked(options, async (migrator) => {
    const last = migrator.last(count);
    for (const migration of last) {
      await migrator.run(migration.down!, (link, table) =>
        link.query(`DELETE FROM ${table} WHERE version = $1`, [migration.version]),
      );
      options.tell?.(`took back ${migration.file}`);
    }
    return last;
  });
}

/** All versions, of the folder and of the database, oldest first. Changes nothing and waits for nobody. */
export async function migrationStatus(options: MigrateOptions): Promise<readonly MigrationStatus[]> {
  const migrations = readMigrations(options.folder);
  const link = await open(options);
  try {
    return compare(migrations, await readApplied(link, tableOf(options.service)));
  } finally {
    await link.close();
  }
}

/**
 * Throws unless every file of the folder is applied as it is: a process must not start on a schema that it does not
 * know. A database that is ahead is taken: during a rolling update the old build restarts beside the new one.
 */
export async function assertMigrated(options: MigrateOptions): Promise<readonly MigrationStatus[]> {
  const status = await migrationStatus(options);
  const { service } = options;
  const pending = status.filter(({ state }) => state === 'pending');
  const changed = status.filter(({ state }) => state === 'changed');
  if (changed.length > 0) throw await changedError(options, changed[0]!);
  if (pending.length > 0) {
    const expected = status.findLast(({ state }) => state !== 'unknown')!.name;
    const missing = pending.map(({ name }) => name).join(', ');
    throw new MigrationError(
      `schema of ${service} must be at ${expected}: missing=${missing}; run: ringmain migrate ${service} up`,
    );
  }
  return status;
}

async function changedError(options: MigrateOptions, { version }: MigrationStatus): Promise<MigrationError> {
  const migration = readMigrations(options.folder).find((found) => found.version === version)!;
  const link = await open(options);
  try {
    const applied = (await readApplied(link, tableOf(options.service))).find((found) => found.version === version)!;
    return changed(migration, applied);
  } finally {
    await link.close();
  }
}

function changed(migration: Migration, applied: Applied): MigrationError {
  return new MigrationError(
    `${migration.file} must be as it was applied on ${applied.applied_at.toISOString()} (${applied.name}): ` +
      `applied checksum=${applied.checksum}, checksum of the file=${migration.checksum}; changes belong in a new file`,
  );
}

function compare(migrations: readonly Migration[], applied: readonly Applied[]): readonly MigrationStatus[] {
  const rows = new Map(applied.map((row) => [row.version, row]));
  const known = migrations.map(({ version, name, checksum }): MigrationStatus => {
    const row = rows.get(version);
    if (row === undefined) return { version, name, state: 'pending', appliedAt: undefined };
    return { version, name, state: row.checksum === checksum ? 'applied' : 'changed', appliedAt: row.applied_at };
  });
  const versions = new Set(migrations.map(({ version }) => version));
  const unknown = applied
    .filter(({ version }) => !versions.has(version))
    .map(
      ({ version, name, applied_at }): MigrationStatus => ({ version, name, state: 'unknown', appliedAt: applied_at }),
    );
  return [...known, ...unknown].sort((a, b) => a.version - b.version);
}

/** Name of the bookkeeping table, for SQL. */
function tableOf(service: string): string {
  return parseTableName(`ringmain_migrations_${service}`).sql;
}

function open({ dsn }: MigrateOptions): Promise<PostgresLink> {
  return connect(parseDsn(dsn), {
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    queryTimeoutMs: STATEMENT_MS_MAX,
    applicationName: 'ringmain migrate',
    settings: vanishing(IDLE_MS_MAX),
  });
}

async function readApplied(link: PostgresLink, table: string): Promise<readonly Applied[]> {
  const { rows } = await link.query<{ found: boolean }>('SELECT to_regclass($1) IS NOT NULL AS found', [table]);
  if (!rows[0]!.found) return [];
  return (await link.query<Applied>(`SELECT version, name, checksum, applied_at FROM ${table} ORDER BY version`)).rows;
}

async function locked<T>(options: MigrateOptions, use: (migrator: Migrator) => Promise<T>): Promise<T> {
  const migrations = readMigrations(options.folder);
  const table = tableOf(options.service);
  const link = await open(options);
  try {
    // A limit of the role or the database must not end a migration half-way.
    await link.query('SET statement_timeout = 0');
    await lock(link, options);
    await link.query(
      `CREATE TABLE IF NOT EXISTS ${table} (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
         applied_at timestamptz NOT NULL DEFAULT now(), duration_ms int NOT NULL)`,
    );
    const migrator = new Migrator(link, table, migrations, await readApplied(link, table), options);
    return await use(migrator);
  } finally {
    await link.close(); // and with the session goes the lock
  }
}

async function lock(link: PostgresLink, { service, tell, lockWaitMs = LOCK_WAIT_MS }: MigrateOptions): Promise<void> {
  for (let waited = 0; ; waited += LOCK_POLL_MS) {
    const { rows } = await link.query<{ mine: boolean }>(
      'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS mine',
      [`ringmain migrate ${service}`],
    );
    if (rows[0]!.mine) return;
    if (waited === 0) tell?.(`another process migrates ${service}; waiting`);
    if (waited >= lockWaitMs) {
      throw new MigrationError(
        `the lock of ${service}'s migrations at ${placeOf(link.host)} must become free within ${lockWaitMs} ms`,
      );
    }
    await delay(LOCK_POLL_MS);
  }
}

type Note = (link: PostgresLink, table: string, ms: number) => Promise<unknown>;

class Migrator {
  readonly #link: PostgresLink;
  readonly #table: string;
  readonly #migrations: readonly Migration[];
  readonly #applied: readonly Applied[];
  readonly #lockTimeoutMs: number;

  constructor(
    link: PostgresLink,
    table: string,
    migrations: readonly Migration[],
    applied: readonly Applied[],
    { lockTimeoutMs = LOCK_TIMEOUT_MS }: MigrateOptions,
  ) {
    this.#link = link;
    this.#table = table;
    this.#migrations = migrations;
    this.#applied = applied;
    this.#lockTimeoutMs = lockTimeoutMs;
    for (const row of applied) {
      const migration = migrations.find(({ version }) => version === row.version);
      if (migration !== undefined && migration.checksum !== row.checksum) throw changed(migration, row);
    }
  }

  /** What up applies. */
  pending(): readonly Migration[] {
    const pending = this.#migrations.filter(({ version }) => !this.#applied.some((row) => row.version === version));
    const newest = this.#applied.at(-1);
    const late = pending.find(({ version }) => newest !== undefined && version < newest.version);
    if (late !== undefined) {
      throw new MigrationError(
        `${late.file} must be newer than what is applied: newest=${newest!.name}; give it a higher number`,
      );
    }
    return pending;
  }

  /** What down takes back. */
  last(count: number): readonly Migration[] {
    return this.#applied
      .slice(Math.max(0, this.#applied.length - count))
      .toReversed()
      .map(({ version, name }) => {
        const migration = this.#migrations.find((found) => found.version === version);
        if (migration === undefined) {
          throw new MigrationError(`${name} must be taken back by a build that has it: ${name}.sql is not here`);
        }
        if (migration.down === undefined) throw new MigrationError(`${name}.down.sql must exist to take ${name} back`);
        return migration;
      });
  }

  /** Runs a file; `note` records in the bookkeeping table that it ran. */
  async run(file: MigrationFile, note: Note): Promise<void> {
    const begin = performance.now();
    const told = (): Promise<unknown> => note(this.#link, this.#table, Math.round(performance.now() - begin));
    if (!file.transaction) {
      await this.#runAlone(file);
      await told();
      return;
    }
    const xid = 'SELECT pg_current_xact_id()::text AS xid';
    const { rows: before } = await this.#link.query<{ xid: string }>(
      `BEGIN; SET LOCAL lock_timeout = ${this.#lockTimeoutMs}; ${xid}`,
    );
    try {
      await this.#link.query(file.sql);
    } catch (error) {
      if (this.#link.broken === undefined) await this.#link.query('ROLLBACK');
      throw failure(file, file.sql, 0, error, 'nothing of the file is applied');
    }
    const { rows: after } = await this.#link.query<{ xid: string }>(xid);
    if (after[0]!.xid !== before[0]!.xid) {
      throw new MigrationError(
        `${file.file} must not end its transaction (COMMIT or ROLLBACK): its statements stand and are not recorded`,
      );
    }
    await told();
    const { command } = await this.#link.query('COMMIT');
    if (command !== 'COMMIT')
      throw new MigrationError(`${file.file}: COMMIT must be answered by COMMIT: found=${command}`);
  }

  /** One statement after the other, each for itself. */
  async #runAlone(file: MigrationFile): Promise<void> {
    const statements = splitStatements(file.sql);
    for (const [index, { sql, offset }] of statements.entries()) {
      try {
        await this.#link.query(sql);
      } catch (error) {
        const done = index === 0 ? 'nothing of the file is applied' : `its first ${index} statements stand`;
        throw failure(file, file.sql, offset, error, `${done}; the file runs again from its beginning`);
      }
    }
  }
}

function failure(file: MigrationFile, text: string, offset: number, error: unknown, state: string): MigrationError {
  const position = error instanceof DatabaseError ? Number(error.position) : Number.NaN;
  const start = [...text.slice(0, offset)].length;
  const at = Number.isNaN(position) && offset === 0 ? undefined : lineAt(text, start + (position || 1));
  const where = at === undefined ? file.file : `${file.file}:${at.line} (${at.text})`;
  const hint = error instanceof DatabaseError && error.hint !== undefined ? `; hint: ${error.hint}` : '';
  return new MigrationError(`${where}: ${describeFault(error)}${hint}; ${state}`, { cause: error });
}
