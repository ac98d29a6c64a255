/**
 * Store: files of uploads, by their digest: UPLOAD_DIR/ab/<sha256>.<ext>. A file is there before the row that names it,
 * and as long as one does; several gateways may share the folder.
 *
 *   keep     lock of the digest > rename > rows > unlock        the answer comes after the folder and the rows are
 *            durable
 *   remove   lock > rows; the last owner's file > unlock
 *   collect  files without a row, and rows without an owner (a user was deleted), by a job
 *
 * The lock is an advisory lock of Postgres, held across the file's change: nobody removes a file that somebody else has
 * just been told is kept. A process that dies loses the lock, and leaves a file without a row at worst.
 */

import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, lstat, link as makeLink, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { gatewayErrors } from '../errors.ts';
import { extensions, type PictureFormat } from './inspect.ts';

/** Files that are being received. Its name is none of a digest. */
export const TEMPORARY = '.receiving';
const COLLECTED_AT_ONCE = 500;
// Files with other names are somebody else's, and none of ours to remove.
const TEMPORARY_NAME = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const KEPT_NAME = new RegExp(`^([0-9a-f]{64})\\.(${Object.values(extensions).join('|')})$`);

export const pathOf = (sha256: string, format: PictureFormat): string =>
  `${sha256.slice(0, 2)}/${sha256}.${extensions[format]}`;

/** Makes the names in a folder durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Runs while nobody else keeps or removes this digest. */
export async function withDigest<T>(link: PostgresLink, sha256: string, run: () => Promise<T>): Promise<T> {
  // The first 64 bits of the digest.
  const key = BigInt.asIntN(64, BigInt(`0x${sha256.slice(0, 16)}`)).toString();
  await link.query('SELECT pg_advisory_lock($1::bigint)', [key]);
  try {
    return await run();
  } finally {
    if (link.broken === undefined) await link.query('SELECT pg_advisory_unlock($1::bigint)', [key]);
  }
}

/** A full disk has an answer of its own: UPLOADS_FULL. Other errors stay as they are. */
export function diskFault(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT' ? gatewayErrors.UPLOADS_FULL({}, error) : error;
}

/**
 * Puts a received file in its place. True: it was not there before. Durable when it resolves. Rejects with UPLOADS_FULL
 * when the disk has no room for a name.
 */
export async function place(folder: string, temporary: string, path: string): Promise<boolean> {
  const [from, to] = [join(folder, TEMPORARY, temporary), join(folder, path)];
  try {
    // The same work in both cases: the time of an answer must not tell that somebody else has the picture.
    const isNew = !(await exists(to));
    if ((await mkdir(dirname(to), { recursive: true })) !== undefined) await syncFolder(folder);
    await rename(from, to);
    await syncFolder(dirname(to));
    return isNew;
  } catch (error) {
    throw diskFault(error);
  }
}

/**
 * Removes the file of a digest that is locked by this session. A session that is lost has lost its lock, and somebody
 * else may have been told since that the file is kept: so it is put aside first, and removed when the session shows
 * that it lived then. Else it is put back.
 */
export async function removeFile(link: PostgresLink, folder: string, path: string): Promise<void> {
  const [file, aside] = [join(folder, path), join(folder, TEMPORARY, randomUUID())];
  await mkdir(dirname(aside), { recursive: true });
  try {
    await rename(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    await link.query('SELECT 1');
  } catch (error) {
    await makeLink(aside, file).catch((failure: NodeJS.ErrnoException) => {
      if (failure.code !== 'EEXIST') throw failure;
    });
    await rm(aside, { force: true });
    throw error;
  }
  await rm(aside, { force: true });
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file, constants.F_OK);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Removes an upload that nobody owns, and its file; its row leaves a mark, by which caches drop its variants. Call while
 * the digest is locked, outside of a transaction.
 */
export async function removeUnowned(link: PostgresLink, folder: string, sha256: string): Promise<void> {
  const { rows } = await link.query<{ path: string }>(
    `DELETE FROM uploads u WHERE sha256 = decode($1, 'hex')
       AND NOT EXISTS (SELECT FROM upload_owners o WHERE o.sha256 = u.sha256) RETURNING path`,
    [sha256],
  );
  const path = rows[0]?.path;
  if (path === undefined) await keepOwned(link, folder, sha256);
  else await removeFile(link, folder, path);
}

/**
 * The work of a removal, a commit and a file that goes, where another owner stays: the time of an answer must not tell
 * that there is one.
 */
async function keepOwned(link: PostgresLink, folder: string, sha256: string): Promise<void> {
  const { rows } = await link.query<{ path: string }>(
    "UPDATE uploads SET bytes = bytes WHERE sha256 = decode($1, 'hex') RETURNING path",
    [sha256],
  );
  const path = rows[0]?.path;
  if (path === undefined) return;
  const aside = join(folder, TEMPORARY, randomUUID());
  await mkdir(dirname(aside), { recursive: true });
  await makeLink(join(folder, path), aside).catch((failure: NodeJS.ErrnoException) => {
    if (failure.code !== 'ENOENT') throw failure;
  });
  await link.query('SELECT 1');
  await rm(aside, { force: true });
}

/**
 * Removes uploads without an owner, files without an upload and files that nobody has finished receiving, the latter
 * two when they are older than `ageMs`. Returns how many.
 */
export async function collect(
  link: PostgresLink,
  folder: string,
  { nowMs, ageMs, signal }: { readonly nowMs: number; readonly ageMs: number; readonly signal: AbortSignal },
): Promise<number> {
  let count = 0;
  for (;;) {
    const { rows } = await link.query<{ sha256: string }>(
      `SELECT encode(sha256, 'hex') AS sha256 FROM uploads u
       WHERE NOT EXISTS (SELECT FROM upload_owners o WHERE o.sha256 = u.sha256) LIMIT $1`,
      [COLLECTED_AT_ONCE],
    );
    for (const { sha256 } of rows) {
      if (signal.aborted) return count;
      await withDigest(link, sha256, () => removeUnowned(link, folder, sha256));
      count += 1;
    }
    if (rows.length < COLLECTED_AT_ONCE) break;
  }
  for (const name of await names(folder)) {
    if (name === TEMPORARY) {
      for (const file of await oldIn(join(folder, name), TEMPORARY_NAME, nowMs - ageMs)) {
        await rm(join(folder, name, file), { force: true });
        count += 1;
      }
    } else if (/^[0-9a-f]{2}$/.test(name)) count += await collectFiles(link, folder, name, nowMs - ageMs, signal);
    if (signal.aborted) break;
  }
  return count;
}

async function collectFiles(
  link: PostgresLink,
  folder: string,
  shelf: string,
  beforeMs: number,
  signal: AbortSignal,
): Promise<number> {
  const old = (await oldIn(join(folder, shelf), KEPT_NAME, beforeMs)).filter((name) => name.startsWith(shelf));
  let count = 0;
  for (let at = 0; at < old.length && !signal.aborted; at += COLLECTED_AT_ONCE) {
    const paths = old.slice(at, at + COLLECTED_AT_ONCE).map((name) => `${shelf}/${name}`);
    const { rows } = await link.query<{ path: string }>(
      'SELECT path FROM unnest($1::text[]) AS path WHERE NOT EXISTS (SELECT FROM uploads u WHERE u.path = path.path)',
      [paths],
    );
    for (const { path } of rows) {
      const sha256 = path.slice(shelf.length + 1, shelf.length + 65);
      await withDigest(link, sha256, async () => {
        const found = await link.query('SELECT FROM uploads WHERE path = $1', [path]);
        if (found.rows.length > 0) return;
        await removeFile(link, folder, path);
        count += 1;
      });
    }
  }
  return count;
}

async function names(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function oldIn(folder: string, ours: RegExp, beforeMs: number): Promise<readonly string[]> {
  const old: string[] = [];
  for (const name of await names(folder)) {
    if (!ours.test(name)) continue;
    try {
      const found = await lstat(join(folder, name));
      if (found.isFile() && found.mtimeMs < beforeMs) old.push(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return old;
}
