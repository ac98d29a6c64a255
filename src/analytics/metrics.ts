/** Metrics of analytics beside those of the frame and of the intake routes. */
import { defineMetrics, gauge } from '../kernel/metrics.ts';

export const partitionMetrics = defineMetrics({
  ringmain_analytics_partitions_missing: gauge({
    help: 'Partitions of this month and the next that are not there.',
    threads: 'max',
  }),
  ringmain_analytics_default_partition_rows: gauge({
    help:
      'Rows in a default partition that belong to a month of at most ten years ago: they should be moved to a ' +
      'partition of their own. Counted up to 10,000.',
    labels: { table: ['events', 'visitor_days'] },
    threads: 'max',
  }),
});
