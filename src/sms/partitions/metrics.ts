/** Metrics of the role partitions. */
import { counter, defineMetrics, gauge } from '../../kernel/metrics.ts';

const table = ['sms_logs', 'balance_txn'] as const;

export const smsPartitionMetrics = defineMetrics({
  ringmain_sms_partitions_missing: gauge({
    help: 'Partitions of today and tomorrow that are not there.',
    threads: 'max',
  }),
  ringmain_sms_default_partition_rows: gauge({
    help:
      'Rows in the default partition that belong to a day of at most three years ago: they should be moved to a ' +
      'partition of their own. Counted up to 10,000.',
    labels: { table },
    threads: 'max',
  }),
  ringmain_sms_partitions_held: gauge({
    help: 'Days past their retention that stay, because a message in them has not ended; at the last run of the job.',
    threads: 'max',
  }),
  ringmain_sms_archived_rows_total: counter({ help: 'Rows that were archived.', labels: { table } }),
});
