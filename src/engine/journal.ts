/**
 * Journal: the folder that holds a log.
 *
 *   log                     {"format":1,"log":"<32 hex>","life":n,"lives":[[n,"<16 hex>"],...]}; each start raises life
 *                           and adds the life's own id
 *   reserve                 a few blocks that a start on a full disk frees for itself
 *   lock                    an SQLite file. The kernel drops its fcntl lock when the process dies; the lock holds
 *                           across PID namespaces
 *   holder                  who has the lock (process, host, since when), for messages; gone after an end in order
 *   lanes/<life>-<lane>/    segments of one lane; written in that life and never again (L9)
 *   sinks/<name>.checkpoint where each sink stands; a sink that has one is registered
 *
 * One process owns the folder. Reading it (ls, cat, verify) needs no lock.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { makeDirectory } from '../kernel/directory.ts';
import { RingmainError } from '../kernel/errors.ts';
import { holderOf, quietSqlite, removeHolder, writeHolder } from '../kernel/file-lock.ts';
import { CheckpointFile, type CheckpointState, NO_LANES } from './checkpoint.ts';
import { type Disk, isDiskFull, realDisk } from './disk.ts';
import { engineErrors } from './errors.ts';
import { LIVES_MAX, type Life } from './lineage.ts';
import {
  FORMAT,
  type LaneId,
  laneFolder,
  logOfSegment,
  newLifeId,
  PAGE,
  parseLaneFolder,
  readableSegments,
} from './segment.ts';

const RESERVE = 'reserve';
/** Enough for the log file, a folder per lane and the first checkpoints. */
const RESERVE_BYTES = 256 * 1024;

export interface LogIdentity {
  readonly format: number;
  /** 32 hex digits. */
  readonly log: string;
  readonly life: number;
  /** The newest lives, this one last. Missing in logs of older versions, whose lives have no id. */
  readonly lives?: readonly Life[];
}

export const lanesFolder = (dir: string): string => join(dir, 'lanes');
export const sinksFolder = (dir: string): string => join(dir, 'sinks');
const holderPath = (dir: string): string => join(dir, 'holder');
export const checkpointPath = (dir: string, sink: string): string => join(sinksFolder(dir), `${sink}.checkpoint`);

/**
 * The identity of the log in `dir`; `undefined` when there is no log yet. Refuses an unknown format. Throws the
 * system's error when the file cannot be read: a log that is hidden from this user is not a log that is not there.
 */
export function readIdentity(dir: string): LogIdentity | undefined {
  const path = join(dir, 'log');
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  let found: Partial<LogIdentity>;
  try {
    found = JSON.parse(text) as Partial<LogIdentity>;
  } catch (error) {
    throw engineErrors.JOURNAL_FORMAT(
      { path, expected: 'the identity of a log in JSON', found: 'something else' },
      error,
    );
  }
  if (found.format !== FORMAT)
    throw engineErrors.JOURNAL_FORMAT({ path, expected: FORMAT, found: String(found.format) });
  if (typeof found.log !== 'string' || !/^[0-9a-f]{32}$/.test(found.log) || !Number.isSafeInteger(found.life))
    throw engineErrors.JOURNAL_FORMAT({
      path,
      expected: 'a log id of 32 hex digits and a life',
      found: 'something else',
    });
  const { lives = [] } = found;
  if (!Array.isArray(lives) || !lives.every(([n, id]) => Number.isSafeInteger(n) && /^[0-9a-f]{16}$/.test(id)))
    throw engineErrors.JOURNAL_FORMAT({ path, expected: 'lives with ids of 16 hex digits', found: 'something else' });
  return { ...(found as LogIdentity), lives };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The lanes on disk, oldest life first. */
export function listLanes(dir: string, disk: Disk = realDisk): LaneId[] {
  if (!disk.exists(lanesFolder(dir))) return [];
  return disk
    .list(lanesFolder(dir))
    .map(parseLaneFolder)
    .filter((id) => id !== undefined)
    .sort((a, b) => a.life - b.life || a.lane - b.lane);
}

/** Names of the sinks that ever had a checkpoint here. */
export function listSinks(dir: string, disk: Disk = realDisk): string[] {
  if (!disk.exists(sinksFolder(dir))) return [];
  return disk
    .list(sinksFolder(dir))
    .filter((name) => name.endsWith('.checkpoint'))
    .map((name) => name.slice(0, -'.checkpoint'.length))
    .sort();
}

/** A lock on the folder, held until release() or the death of the process. */
export interface JournalLock {
  release(): void;
}

/** Takes the folder's lock or throws JOURNAL_LOCKED at once. */
export function lockJournal(dir: string): JournalLock {
  const { DatabaseSync } = quietSqlite();
  const path = join(dir, 'lock');
  try {
    // Created here, because SQLite would make it readable by everyone.
    closeSync(openSync(path, 'a', 0o600));
    const database = new DatabaseSync(path);
    try {
      database.exec(
        'PRAGMA busy_timeout = 0; PRAGMA journal_mode = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;',
      );
    } catch (error) {
      database.close();
      throw error;
    }
    return { release: () => database.close() };
  } catch (error) {
    if (/locked|busy/i.test(String(error)))
      throw engineErrors.JOURNAL_LOCKED({ path: dir, holder: holderOf(holderPath(dir), path) });
    throw engineErrors.JOURNAL_OPEN({ path, reason: (error as Error).message }, error);
  }
}

export interface OpenJournal {
  readonly dir: string;
  readonly identity: LogIdentity;
  readonly logId: Buffer;
  /** Id of the life that begins. */
  readonly lifeId: string;
  readonly lock: JournalLock;
}

/** Creates or opens the log in `dir`, takes its lock and begins a new life. Touches nothing else. */
export function openJournal(dir: string, disk: Disk = realDisk): OpenJournal {
  try {
    const made = makeDirectory(dir, 0o700);
    // Each new folder's name lies in its parent, which must be synced so that the folder survives a power cut.
    if (made !== undefined)
      for (let path = resolve(dir); path !== dirname(resolve(made)); path = dirname(path))
        disk.syncFolder(dirname(path));
  } catch (error) {
    throw engineErrors.JOURNAL_OPEN({ path: dir, reason: (error as Error).message }, error);
  }
  const lock = lockJournal(dir);
  try {
    const before = readIdentity(dir);
    checkLanes(dir, before, disk);
    const lifeId = newLifeId();
    const life = lastLife(dir, before, disk) + 1;
    const identity = {
      format: FORMAT,
      log: before?.log ?? randomBytes(16).toString('hex'),
      life,
      lives: [...(before?.lives ?? []), [life, lifeId] as const].slice(-LIVES_MAX),
    };
    const roomMade = withRoom(dir, disk, () => {
      makeDirectory(lanesFolder(dir), 0o700);
      makeDirectory(sinksFolder(dir), 0o700);
      writeIdentity(dir, identity, disk);
    });
    // What was freed is for the folders and files that this start makes next.
    if (!roomMade) keepReserve(dir, disk);
    writeHolder(holderPath(dir));
    const release = () => {
      removeHolder(holderPath(dir));
      lock.release();
    };
    return { dir, identity, logId: Buffer.from(identity.log, 'hex'), lifeId, lock: { release } };
  } catch (error) {
    lock.release();
    if (error instanceof RingmainError) throw error;
    throw engineErrors.JOURNAL_OPEN({ path: dir, reason: (error as Error).message }, error);
  }
}

/** The number of the newest life that left anything here: parts of the folder may come from different copies. */
function lastLife(dir: string, identity: LogIdentity | undefined, disk: Disk): number {
  const lanes = listLanes(dir, disk).map(({ life }) => life);
  const sinks = listSinks(dir, disk)
    .map((name) => readCheckpoint(dir, name, disk))
    .filter((state) => state !== undefined && state.log === identity?.log && state.life !== NO_LANES)
    .map((state) => state!.life);
  return Math.max(identity?.life ?? 0, ...lanes, ...sinks);
}

/**
 * Refuses lanes of another log: not one of their frames would validate, so they would pass for empty and be deleted. It
 * happens when the folder is put back without its file `log`, or with that of another journal.
 */
function checkLanes(dir: string, identity: LogIdentity | undefined, disk: Disk): void {
  const page = Buffer.alloc(PAGE);
  for (const id of listLanes(dir, disk)) {
    const folder = join(lanesFolder(dir), laneFolder(id));
    const [first] = readableSegments(disk.list(folder));
    if (first === undefined) continue;
    const fd = disk.open(join(folder, first.name), 'r');
    disk.read(fd, page, 0, PAGE, 0);
    disk.close(fd);
    const log = logOfSegment(page);
    if (log === undefined || log === identity?.log) continue;
    throw engineErrors.JOURNAL_FORMAT({
      path: folder,
      expected: identity === undefined ? `named by the file ${join(dir, 'log')}` : `of log ${identity.log}`,
      found: `segments of log ${log}`,
    });
  }
}

/**
 * Runs `write`, and once more after making room when the disk is full. Only files that hold no event make way. Returns
 * whether room was made.
 */
function withRoom(dir: string, disk: Disk, write: () => void): boolean {
  try {
    write();
    return false;
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    for (const path of [...idleFiles(dir, disk), join(dir, RESERVE)]) if (disk.exists(path)) disk.unlink(path);
    write();
    return true;
  }
}

/** Spares of earlier lives, and segments in the pool. */
function idleFiles(dir: string, disk: Disk): string[] {
  const lanes = lanesFolder(dir);
  if (!disk.exists(lanes)) return [];
  const pool = disk.list(lanes).filter((name) => name.startsWith('pool-'));
  const spares = listLanes(dir, disk).flatMap((id) => {
    const names = disk.list(join(lanes, laneFolder(id))).filter((name) => name.startsWith('spare-'));
    return names.map((name) => join(laneFolder(id), name));
  });
  return [...pool, ...spares].map((name) => join(lanes, name));
}

/** Blocks for the next start, as far as the disk has them. */
function keepReserve(dir: string, disk: Disk): void {
  const path = join(dir, RESERVE);
  if (disk.exists(path)) return;
  let fd: number | undefined;
  try {
    fd = disk.open(path, 'wx');
    disk.write(fd, Buffer.alloc(RESERVE_BYTES), 0, RESERVE_BYTES, 0);
    disk.close(fd);
  } catch {
    if (fd === undefined) return;
    disk.close(fd);
    disk.unlink(path);
  }
}

export function readCheckpoint(dir: string, sink: string, disk: Disk = realDisk): CheckpointState | undefined {
  const file = new CheckpointFile(checkpointPath(dir, sink), disk);
  try {
    return file.read()?.state;
  } finally {
    file.close();
  }
}

function writeIdentity(dir: string, identity: LogIdentity, disk: Disk): void {
  const next = join(dir, 'log.next');
  writeFileSync(next, `${JSON.stringify(identity)}\n`, { mode: 0o600, flush: true });
  disk.rename(next, join(dir, 'log'));
  disk.syncFolder(dir);
}

/**
 * Default of JOURNAL_MAX_BYTES: the smaller of 10 GiB and half of what is free, counting the log's own bytes as free.
 */
export function defaultQuota(dir: string, usedBytes: number): number {
  const { bavail, bsize } = statfsSync(dir);
  return Math.min(10 * 2 ** 30, Math.floor((bavail * bsize + usedBytes) / 2));
}
