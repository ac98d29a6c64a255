/**
 * Changes that the API makes: a site's time zone, and its goals. Each is a short transaction on a session of its own.
 */
import { shown } from '../../http/answer.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import { addGoal, removeGoal } from '../access/goals.ts';
import { analyticsErrors } from '../errors.ts';
import { wrong } from '../query/parameter.ts';
import type { Change } from './questions.ts';

const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 5000;

export async function change(dsn: string, question: Change): Promise<unknown> {
  let link: PostgresLink | undefined;
  try {
    link = await openLink(dsn, {
      applicationName: 'ringmain-analytics-api',
      connectTimeoutMs: CONNECT_MS_MAX,
      queryTimeoutMs: QUERY_MS_MAX,
      settings: passing,
    });
    return await apply(link, question);
  } catch (error) {
    if (link === undefined || link.broken !== undefined) throw analyticsErrors.STORE_AWAY({}, error);
    throw error;
  } finally {
    await link?.close();
  }
}

async function apply(link: PostgresLink, question: Change): Promise<unknown> {
  const { rows } = await link.query<{ site: number }>('SELECT site FROM site_names WHERE site_id = $1', [
    question.siteId,
  ]);
  const site = rows[0]?.site;
  if (site === undefined) throw analyticsErrors.NO_SITE({ site: shown(question.siteId) });
  switch (question.name) {
    case 'change_site':
      await link.query('UPDATE sites SET time_zone = $2 WHERE site = $1', [site, question.timeZone]);
      return undefined;
    case 'add_goal': {
      const made = await addGoal(link, site, question.goal);
      if ('must' in made) throw wrong('name', made.must, question.goal.name);
      return made;
    }
    case 'remove_goal':
      if (!(await removeGoal(link, site, question.id)))
        throw analyticsErrors.NO_GOAL({ site: shown(question.siteId), goal: String(question.id) });
      return undefined;
  }
}
