/**
 * Errors of analytics: sites and who may send or read what of them; what may be wrong with a question, and why none is
 * answered at the moment.
 */
import { answer, defineErrors, exitCodes, inside } from '../kernel/errors.ts';

interface Site {
  readonly site: string;
}

export const analyticsErrors = defineErrors('analytics', {
  SITE_UNKNOWN: answer(
    403,
    false,
    'The site is not registered',
    (f: Site) => `the site must be registered, since others are: site=${f.site}`,
  ),
  SITE_ORIGIN: answer(
    403,
    false,
    'The page may not send events of this site',
    (f: Site & { origin: string }) =>
      `origin must be one of those of the site, or a key be given: site=${f.site}, origin=${f.origin}`,
  ),
  SITE_REFUSED: inside(false, 'A change of a site was refused', (f: { reason: string }) => f.reason, exitCodes.failed),
  NO_SITE: answer(
    404,
    false,
    'There is no such site',
    (f: Site) => `the site must be registered or have an event: site=${f.site}`,
  ),
  NO_GOAL: answer(
    404,
    false,
    'There is no such goal',
    (f: Site & { goal: string }) => `site=${f.site}, goal=${f.goal}`,
  ),
  USER_REFUSED: inside(false, 'A change of a user was refused', (f: { reason: string }) => f.reason, exitCodes.failed),
  CHANGE_REFUSED: answer(409, false, 'The change was refused', (f: { reason: string }) => f.reason),
  BAD_PARAMETER: answer(
    400,
    false,
    'A parameter of the request is missing or not valid',
    (f: { parameter: string; must: string; found: string | undefined }) =>
      `${f.parameter} must ${f.must}: found=${f.found ?? 'nothing'}`,
  ),
  STORE_AWAY: answer(
    503,
    true,
    'The database of this server cannot be reached',
    () => 'events are taken in meanwhile; ask again in a moment',
  ),
  QUERY_TOO_SLOW: answer(
    503,
    true,
    'The answer takes too long to work out',
    (f: { limitMs: number }) => `no answer within the limit: limitMs=${f.limitMs}; a shorter range takes less time`,
  ),
});
