import type { ConfigOf } from '../../kernel/config.ts';
import { bool, bytes, defineConfig, duration, GiB, integer, path } from '../../kernel/config.ts';

export const fileConfig = defineConfig(
  'file',
  {
    logPath: path({
      default: './events.ndjson',
      doc:
        'File of the log sink, one event per line. `stdout` writes to standard output (at least once after a crash); ' +
        'our own log then goes to stderr. A file has one collector: a second one is refused.',
    }),
    batchSize: integer({
      default: 5000,
      min: 1,
      max: 100_000,
      doc:
        'Events that the log sink writes at once at most. What one publish of an acceptor holds stays together, so a ' +
        'batch may hold a few more.',
    }),
    flushIntervalMs: duration({
      default: 20,
      min: 1,
      max: 60_000,
      doc: 'Longest time an event waits for others before it is written to the file.',
    }),
    logRotateBytes: bytes({
      env: 'LOG_ROTATE_MB',
      default: 0,
      min: 0,
      max: 1024 * GiB,
      doc: 'The file is rotated when it is larger (a batch may go over). 0: never; use logrotate.',
    }),
    logBackups: integer({
      default: 10,
      min: 0,
      max: 10_000,
      doc: 'Rotated files that are kept, the last ones written; 0 keeps all.',
    }),
    logMaxAgeDays: integer({
      default: 0,
      min: 0,
      max: 36_500,
      doc: 'Rotated files older than this are removed; 0 keeps all.',
    }),
    logCompress: bool({ default: false, doc: 'Rotated files are compressed with gzip, in a thread of its own.' }),
  },
  { prefix: 'LOG_' },
);
export type FileConfig = ConfigOf<typeof fileConfig>;
