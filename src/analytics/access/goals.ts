/** Goals of sites: what the API and `ringmain site goal` do to the table. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { limits } from '../event.ts';

export const goalKinds = ['event', 'path'] as const;
export type GoalKind = (typeof goalKinds)[number];

export interface GoalRow {
  readonly id: number;
  readonly kind: GoalKind;
  readonly match: string;
  readonly name: string;
}

/** Each costs a look at the sums of its own, patterns one at all events. */
export const GOALS_MAX = 100;
export const GOAL_NAME_MAX = 100;

/** What must hold of a goal, and does not; undefined: all is well. */
export function badGoal({ kind, match, name }: Omit<GoalRow, 'id'>): readonly [key: string, must: string] | undefined {
  const most = kind === 'event' ? limits.eventType : limits.text;
  const isText = (text: string, max: number): boolean =>
    text !== '' && text.length <= max && !text.includes('\0') && text.isWellFormed();
  if (!isText(match, most)) return ['match', `be a text of 1 to ${most} characters`];
  if (kind === 'path' && !match.startsWith('/') && !match.startsWith('*'))
    return ['match', 'be a path that begins with / or a pattern that begins with *'];
  if (!isText(name, GOAL_NAME_MAX)) return ['name', `be a text of 1 to ${GOAL_NAME_MAX} characters`];
  return undefined;
}

/** Adds a goal, or gives back the one of this name when it is the same; `must`: what its name does not hold. */
export async function addGoal(
  link: PostgresLink,
  site: number,
  goal: Omit<GoalRow, 'id'>,
): Promise<GoalRow | { readonly must: string }> {
  const { rows } = await link.query<{ id: number | null; known: number | null; goals: number }>(
    `WITH had AS (SELECT goal, name, kind, match FROM goals WHERE site = $1::int),
       made AS (INSERT INTO goals (site, kind, match, name)
         SELECT $1::int, $2::text, $3::text, $4::text WHERE (SELECT count(*) FROM had) < ${GOALS_MAX}
         ON CONFLICT DO NOTHING RETURNING goal)
     SELECT (SELECT goal FROM made) AS id, (SELECT goal FROM had WHERE name = $4 AND kind = $2 AND match = $3) AS known,
       (SELECT count(*)::int FROM had) AS goals`,
    [site, goal.kind, goal.match, goal.name],
  );
  const { id, known, goals } = rows[0]!;
  const found = known ?? id;
  if (found !== null) return { id: found, ...goal };
  return { must: goals >= GOALS_MAX ? `be one of at most ${GOALS_MAX}` : 'be the name of no other goal of the site' };
}

/** False: the site has no such goal. */
export async function removeGoal(link: PostgresLink, site: number, id: number): Promise<boolean> {
  const { rows } = await link.query('DELETE FROM goals WHERE site = $1 AND goal = $2 RETURNING goal', [site, id]);
  return rows.length > 0;
}

export async function listGoals(link: PostgresLink, site: number): Promise<readonly GoalRow[]> {
  const { rows } = await link.query<GoalRow & { readonly [column: string]: unknown }>(
    'SELECT goal AS id, kind, match, name FROM goals WHERE site = $1 ORDER BY goal',
    [site],
  );
  return rows;
}
