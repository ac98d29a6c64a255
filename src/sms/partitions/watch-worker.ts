/** Worker `partitions`: watches the days of messages and ledger (service/partition-watch.ts). */
import type { Worker } from '../../service/contract.ts';
import { watchPartitions } from '../../service/partition-watch.ts';
import { readFinding } from '../findings.ts';
import type { SmsValues } from '../sms.ts';
import { smsDays } from './days.ts';
import { smsPartitionMetrics } from './metrics.ts';

export default {
  run(frame) {
    const gauges = frame.meters(smsPartitionMetrics);
    return watchPartitions(frame, {
      dsn: frame.values.postgres.pgDsn!,
      applicationName: 'ringmain-sms-partition-watch',
      partitions: smsDays,
      make: (link) => smsDays.make(link),
      async seen({ missing, strays }, link) {
        gauges.ringmain_sms_partitions_missing.at().set(missing.length);
        for (const { table } of smsDays.tables)
          gauges.ringmain_sms_default_partition_rows.at({ table }).set(strays[table]);
        gauges.ringmain_sms_partitions_held.at().set(await readFinding(link, 'partitions_held'));
      },
    });
  },
} satisfies Worker<SmsValues>;
