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
        'Data bytes of each ring: holds what is not synced yet, and what sinks that keep up read from memory. About ' +
        'twice the largest burst while the disk is busy; at least four times MAX_BODY_BYTES.',
    }),
    journalDir: path({
      default: './data/journal',
      doc:
        'Folder of the log. `off`: memory only; then a 2xx is a promise of this process alone, and ACK=journal or ' +
        'sync is refused.',
    }),
    journalMaxBytes: bytes({
      min: 4 * MiB,
      unset: 'the smaller of 10 GiB and half of what is free',
      doc:
        'Disk space of the log. Delivered segments make way first; when undelivered ones fill it, requests are ' +
        'answered 429.',
    }),
    segmentBytes: bytes({
      default: 64 * MiB,
      min: 1 * MiB,
      max: 4 * GiB,
      doc: 'Size of one file of the log. Made smaller when the quota holds fewer than four per acceptor.',
    }),
    journalRetainMs: duration({
      default: 600_000,
      min: 0,
      max: 30 * 86_400_000,
      doc:
        'Delivered segments stay this long, for replay and for a database that fails over to an older state; the ' +
        'quota may take them earlier.',
    }),
    syncIntervalMs: duration({
      default: 10,
      min: 1,
      max: 10_000,
      doc: 'Time between two fdatasyncs while nobody waits for one: what a power cut may cost at ACK=journal.',
    }),
    syncGroupMs: duration({
      default: 0,
      min: 0,
      max: 1000,
      doc:
        'Least time between two fdatasyncs while requests with ACK=sync wait. 0: the next one begins when the last ' +
        'has ended, and takes along all that came meanwhile. More: larger groups, fewer syncs, later answers.',
    }),
    ackTimeoutMs: duration({
      default: 5000,
      min: 10,
      max: 600_000,
      doc: 'Longest wait of an answer for its sync; then 503, outcome unknown. Looked at every 25 ms.',
    }),
    defer: oneOf(['auto', 'off'], {
      default: 'auto',
      doc:
        'auto: above DEFER_RATE the requests of one loop iteration are published together. off: each is published ' +
        'and answered alone, for clients that pipeline.',
    }),
    deferRate: integer({
      default: 20_000,
      min: 0,
      doc: 'Events per second and acceptor above which requests are gathered.',
    }),
    deferHoldMs: duration({
      default: 600_000,
      min: 0,
      doc: 'After a client that pipelines was seen, its acceptor answers in the handler for this long.',
    }),
  },
  {
    check: ({ journalDir, segmentBytes, journalMaxBytes, ringBytes }) => [
      ...(journalDir !== 'off' && segmentBytes < ringBytes / 2
        ? [`SEGMENT_BYTES must be at least half of RING_BYTES: SEGMENT_BYTES=${segmentBytes}, RING_BYTES=${ringBytes}`]
        : []),
      ...(journalDir === 'off' && journalMaxBytes !== undefined
        ? ['JOURNAL_MAX_BYTES needs a journal: JOURNAL_DIR=off']
        : []),
    ],
  },
);
export type EngineConfig = ConfigOf<typeof engineConfig>;
