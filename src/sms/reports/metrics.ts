/** Metrics of reports. */
import { counter, defineMetrics, gauge, histogram } from '../../kernel/metrics.ts';

export const reportNames = ['minute', 'day', 'operators', 'top', 'balances', 'standing', 'export'] as const;
export type ReportName = (typeof reportNames)[number];

export const reportsMetrics = defineMetrics({
  ringmain_sms_reports_up: gauge({
    help:
      '1: ClickHouse answers, or REPORTS=off; 0: it cannot be reached, or chdb is being fetched or started. Reports get ' +
      '503 meanwhile.',
    threads: 'max',
  }),
  ringmain_sms_rollup_seconds: histogram({
    help: 'Time to compute the sums of all minutes that records have come for.',
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  }),
  ringmain_sms_rollup_minutes_total: counter({ help: 'Minutes whose sums were computed.' }),
  ringmain_sms_rollup_turn: gauge({
    help: '1: this process computes the sums of the ClickHouse server, for all that report from it.',
    threads: 'max',
  }),
  ringmain_sms_balances_low: gauge({
    help: 'Customers whose balance ends within this time at the pace of yesterday and today.',
    labels: { within: ['hour', 'day'] },
    threads: 'max',
  }),
  ringmain_sms_report_seconds: histogram({
    help: 'Time to answer a report; of an export, until its first bytes.',
    labels: { report: reportNames },
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10],
  }),
});
