/** Worker of the processor: watches the partitions of events and visitor days (service/partition-watch.ts). */
import type { Worker } from '../service/contract.ts';
import { watchPartitions } from '../service/partition-watch.ts';
import type { AnalyticsValues } from './analytics.ts';
import { partitionMetrics } from './metrics.ts';
import { makePartitions, months } from './processor/partitions.ts';

export default {
  run(frame) {
    const gauges = frame.meters(partitionMetrics);
    return watchPartitions(frame, {
      dsn: frame.values.postgres.pgDsn!,
      applicationName: 'ringmain-analytics-partitions',
      partitions: months,
      make: makePartitions,
      seen({ missing, strays }) {
        gauges.ringmain_analytics_partitions_missing.at({}).set(missing.length);
        for (const { table } of months.tables)
          gauges.ringmain_analytics_default_partition_rows.at({ table }).set(strays[table]);
      },
    });
  },
} satisfies Worker<AnalyticsValues>;
