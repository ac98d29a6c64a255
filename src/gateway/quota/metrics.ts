/** Metrics of quotas. */
import { counter, defineMetrics } from '../../kernel/metrics.ts';

export const quotaMetrics = defineMetrics({
  ringmain_gateway_quota_messages_total: counter({
    help: 'Messages to QUOTA_WEBHOOK_URL: delivered, tries that failed, and messages that were given up.',
    labels: { outcome: ['sent', 'failed', 'given_up'] },
  }),
});
