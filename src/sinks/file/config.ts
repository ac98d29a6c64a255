import type { ConfigOf } from '../../kernel/config.ts';
import { bool, bytes, defineConfig, duration, GiB, integer, path } from '../../kernel/config.ts';

export const fileConfig = defineConfig(
  'file',
  {
    logPath: path({
      default: './events.ndjson',
      doc:
        'File of the log sink, one event per line. `stdout` writes to standard output (at least once after a ' +
        'crash); our own log then goes to stderr. Only one collector may write to a file; a second one does not ' +
        'start.',
    }),
    batchSize: integer({
      default: 5000,
      min: 1,
      max: 100_000,
      doc:
        'Maximum events per write of the log sink. Events that an acceptor published together stay together, so a ' +
        'batch may hold a few more.',
    }),
    flushIntervalMs: duration({
      default: 20,
      min: 1,
      max: 60_000,
      doc: 'Maximum time an event waits for others before it is written to the file.',
    }),
    logRotateBytes: bytes({
      env: 'LOG_ROTATE_MB',
      default: 0,
      min: 0,
      max: 1024 * GiB,
      doc: 'Size above which the file is rotated (one batch may exceed it). 0: never; use logrotate.',
    }),
    logBackups: integer({
      default: 10,
      min: 0,
      max: 10_000,
      doc: 'How many rotated files are kept, the most recent ones; 0 keeps all.',
    }),
    logMaxAgeDays: integer({
      default: 0,
      min: 0,
      max: 36_500,
      doc: 'Age at which rotated files are deleted; 0 keeps all.',
    }),
    logCompress: bool({ default: false, doc: 'Compress rotated files with gzip, on a thread of its own.' }),
  },
  { prefix: 'LOG_' },
);
export type FileConfig = ConfigOf<typeof fileConfig>;
