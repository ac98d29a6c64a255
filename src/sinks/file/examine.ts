/** What `ringmain doctor` looks at for a file of events: whether it can be written, and the room of its disk. */
import { statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { existingFolder, formatBytes, GiB, writableFileProblem } from '../../kernel/config.ts';
import { error, type Finding, note, ok, warning } from '../../kernel/finding.ts';
import type { FileConfig } from './config.ts';

const ROOM_BYTES_MIN = GiB;

export async function* examineFile(config: FileConfig): AsyncGenerator<Finding> {
  const { logPath } = config;
  if (logPath === 'stdout') {
    yield note('events go to standard output, at least once after a crash');
    return;
  }
  const problem = writableFileProblem('LOG_PATH', logPath);
  if (problem !== undefined) {
    yield error(problem, 'Make the directory writable for the user that Ringmain runs as, or change LOG_PATH.');
    return;
  }
  yield ok(`${resolve(logPath)} is writable`);
  const { bavail, bsize } = statfsSync(existingFolder(dirname(logPath)));
  const free = bavail * bsize;
  yield free >= ROOM_BYTES_MIN
    ? ok(`${formatBytes(roundedBytes(free))} free on its disk`)
    : warning(
        `only ${formatBytes(roundedBytes(free))} free on its disk`,
        'Free up space, or set LOG_ROTATE_MB and LOG_BACKUPS.',
      );
  if (config.logRotateBytes === 0)
    yield note('the file grows without limit (LOG_ROTATE_MB=0): rotate it with logrotate and SIGHUP');
}

/** For people: whole MiB, or whole GiB. */
const roundedBytes = (bytes: number): number => {
  const unit = bytes >= GiB ? GiB : 2 ** 20;
  return Math.floor(bytes / unit) * unit;
};
