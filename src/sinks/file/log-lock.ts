/**
 * Log lock: a log file has one writer. Two would write at the same places and cut each other's lines, and both would
 * report them delivered. The lock is on the file itself (kernel/file-lock.ts), so no second name of it gets around it.
 * Main holds it while the process starts, so that a second collector is refused before it takes an event; then the
 * thread of the output does, file after file. `.<name>.lock` beside it tells who that is.
 */
import { closeSync, constants, fstatSync, openSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type FileLock, holderOf, lockFile, removeHolder, writeHolder } from '../../kernel/file-lock.ts';
import { sinkErrors } from '../errors.ts';
import { identityOf, same } from './file-state.ts';

/** Tries to open and lock a name that others move meanwhile. */
const TRIES = 10;

/** Hidden: shippers that follow `events.ndjson*` must not take it for events. */
const beside = (path: string): string => join(dirname(path), `.${basename(path)}.lock`);
const holderPath = (path: string): string => beside(realpathSync(path));

/** Locks the file for its one writer, or throws LOG_FILE_LOCKED. */
export function lockLog(path: string): FileLock {
  const lock = lockFile(path);
  if (lock === undefined) throw sinkErrors.LOG_FILE_LOCKED({ path, holder: holderOf(holderPath(path), path) });
  return lock;
}

export const tellHolder = (path: string): void => writeHolder(holderPath(path));
export const forgetHolder = (path: string): void => removeHolder(beside(path));

export interface LockedFile {
  readonly fd: number;
  readonly lock: FileLock;
}

/**
 * Opens the name, a new file if need be, and locks what was opened. Writes go to the end of the file (O_APPEND): what
 * somebody else has just appended is not overwritten.
 */
export function openLocked(
  path: string,
  flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND,
): LockedFile {
  for (let left = TRIES; ; left--) {
    const fd = openSync(path, flags, 0o644);
    let lock: FileLock | undefined;
    try {
      if (fstatSync(fd).isFile()) lock = lockLog(path);
      const named = statSync(path, { throwIfNoEntry: false });
      // SQLite opens the name once more: another file may have had it by then.
      const opened = identityOf(fstatSync(fd));
      if (left === 0 || (named !== undefined && same(identityOf(named), opened))) {
        return { fd, lock: lock ?? { release: () => undefined } };
      }
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    lock?.release();
    closeSync(fd);
  }
}
