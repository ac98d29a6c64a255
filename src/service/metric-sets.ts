/** Metric sets: everything that the threads of a process count, as one list that main and each thread make alike. */
import { sinkMetrics } from '../delivery/metrics.ts';
import { keeperMetrics } from '../engine/metrics.ts';
import { counter, defineMetrics, gauge, histogram, loopMetrics, type MetricSet } from '../kernel/metrics.ts';
import type { Role } from './contract.ts';
import { jobMetrics } from './job-metrics.ts';
import { frameMetrics } from './metrics.ts';
import type { FrameValues } from './values.ts';

export const acceptorMetrics = defineMetrics({
  ringmain_journal_write_seconds: histogram({
    help: 'Time of one write of an acceptor to its segment, every 16th measured.',
    buckets: [0.000_002, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.0001, 0.001, 0.01, 0.1, 1],
  }),
  ringmain_defer_pipeliners_total: counter({
    help: 'How often a client that pipelines switched an acceptor to in-handler answers.',
  }),
  ringmain_gathering: gauge({ help: 'Acceptors that gather the requests of a loop iteration now.' }),
  ringmain_sync_waiting: gauge({ help: 'Answers that wait for a sync.' }),
});

/** Name of the route that serves the files of a front end. */
export const WEB_ROUTE = 'web';

/** Names of the roles' routes: labels of the frame's metrics. */
export const routesOf = (roles: readonly Role[]): readonly string[] => [
  ...new Set(roles.flatMap(({ routes = [], web }) => (web === undefined ? routes : [...routes, WEB_ROUTE]))),
];

/** The sets of a process with these roles, outputs and options, in the order of /metrics. */
export function metricSets(
  roles: readonly Role[],
  outputs: readonly string[],
  values: FrameValues,
): readonly MetricSet[] {
  const all = roles.flatMap((role) => [...(role.metrics ?? []), ...(role.metricsOf?.(values) ?? [])]);
  // Two roles of a process may have the same set.
  const own = new Map(all.map((set) => [set.fingerprint, set])).values();
  const jobs = roles.flatMap((role) => role.jobs?.names ?? []);
  return [
    frameMetrics(routesOf(roles)),
    ...own,
    ...(jobs.length > 0 ? [jobMetrics(jobs)] : []),
    ...(outputs.length > 0 ? [sinkMetrics(outputs)] : []),
    keeperMetrics,
    acceptorMetrics,
    loopMetrics,
  ] as readonly MetricSet[];
}
