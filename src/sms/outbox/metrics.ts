/** Metrics of the outbox. */
import { counter, defineMetrics, gauge } from '../../kernel/metrics.ts';

export const outboxMetrics = defineMetrics({
  ringmain_sms_outbox_records_total: counter({
    help: 'Records that the relay of this process has taken out of the outbox.',
  }),
  ringmain_sms_outbox_rows: gauge({
    help: 'Rows of the outbox that wait, each a group of records; counted up to 100,000.',
    threads: 'max',
  }),
  ringmain_sms_outbox_oldest_seconds: gauge({
    help:
      'How long the outbox has not been empty, as this process has seen it: the log is full, because Kafka has been ' +
      'away for long, or no relay runs.',
    threads: 'max',
  }),
  ringmain_sms_shards_unowned: gauge({
    help: 'Of the 64 shards of customers, those that no worker sends for, as the database says: their messages wait.',
    threads: 'max',
  }),
});
