/** Metrics of receipts that come over HTTP. */
import { counter, defineMetrics } from '../../kernel/metrics.ts';

export const receiptMetrics = (operator: readonly string[]) =>
  defineMetrics({
    ringmain_sms_receipts_total: counter({
      help: 'Receipts of operators over HTTP. unknown: the operator was never given such a message.',
      labels: { operator, result: ['recorded', 'unknown'] },
    }),
  });
