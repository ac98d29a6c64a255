/** Metrics of accepting. No label names a customer: reports have figures by customer. */
import { counter, defineMetrics, gauge, histogram } from '../../kernel/metrics.ts';

/** Why a message was refused; codes of the table of errors that stand for none of these count as `other`. */
export const refusals = [
  'invalid',
  'unknown_customer',
  'inactive_customer',
  'not_carried',
  'balance',
  'backlog',
  'key_mismatch',
  'key_in_flight',
  'busy',
  'database',
  'other',
] as const;
export type Refusal = (typeof refusals)[number];

/** `operator`: carrierNames(). */
export const acceptedMetrics = (operator: readonly string[]) =>
  defineMetrics({
    sms_accepted_total: counter({
      help:
        'Messages that were accepted, by lane and by the operator that their number is routed to first. several: more ' +
        'than one share it by weight. none: OPERATORS of this process has none for it, so an api without OPERATORS counts ' +
        'all of them there.',
      labels: { lane: ['normal', 'express'], operator },
    }),
  });

export const acceptMetrics = defineMetrics({
  sms_replayed_total: counter({ help: 'Messages whose idempotency key had come before: answered as then.' }),
  sms_refused_total: counter({ help: 'Messages that were not accepted, by reason.', labels: { reason: refusals } }),
  balance_deduction_duration_seconds: histogram({
    help: 'Time of the transaction that charges customers and writes the messages of a group.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  }),
  sms_accept_group_messages: histogram({
    help: 'Messages of a transaction.',
    buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
  }),
  sms_accept_waiting: gauge({ help: 'Messages that wait for their transaction, or for its end.' }),
});
