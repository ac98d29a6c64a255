/**
 * Metrics of the gateway: requests by route and outcome, their time and bytes, answers by backend. No label comes from
 * a client, and none names a user.
 */
import {
  type CounterCell,
  counter,
  defineMetrics,
  gauge,
  type HistogramCell,
  histogram,
  type Meters,
} from '../kernel/metrics.ts';
import { gatewayRouteNames } from './route-names.ts';

/** Refusals of the pipeline. */
export const refusals = [
  'no_room',
  'foreign_origin',
  'no_key',
  'bad_key',
  'expired_key',
  'inactive_user',
  'scope',
  'network',
  'limited',
  'quota',
] as const;
/** How requests end. A handler's own name for it must be one of these; others count as `other`. */
export const outcomes = [
  ...refusals,
  // Of the routes.
  'ok',
  'hit',
  'miss',
  'stale',
  'revalidated',
  'coalesced',
  'source',
  'refused',
  'failed',
  'too_slow',
  'gone',
  'other',
] as const;
export type Outcome = (typeof outcomes)[number];

/** Backends have small numbers; those beyond count as `other`. */
const BACKENDS_NAMED = 32;
export const backendLabels = [...Array.from({ length: BACKENDS_NAMED }, (_, i) => String(i + 1)), 'other'];
export const backendLabel = (id: number): string => (id >= 1 && id <= BACKENDS_NAMED ? String(id) : 'other');
const answerClasses = ['2xx', '3xx', '4xx', '5xx', 'gone'] as const;

export const frontMetrics = defineMetrics({
  ringmain_gateway_requests_total: counter({
    help: 'Requests by route and by how they ended.',
    labels: { route: gatewayRouteNames, outcome: outcomes },
  }),
  ringmain_gateway_request_seconds: histogram({
    help: 'Time from the head of a request to the end of its answer, by route; refusals of the pipeline are left out.',
    labels: { route: gatewayRouteNames },
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  }),
  ringmain_gateway_received_bytes_total: counter({
    help: "Bytes of requests' bodies, by route.",
    labels: { route: gatewayRouteNames },
  }),
  ringmain_gateway_sent_bytes_total: counter({
    help: "Bytes of answers' bodies, by route.",
    labels: { route: gatewayRouteNames },
  }),
  ringmain_gateway_backend_answers_total: counter({
    help: 'Answers that came from a backend, by its id and their class of status.',
    labels: { backend: backendLabels, status: answerClasses },
  }),
  ringmain_gateway_records_waiting: gauge({ help: 'Records of requests that wait for room in the journal.' }),
  ringmain_gateway_records_lost_total: counter({
    help: 'Requests that were served and could not be recorded: the journal was full for longer than the queue lasts.',
    told: { level: 'error', sentence: 'requests were served that are counted nowhere: the journal has no room' },
  }),
});

/** Of the worker that watches the partitions of request_logs. */
export const logMetrics = defineMetrics({
  ringmain_gateway_partitions_missing: gauge({
    help: 'Partitions of request_logs of this month and the next that are not there.',
    threads: 'max',
  }),
  ringmain_gateway_default_partition_rows: gauge({
    help:
      'Rows in request_logs_default that belong to a month of at most ten years ago: they should be moved to a ' +
      'partition of their own. Counted up to 10,000.',
    threads: 'max',
  }),
});
type FrontMeters = Meters<typeof frontMetrics>;

/** The cells of one route, each looked up once. */
export class RouteMeters {
  readonly #byOutcome: ReadonlyMap<string, CounterCell>;
  readonly #other: CounterCell;
  readonly #seconds: HistogramCell;
  readonly #received: CounterCell;
  readonly #sent: CounterCell;

  constructor(meters: FrontMeters, route: (typeof gatewayRouteNames)[number]) {
    const requests = meters.ringmain_gateway_requests_total;
    this.#byOutcome = new Map(outcomes.map((outcome) => [outcome, requests.at({ route, outcome })]));
    this.#other = requests.at({ route, outcome: 'other' });
    this.#seconds = meters.ringmain_gateway_request_seconds.at({ route });
    this.#received = meters.ringmain_gateway_received_bytes_total.at({ route });
    this.#sent = meters.ringmain_gateway_sent_bytes_total.at({ route });
  }

  /** `ms`: undefined for a refusal. */
  count(outcome: string, ms: number | undefined, bytesIn: number, bytesOut: number): void {
    (this.#byOutcome.get(outcome) ?? this.#other).add(1);
    if (ms !== undefined) this.#seconds.observe(ms / 1000);
    if (bytesIn > 0) this.#received.add(bytesIn);
    if (bytesOut > 0) this.#sent.add(bytesOut);
  }
}

/** Answers by backend. */
export class BackendMeters {
  readonly #cells: readonly (readonly CounterCell[])[];

  constructor(meters: FrontMeters) {
    const answers = meters.ringmain_gateway_backend_answers_total;
    this.#cells = backendLabels.map((backend) => answerClasses.map((status) => answers.at({ backend, status })));
  }

  count(backendId: number, status: number): void {
    const cells = this.#cells[backendId >= 1 && backendId <= BACKENDS_NAMED ? backendId - 1 : BACKENDS_NAMED]!;
    const at = status === CLIENT_GONE ? answerClasses.length - 1 : Math.max(0, Math.floor(status / 100) - 2);
    cells[Math.min(at, answerClasses.length - 1)]!.add(1);
  }
}

/** Status in the log of a request whose client went away before its answer (as nginx has it). */
export const CLIENT_GONE = 499;
