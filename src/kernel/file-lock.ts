/**
 * File lock: one writer for a file, whatever name it is reached by (symbolic links, hard links, bind mounts).
 *
 *   lock    a POSIX lock (fcntl) on the file itself. The kernel keeps it by device and inode, across PID namespaces and
 *           containers, and drops it when the process dies. Node has no call for it; SQLite, which Node carries, has:
 *           its VFS `unix-excl` locks what it opens at the first read, and keeps the lock until it closes. The bytes
 *           that it locks lie at 1 GiB, the file need not be a database, and SQLite writes nothing to it. It must not
 *           see <name>-journal or <name>-wal beside it: it takes them for parts of the database and removes them, or
 *           fails. Then the file is opened by a hard link that is gone at once
 *   holder  a small JSON file that tells who has the lock: process, host, time. For messages only; nothing is decided
 *           by it
 *
 * The lock belongs to the process: two locks of one process on one file do not exclude each other. It falls when the
 * process closes ANY descriptor of the file. So whoever holds a lock opens the file once, and no other part of the
 * process opens and closes it meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Result codes of SQLite. */
const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

export interface FileLock {
  release(): void;
}

/** The garbage collector closes a database that nobody holds, and its lock would fall while the owner lives. */
const held = new Set<object>();

/** What SQLite takes for parts of a database, by their names. */
const PARTS = ['-journal', '-wal'];

/** Locks an existing file; undefined: another process has it. */
export function lockFile(path: string): FileLock | undefined {
  // SQLite follows symbolic links, and looks beside what they lead to.
  const real = existsSync(path) ? realpathSync(path) : path;
  const part = PARTS.find((ending) => existsSync(real + ending));
  if (part === undefined) return lockNamed(path);
  const link = join(dirname(real), `.${basename(real)}.${randomBytes(6).toString('hex')}`);
  try {
    linkSync(real, link);
  } catch (cause) {
    throw new Error(`name beside a locked file must be free: found=${real}${part}`, { cause });
  }
  try {
    return lockNamed(link);
  } finally {
    rmSync(link, { force: true });
  }
}

function lockNamed(path: string): FileLock | undefined {
  const { DatabaseSync } = quietSqlite();
  const url = pathToFileURL(path);
  url.searchParams.set('vfs', 'unix-excl');
  const database = new DatabaseSync(url);
  try {
    database.exec('SELECT 1 FROM sqlite_schema');
  } catch (error) {
    const { errcode } = error as { errcode?: number };
    // Not a database: the lock is taken, and kept.
    if (errcode !== SQLITE_NOTADB) {
      database.close();
      if (errcode === SQLITE_BUSY) return undefined;
      const found = (error as Error).message;
      throw new Error(`file must be on a file system that knows locks: path=${path}, found=${found}`, { cause: error });
    }
  }
  held.add(database);
  return {
    release: () => {
      held.delete(database);
      database.close();
    },
  };
}

/**
 * node:sqlite announces on stderr that it is experimental. Only its locks are used here, so the warning is kept back.
 */
export function quietSqlite(): typeof import('node:sqlite') {
  const emit = process.emitWarning;
  process.emitWarning = () => undefined;
  try {
    return createRequire(import.meta.url)('node:sqlite') as typeof import('node:sqlite');
  } finally {
    process.emitWarning = emit;
  }
}

/** Writes down who has the lock. A folder that takes no file costs the message its details, nothing else. */
export function writeHolder(path: string): void {
  const holder = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  try {
    writeFileSync(path, `${JSON.stringify(holder)}\n`, { mode: 0o644 });
  } catch {}
}

export function removeHolder(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {}
}

/** Who has the lock on `locked`, in words: what the holder wrote down, or else what the kernel tells. */
export function holderOf(holder: string, locked: string): string {
  try {
    const { pid, host, since } = JSON.parse(readFileSync(holder, 'utf8')) as Record<string, unknown>;
    return `process ${String(pid)} on host ${String(host)} since ${String(since)}`;
  } catch {
    const pid = lockingProcess(locked);
    return pid === undefined ? 'a process that is not known here (another container or host)' : `process ${pid}`;
  }
}

/** The process of this PID namespace that has a lock on the file. */
function lockingProcess(path: string): number | undefined {
  try {
    const { ino } = statSync(path);
    // 1: POSIX  ADVISORY  WRITE 12394 fe:00:10364086 1073741826 1073742335
    const line = new RegExp(`POSIX +ADVISORY +WRITE +(\\d+) +[0-9a-f]+:[0-9a-f]+:${ino} `);
    const pid = Number(line.exec(readFileSync('/proc/locks', 'utf8'))?.[1] ?? 0);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
