/**
 * Log files: locks the files of all outputs of kind log while the process starts. A second collector on one of them is
 * refused before it takes an event; so are two outputs of one process that reach one file by two names. The threads of
 * the outputs take the locks over (sinks/file/log-lock.ts).
 */
import { closeSync, existsSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { lockJournal } from '../engine/journal.ts';
import { makeDirectory } from '../kernel/directory.ts';
import { errors } from '../kernel/errors.ts';
import type { FileLock } from '../kernel/file-lock.ts';
import { lockLog } from '../sinks/file/log-lock.ts';
import type { ConfiguredOutput } from './configured.ts';

export interface LogFiles {
  /** The outputs have locks of their own now. */
  release(): void;
  /** The start failed: files that were made here, and are empty still, go. */
  abandon(): void;
}

/** Throws LOG_FILE_LOCKED, or CONFIG when two outputs lead to one file. */
export function lockLogFiles(outputs: readonly ConfiguredOutput[], journalDir: string): LogFiles {
  const locks: FileLock[] = [];
  const made: string[] = [];
  const names = new Map<string, string>();
  const release = () => {
    for (const lock of locks.splice(0)) lock.release();
  };
  const abandon = () => {
    for (const path of made) if (existsSync(path) && statSync(path).size === 0) rmSync(path);
    release();
  };
  try {
    for (const { name, path } of filesOf(outputs)) {
      if (!exists(path, made)) continue;
      const { dev, ino } = statSync(path);
      const other = names.get(`${dev}:${ino}`);
      if (other !== undefined)
        throw errors.CONFIG({
          problems: [`outputs must write to files of their own: found=${path}, outputs=${other}, ${name}`],
        });
      names.set(`${dev}:${ino}`, name);
      locks.push(lockLog(path));
    }
  } catch (error) {
    abandon();
    // Whoever shares the journal, too, hears of that first.
    if (existsSync(join(journalDir, 'lock'))) lockJournal(journalDir).release();
    throw error;
  }
  return { release, abandon };
}

/**
 * Makes the file when it is missing. False: that is not possible now (a full disk). The start goes on all the same, and
 * the output says what is wrong and tries again.
 */
function exists(path: string, made: string[]): boolean {
  if (existsSync(path)) return true;
  try {
    makeDirectory(dirname(path));
    closeSync(openSync(path, 'a', 0o644));
  } catch {
    return false;
  }
  made.push(path);
  return true;
}

const filesOf = (outputs: readonly ConfiguredOutput[]): { name: string; path: string }[] =>
  outputs
    .filter(({ kind }) => kind === 'log')
    .map(({ name, config }) => ({ name, path: String(config['logPath']) }))
    .filter(({ path }) => path !== 'stdout');
