/** Metrics of the worker by lane; operators have theirs (operators/metrics.ts), and customers are in reports. */
import { counter, defineMetrics, gauge, histogram, type Meters } from '../../kernel/metrics.ts';

const lanes = ['normal', 'express'] as const;
/** How attempts end (operators/contract.ts). */
const results = ['taken', 'rejected', 'later', 'unknown'] as const;
/** How messages end, or what they wait for. */
const outcomes = ['sent', 'delivered', 'undelivered', 'failed', 'unknown', 'later', 'held', 'deferred'] as const;

export const deliveryMetrics = defineMetrics({
  ringmain_sms_attempts_total: counter({
    help: 'Calls to operators by lane and result.',
    labels: { lane: lanes, result: results },
  }),
  ringmain_sms_outcomes_total: counter({
    help: 'Messages by lane and by what became of them; later, held and deferred come again.',
    labels: { lane: lanes, outcome: outcomes },
  }),
  ringmain_sms_duplicates_total: counter({ help: 'Messages that came to the queue again and had ended already.' }),
  ringmain_sms_held_found_total: counter({
    help: 'Messages that a dead worker may have sent: they are held until it is known what happened.',
    told: { level: 'warn', sentence: 'messages are held because a worker died while it sent them' },
  }),
  ringmain_sms_worker_waiting: gauge({
    help: 'Messages in memory that wait for their turn, by lane.',
    labels: { lane: lanes },
  }),
  ringmain_sms_worker_customers: gauge({ help: 'Customers in memory, by lane.', labels: { lane: lanes } }),
  ringmain_sms_worker_calls: gauge({ help: 'Messages that are under way to an operator.' }),
  ringmain_sms_worker_unsettled: gauge({ help: 'Outcomes that wait for the database.' }),
  ringmain_sms_worker_shards: gauge({ help: 'Shards of customers that this process sends for, of 64.' }),
  ringmain_sms_queue_rows: gauge({
    help: 'Messages in sms_queue, as Postgres estimates them.',
    threads: 'max',
  }),
});
/** Of whoever learns that an operator has a message: the worker by its answer, the API by a receipt. */
export const handOverMetrics = defineMetrics({
  ringmain_sms_accept_to_operator_seconds: histogram({
    help: 'Time from acceptance until the operator said first that it has the message, by lane.',
    labels: { lane: lanes },
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 60, 600, 3600],
  }),
  ringmain_sms_express_missed_total: counter({
    help: 'Express messages that no operator was known to have within EXPRESS_DEADLINE_MS: taken later, failed or unknown.',
    told: { level: 'warn', sentence: 'express messages were late' },
  }),
});
export type HandOverMeters = Meters<typeof handOverMetrics>;

export type DeliveryMeters = Meters<typeof deliveryMetrics>;
