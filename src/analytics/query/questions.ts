/**
 * Questions: what routes ask the worker `query`, as plain data, and how they are read from the query of a request.
 */
import type { ApiQuestion } from '../api/questions.ts';
import { checkSiteId, dayFrom, type Parameter, timeZoneFrom, wrong } from './parameter.ts';
import type { ReconcileQuestion } from './reconcile.ts';
import type { StatsQuestion } from './stats.ts';

/** Longer than a statement may run (database.ts), and shorter than a reply may take. */
export const ASK_MS_MAX = 9500;

/** Each is answered with what the function of its name returns. */
export type Question =
  | ({ readonly name: 'stats' } & StatsQuestion)
  | ({ readonly name: 'reconcile' } & ReconcileQuestion)
  | ApiQuestion;

/** Reads the question of GET /stats. Throws BAD_PARAMETER. */
export function statsQuestion(parameter: Parameter): StatsQuestion {
  return {
    siteId: checkSiteId(parameter('site_id')),
    day: dayFrom(parameter, 'date'),
    timeZone: timeZoneFrom(parameter) ?? 'UTC',
  };
}

/** Reads the question of GET /reconcile. Throws BAD_PARAMETER. */
export function reconcileQuestion(parameter: Parameter): ReconcileQuestion {
  const question = { siteId: checkSiteId(parameter('site_id')), day: dayFrom(parameter, 'date') };
  const zone = parameter('tz');
  if (zone !== undefined && zone !== 'UTC')
    throw wrong('tz', 'be UTC or left out, because books are kept by UTC hours of receipt', zone);
  return question;
}
