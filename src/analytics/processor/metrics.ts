/** Metrics of the processor: what became of records, counted when their transaction has committed. */
import { counter, defineMetrics, histogram, type Meters } from '../../kernel/metrics.ts';
import { type RejectReason, rejections } from './rejections.ts';

/** What a committed batch was. */
export interface Told {
  /** How much later each event came than its own time, ms. */
  stored(latenessMs: readonly number[]): void;
  duplicates(count: number): void;
  /** Records that had come before. */
  repeats(count: number): void;
  rejected(reason: RejectReason): void;
}

const reasons = Object.keys(rejections) as RejectReason[];

export const processorMetrics = defineMetrics({
  ringmain_analytics_events_stored_total: counter({ help: 'Events that were stored and counted.' }),
  ringmain_analytics_duplicates_total: counter({
    help: 'Events left out because their event_id was counted before: somebody sent them twice.',
  }),
  ringmain_analytics_repeats_total: counter({
    help: 'Records that came twice, as after a kill of the process that wrote them. They count nowhere.',
  }),
  ringmain_analytics_rejected_total: counter({
    help: 'Records that are no events, by reason. They are dead letters.',
    labels: { reason: reasons },
    told: { level: 'warn', sentence: 'records are no events and went to the dead letters' },
  }),
  ringmain_analytics_lateness_seconds: histogram({
    help: 'From the time that an event gives itself to its receipt.',
    buckets: [1, 10, 60, 900, 3600, 86_400, 604_800, 2_592_000],
  }),
});

export function tellMeters(meters: Meters<typeof processorMetrics>): Told {
  const stored = meters.ringmain_analytics_events_stored_total.at();
  const duplicates = meters.ringmain_analytics_duplicates_total.at();
  const repeats = meters.ringmain_analytics_repeats_total.at();
  const lateness = meters.ringmain_analytics_lateness_seconds.at();
  return {
    stored: (latenessMs) => {
      stored.add(latenessMs.length);
      for (const ms of latenessMs) lateness.observe(Math.max(0, ms) / 1000);
    },
    duplicates: (count) => duplicates.add(count),
    repeats: (count) => repeats.add(count),
    rejected: (reason) => meters.ringmain_analytics_rejected_total.at({ reason }).add(1),
  };
}
