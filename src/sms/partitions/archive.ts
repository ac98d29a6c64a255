/**
 * Archive: what becomes of a detached day. Its state in sms_archives says what has been done; whoever finds one that is
 * not dropped goes on with it, so a process may die at any moment.
 *
 *   detached   its rows are written to a file beside its place, synced, read back and compared; the file is renamed,
 *              its folder synced                                                                              ->
 *              archived
 *   archived   the table is dropped, in the transaction that says so                                      -> dropped
 *
 * A file that is there already (the process died before it could say so) is compared, and taken when it is the same.
 */
import { link as hardLink, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { quoteName } from '../../store/postgres/names.ts';
import { smsErrors } from '../errors.ts';
import { RELATION } from './close.ts';
import { type Column, columnsOf, keyOf } from './columns.ts';
import { type Contents, type Row, readParquet, writeParquet } from './parquet.ts';

/** Rows of a batch, which is a row group: some 20 MB of objects at a time. */
const BATCH_ROWS = 20_000;

export interface Archive {
  readonly id: string;
  readonly relation: string;
  readonly state: 'detached' | 'archived';
}

/** Detached days that are not dropped yet, in the order in which they were detached. */
export async function openArchives(link: PostgresLink): Promise<readonly Archive[]> {
  const { rows } = await link.query<{ id: string; relation: string; state: 'detached' | 'archived' }>(
    `SELECT id, ${RELATION} AS relation, state FROM sms_archives WHERE state <> 'dropped' ORDER BY id`,
  );
  return rows;
}

/**
 * Writes the file of a detached day. Throws ARCHIVE_DIFFERS when the file does not say what the table says; the signal
 * ends it between two batches with its reason.
 */
export async function archiveDay(
  link: PostgresLink,
  { id, relation }: Archive,
  folder: string,
  signal: AbortSignal,
): Promise<Contents> {
  await mkdir(folder, { recursive: true });
  const name = `${relation}.parquet`;
  const file = join(folder, name);
  const draft = join(folder, `.${name}.${process.pid}`);
  // Of processes that were killed while they wrote: whoever is here has the lock of the job.
  for (const other of await readdir(folder))
    if (other.startsWith(`.${name}.`)) await rm(join(folder, other), { force: true });
  const columns = await columnsOf(link, relation);
  try {
    const written = await writeParquet(draft, columns, rowsOf(link, relation, columns, signal));
    const { rows } = await link.query<{ n: string }>(`SELECT count(*) AS n FROM ${quoteName(relation)}`);
    if (Number(rows[0]!.n) !== written.rows)
      throw smsErrors.ARCHIVE_DIFFERS({ file, reason: `rows=${written.rows}, rows of the table=${rows[0]!.n}` });
    await compare(draft, columns, written);
    if (!(await place(draft, file))) await compare(file, columns, written);
    await syncFolder(folder);
    await link.query(
      `UPDATE sms_archives SET state = 'archived', file = $2, host = $3, row_count = $4, sha256 = $5,
         archived_at = now() WHERE id = $1 AND state = 'detached'`,
      [id, name, hostname(), written.rows, written.sha256],
    );
    return written;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Drops the table of an archived day. */
export async function dropDay(link: PostgresLink, { id, relation }: Archive): Promise<void> {
  await inTransaction(link, async () => {
    const { rowCount } = await link.query(
      `UPDATE sms_archives SET state = 'dropped', dropped_at = now() WHERE id = $1 AND state = 'archived'`,
      [id],
    );
    if (rowCount === 1) await link.query(`DROP TABLE ${quoteName(relation)}`);
  });
}

/** All rows by their key. No transaction spans the batches: one would keep the whole database from being vacuumed. */
async function* rowsOf(
  link: PostgresLink,
  relation: string,
  columns: readonly Column[],
  signal: AbortSignal,
): AsyncGenerator<readonly Row[]> {
  const key = await keyOf(link, relation);
  const names = key.map(([name]) => name).join(', ');
  const texts = columns.map(({ sql }, at) => `${sql} AS c${at}`);
  const places = key.map(([name], at) => `${name}::text AS k${at}`);
  const bounds = key.map(([, type], at) => `$${at + 1}::text::${type}`).join(', ');
  const select = `SELECT ${[...texts, ...places].join(', ')} FROM ${quoteName(relation)}`;
  let last: readonly (string | null)[] | undefined;
  for (;;) {
    signal.throwIfAborted();
    const where = last === undefined ? '' : ` WHERE (${names}) > (${bounds})`;
    const { rows } = await link.query<Record<string, string | null>>(
      `${select}${where} ORDER BY ${names} LIMIT ${BATCH_ROWS}`,
      last ?? [],
    );
    if (rows.length > 0) yield rows.map((row) => columns.map((_, at) => row[`c${at}`]!));
    if (rows.length < BATCH_ROWS) return;
    last = key.map((_, at) => rows.at(-1)![`k${at}`]!);
  }
}

async function compare(file: string, columns: readonly Column[], written: Contents): Promise<void> {
  const read = await readParquet(file, columns);
  if (read.rows === written.rows && read.sha256.equals(written.sha256)) return;
  const reason = `rows=${read.rows}, rows of the table=${written.rows}, sha256=${read.sha256.toString('hex')}`;
  throw smsErrors.ARCHIVE_DIFFERS({ file, reason });
}

/** What file systems say that have no hard links: shares of SMB, object stores by FUSE. */
const NO_LINKS: ReadonlySet<unknown> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/**
 * Gives the draft its name. Returns false when a file has it already: that one stays as it is. A link never replaces a
 * file; without links there is a moment between the look and the renaming, in which only who has the lock of the job is
 * about. `linkFile`: the one of the system, or a test's.
 */
export async function place(draft: string, file: string, linkFile: typeof hardLink = hardLink): Promise<boolean> {
  try {
    await linkFile(draft, file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!NO_LINKS.has(code)) throw error;
  }
  const there = await stat(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return false;
    },
  );
  if (!there) await rename(draft, file);
  return !there;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
