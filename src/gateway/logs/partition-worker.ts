/** Worker `partitions`: watches those of request_logs (service/partition-watch.ts). */
import type { Worker } from '../../service/contract.ts';
import { watchPartitions } from '../../service/partition-watch.ts';
import type { GatewayValues } from '../gateway.ts';
import { logMetrics } from '../metrics.ts';
import { logMonths } from './partitions.ts';

export default {
  run(frame) {
    const gauges = frame.meters(logMetrics);
    return watchPartitions(frame, {
      dsn: frame.values.postgres.pgDsn!,
      applicationName: 'ringmain-gateway-partitions',
      partitions: logMonths,
      make: (link) => logMonths.make(link),
      seen({ missing, strays }) {
        gauges.ringmain_gateway_partitions_missing.at().set(missing.length);
        gauges.ringmain_gateway_default_partition_rows.at().set(strays.request_logs);
      },
    });
  },
} satisfies Worker<GatewayValues>;
