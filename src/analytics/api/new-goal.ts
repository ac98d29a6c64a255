/** A goal from the body of a request. Throws BAD_PARAMETER. */
import { badGoal, goalKinds } from '../access/goals.ts';
import { wrong } from '../query/parameter.ts';
import type { NewGoal } from './contract.ts';

export function newGoalFrom(body: unknown): Required<NewGoal> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw wrong('body', 'be an object with kind, match and name', JSON.stringify(body));
  const found = body as Readonly<Record<string, unknown>>;
  const kind = goalKinds.find((one) => one === found['kind']);
  if (kind === undefined) throw wrong('kind', `be one of ${goalKinds.join(', ')}`, shown(found['kind']));
  const { match, name = match } = found;
  if (typeof match !== 'string') throw wrong('match', 'be a text', shown(match));
  if (typeof name !== 'string') throw wrong('name', 'be a text', shown(name));
  const goal = { kind, match, name };
  const bad = badGoal(goal);
  if (bad !== undefined) throw wrong(bad[0], bad[1], found[bad[0]] === undefined ? match : shown(found[bad[0]]));
  return goal;
}

const shown = (value: unknown): string | undefined => (typeof value === 'string' ? value : JSON.stringify(value));
