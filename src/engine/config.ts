import { bytes, type ConfigOf, defineConfig, duration, GiB, integer, KiB, MiB, oneOf, path } from '../kernel/config.ts';

export const engineConfig = defineConfig(
  'engine',
  {
    ringBytes: bytes({
      default: 16 * MiB,
      min: 256 * KiB,
      max: 1 * GiB,
      powerOfTwo: true,
      doc:
        'Data size of each ring. It holds what is not synced yet and what sinks that keep up read from memory. ' +
        'Make it about twice the largest burst while the disk is busy, and at least four times MAX_BODY_BYTES.',
    }),
    journalDir: path({
      default: './data/journal',
      doc:
        'Directory of the journal. `off`: memory only; a 2xx then lasts only as long as this process, and ' +
        'ACK=journal and ACK=sync are refused.',
    }),
    journalMaxBytes: bytes({
      min: 4 * MiB,
      unset: 'the smaller of 10 GiB and half of the free space',
      doc:
        'Maximum disk space of the journal. Delivered segments are deleted first; when undelivered ones fill it, ' +
        'requests get 429.',
    }),
    segmentBytes: bytes({
      default: 64 * MiB,
      min: 1 * MiB,
      max: 4 * GiB,
      doc: 'Size of one journal file. Reduced when JOURNAL_MAX_BYTES holds fewer than four per acceptor.',
    }),
    journalRetainMs: duration({
      default: 600_000,
      min: 0,
      max: 30 * 86_400_000,
      doc:
        'How long delivered segments are kept, for replay and for a database that fails over to an older state; ' +
        'JOURNAL_MAX_BYTES may remove them earlier.',
    }),
    syncIntervalMs: duration({
      default: 10,
      min: 1,
      max: 10_000,
      doc:
        'Time between two fdatasyncs while no request waits for one: what a power failure may cost with ' +
        'ACK=journal.',
    }),
    syncGroupMs: duration({
      default: 0,
      min: 0,
      max: 1000,
      doc:
        'Minimum time between two fdatasyncs while requests with ACK=sync wait. 0: the next one starts as soon as ' +
        'the last has finished, and covers everything that arrived meanwhile. Higher: larger groups, fewer syncs, ' +
        'later answers.',
    }),
    ackTimeoutMs: duration({
      default: 5000,
      min: 10,
      max: 600_000,
      doc: 'Maximum time an answer waits for its sync; then 503, outcome unknown. Checked every 25 ms.',
    }),
    defer: oneOf(['auto', 'off'], {
      default: 'auto',
      doc:
        'auto: above DEFER_RATE, the requests of one event loop iteration are published together when they are three ' +
        'or more on average. off: each request is published and answered on its own, for clients that pipeline.',
    }),
    deferRate: integer({
      default: 5000,
      min: 0,
      doc: 'Events per second and acceptor above which requests are published together.',
    }),
    deferHoldMs: duration({
      default: 600_000,
      min: 0,
      doc: 'How long an acceptor answers each request on its own after it has seen a client that pipelines.',
    }),
  },
  {
    check: ({ journalDir, segmentBytes, journalMaxBytes, ringBytes }) => [
      ...(journalDir !== 'off' && segmentBytes < ringBytes / 2
        ? [`SEGMENT_BYTES must be at least half of RING_BYTES: SEGMENT_BYTES=${segmentBytes}, RING_BYTES=${ringBytes}`]
        : []),
      ...(journalDir === 'off' && journalMaxBytes !== undefined
        ? ['JOURNAL_MAX_BYTES requires a journal: JOURNAL_DIR=off']
        : []),
    ],
  },
);
export type EngineConfig = ConfigOf<typeof engineConfig>;
