/** Metrics of operators. Their names come from OPERATORS, so the set is made from them. */
import { counter, defineMetrics, gauge, histogram, type Meters } from '../../kernel/metrics.ts';
import type { BreakerState } from './breaker.ts';
import type { Standing } from './contract.ts';
import type { SendOutcome } from './operator-lane.ts';

const outcomes = ['taken', 'rejected', 'later', 'unknown'] as const satisfies readonly SendOutcome[];
const breakerStates = { closed: 0, half_open: 1, open: 2 } as const satisfies Record<BreakerState, number>;

/** `operator`: operatorNames(). */
export const operatorMetrics = (operator: readonly string[]) =>
  defineMetrics({
    ringmain_sms_operator_calls_total: counter({
      help: 'Messages given to an operator, by what it did. later: it has not taken them; unknown: nobody knows.',
      labels: { operator, outcome: outcomes },
    }),
    ringmain_sms_operator_call_seconds: histogram({
      help: 'Time from giving a message to an operator to its answer.',
      labels: { operator },
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    }),
    ringmain_sms_operator_in_flight: gauge({ help: 'Messages under way at an operator.', labels: { operator } }),
    ringmain_sms_operator_up: gauge({
      help: '1: the operator is called. 0: its breaker is open, or it is not connected.',
      labels: { operator },
      threads: 'max',
    }),
    ringmain_sms_operator_breaker_state: gauge({
      help: '0: closed. 1: a trial is made. 2: open.',
      labels: { operator },
      threads: 'max',
    }),
    ringmain_sms_receipts_stray_total: counter({
      help: "Receipts of an operator's connection that name no message of ours, or that cannot be read.",
      labels: { operator },
    }),
  });

export type OperatorMeters = Meters<ReturnType<typeof operatorMetrics>>;

/** Puts how operators stand on the board. */
export function putStandings(meters: OperatorMeters, operators: readonly Standing[]): void {
  for (const { name: operator, busy, breaker, ...rest } of operators.map(standing)) {
    meters.ringmain_sms_operator_in_flight.at({ operator }).set(busy);
    meters.ringmain_sms_operator_up.at({ operator }).set(rest.up ? 1 : 0);
    meters.ringmain_sms_operator_breaker_state.at({ operator }).set(breakerStates[breaker]);
  }
}

const standing = (operator: Standing) => ({
  name: operator.name,
  busy: operator.busy,
  breaker: operator.breaker,
  up: operator.state() === 'up',
});
