/** Intake metrics of analytics: those of the room collect/, for all three ways in. */
import { collectRouteNames, type IntakeMetrics, intakeMetrics, mendedKeys } from '../../collect/metrics.ts';
import { visitorMetrics } from '../../visitor/metrics.ts';
import { eventKeys } from '../event.ts';

/** Names of the routes, for the role's list. */
export const intakeRouteNames = ['events', ...collectRouteNames] as const;

/** Declared by the role, and given to each of its intake routes. */
export const analyticsIntakeMetrics: IntakeMetrics = intakeMetrics(intakeRouteNames, [
  ...new Set<string>([...mendedKeys, ...eventKeys]),
]);

/** The metric sets that a role with these routes declares. */
export const intakeMetricSets = [analyticsIntakeMetrics, visitorMetrics] as const;
