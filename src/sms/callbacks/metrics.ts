/** Metrics of callbacks. */
import { counter, defineMetrics, gauge } from '../../kernel/metrics.ts';

export const callbackMetrics = defineMetrics({
  ringmain_sms_callbacks_total: counter({
    help: 'Callbacks to customers. failed: a try that is repeated; given_up: CALLBACK_RETRY_MS is over.',
    labels: { outcome: ['sent', 'failed', 'given_up'] },
  }),
  ringmain_sms_callbacks_in_flight: gauge({ help: 'Callbacks under way.' }),
  ringmain_sms_callbacks_waiting: gauge({
    help: 'Callbacks that are not delivered yet, of all processes; counted up to 100,000.',
    threads: 'max',
  }),
  ringmain_sms_callbacks_oldest_seconds: gauge({
    help: 'Age of the oldest callback that is not delivered yet.',
    threads: 'max',
  }),
});
