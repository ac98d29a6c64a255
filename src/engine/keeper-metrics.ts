import { counter, defineMetrics, histogram } from '../kernel/metrics.ts';

export const keeperMetrics = defineMetrics({
  ringmain_journal_sync_seconds: histogram({
    help: 'Time of one fdatasync of one lane.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
  }),
  ringmain_journal_warnings_total: counter({ help: 'Syncs that failed and segments that the disk refused.' }),
});
