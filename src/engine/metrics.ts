/**
 * What the engine tells operators: its metrics, and why a lane is not ready. Computed from shared memory when somebody
 * asks.
 */
import { type Collected, type Collector, counter, defineMetrics, histogram } from '../kernel/metrics.ts';
import { FULL_DISK, FULL_QUOTA, type LaneControl } from './lane-control.ts';
import type { Ring } from './ring.ts';

/** What the keeper's thread counts for itself. */
export const keeperMetrics = defineMetrics({
  ringmain_journal_sync_seconds: histogram({
    help: 'Time of one fdatasync of one lane.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
  }),
  ringmain_journal_warnings_total: counter({ help: 'Failed syncs and segments that could not be created.' }),
});

/** Figures that the keeper stores for the other threads: f64 each, in this order. */
const figureNames = [
  'usedBytes',
  'quotaBytes',
  'rateBytesPerSecond',
  'syncs',
  'syncErrors',
  'segments',
  'failed',
] as const;
export type FigureName = (typeof figureNames)[number];

export class JournalFigures {
  readonly #floats: Float64Array;
  constructor(memory: SharedArrayBuffer) {
    this.#floats = new Float64Array(memory);
  }
  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(figureNames.length * Float64Array.BYTES_PER_ELEMENT);
  }
  get(name: FigureName): number {
    return this.#floats[figureNames.indexOf(name)];
  }
  set(name: FigureName, value: number): void {
    this.#floats[figureNames.indexOf(name)] = value;
  }
}

/** The journal as a whole, from the keeper's figures. */
export function journalCollector(figures: JournalFigures): Collector {
  const one = (name: string, help: string, value: number, type: Collected['type'] = 'gauge'): Collected => ({
    name,
    help,
    type,
    values: [{ labels: {}, value }],
  });
  return () => {
    const used = figures.get('usedBytes');
    const quota = figures.get('quotaBytes');
    const rate = figures.get('rateBytesPerSecond');
    return [
      one('ringmain_journal_bytes', 'Disk space that the journal uses.', used),
      one('ringmain_journal_max_bytes', 'Disk space that the journal may use (JOURNAL_MAX_BYTES).', quota),
      one('ringmain_journal_segments', 'Files of the journal.', figures.get('segments')),
      one(
        'ringmain_journal_seconds_left',
        'Time until the journal is full at the current rate if no sink delivers; +Inf when idle.',
        rate > 0 ? Math.max(0, quota - used) / rate : Number.POSITIVE_INFINITY,
      ),
      one('ringmain_journal_syncs_total', 'Calls of fdatasync that succeeded.', figures.get('syncs'), 'counter'),
      one(
        'ringmain_journal_sync_errors_total',
        'Calls of fdatasync that failed.',
        figures.get('syncErrors'),
        'counter',
      ),
      one(
        'ringmain_journal_failed',
        '1: syncing the journal failed twice in a row; intake stops until a restart.',
        figures.get('failed'),
      ),
    ];
  };
}

/**
 * Each lane of this life, from its ring. `journal`: false when the log is in memory only and nothing is ever synced.
 */
export function laneCollector(rings: readonly Ring[], journal: boolean): Collector {
  const each = (value: (ring: Ring) => number) =>
    rings.map((ring, k) => ({ labels: { lane: String(k) }, value: value(ring) }));
  return () => [
    {
      name: 'ringmain_lane_events_total',
      help: 'Events published in this run.',
      type: 'counter',
      values: each((ring) => ring.tailRecord()),
    },
    {
      name: 'ringmain_lane_bytes_total',
      help: 'Bytes published in this run.',
      type: 'counter',
      values: each((ring) => ring.tail()),
    },
    {
      name: 'ringmain_lane_unsynced_bytes',
      help: 'Bytes published and not synced yet.',
      type: 'gauge',
      values: each((ring) => (journal ? ring.tail() - ring.synced() : 0)),
    },
  ];
}

/** Why a lane accepts no events now, or soon will not; undefined: it is well. For /readyz. */
export function laneProblem(control: LaneControl): string | undefined {
  if (control.failed()) return 'syncing failed twice in a row; restart on a healthy disk';
  if (control.stuck()) return 'a write failed and is being repeated';
  if (control.paused()) return 'a sink lags further than MAX_LAG_BYTES';
  if (control.spareReady()) return undefined;
  if (control.full() === FULL_QUOTA) return 'JOURNAL_MAX_BYTES is reached by undelivered events';
  if (control.full() === FULL_DISK) return 'the disk refuses a segment';
  return undefined;
}
