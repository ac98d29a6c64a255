/** Metrics of money. */
import { defineMetrics, gauge } from '../../kernel/metrics.ts';

export const moneyMetrics = defineMetrics({
  sms_audit_differences: gauge({
    help: 'Figures of customers that the last audit, of whichever process, found to differ from the ledger; must be 0.',
    threads: 'max',
  }),
});
