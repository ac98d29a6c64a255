/**
 * Dimensions and filters of the API, as the words of a request and as what the engine of queries takes. The API has two
 * kinds that the engine does not have by these names: `goal`, and properties (`prop:EVENT:KEY`).
 */
import { propPrefix } from '../columns/filter.ts';
import type { Narrow } from '../query/breakdown.ts';
import { wrong } from '../query/parameter.ts';
import {
  type AskedDimension,
  type Filter as AskedFilter,
  askedDimensions,
  type Condition,
  type Metric,
  metricsOf,
} from '../query/types.ts';
import type { BreakdownMetric, Filter, Goal, GoalKind } from './contract.ts';

export const plainDimensions = askedDimensions.filter((name) => name !== 'prop');

/** Shown where somebody asks for another. */
export const dimensionsText = `be one of ${plainDimensions.join(', ')}, goal, prop:EVENT, prop:EVENT:KEY`;

export type Target =
  | { readonly kind: 'plain'; readonly dimension: Exclude<AskedDimension, 'prop'> }
  | { readonly kind: 'goal' }
  | { readonly kind: 'keys'; readonly eventType: string }
  | { readonly kind: 'prop'; readonly eventType: string; readonly key: string };

/** What a word means; undefined: it is no dimension. */
export function targetOf(word: string): Target | undefined {
  if (word === 'goal') return { kind: 'goal' };
  const plain = plainDimensions.find((name) => name === word);
  if (plain !== undefined) return { kind: 'plain', dimension: plain as Exclude<AskedDimension, 'prop'> };
  const [lead, eventType, key, more] = word.split(':');
  if (lead !== 'prop' || !eventType || key === '' || more !== undefined) return undefined;
  try {
    const type = decodeURIComponent(eventType);
    return key === undefined
      ? { kind: 'keys', eventType: type }
      : { kind: 'prop', eventType: type, key: decodeURIComponent(key) };
  } catch {
    return undefined;
  }
}

/** Columns of its breakdown. */
export function columnsOf(target: Target): readonly BreakdownMetric[] {
  if (target.kind === 'goal') return ['visitors', 'conversions', 'conversion_rate'];
  if (target.kind === 'keys') return ['events'];
  return metricsOf(target.kind === 'prop' ? 'prop' : target.dimension);
}

/** What its rows may be ordered by. */
export function ordersOf(target: Target): readonly Metric[] {
  return columnsOf(target).filter((name): name is Metric => name !== 'conversions' && name !== 'conversion_rate');
}

/** Values of `prop` that are of the target, and what they contain. */
export function narrowOf(target: Target, search: string): Narrow | undefined {
  if (target.kind !== 'keys' && target.kind !== 'prop') return search === '' ? undefined : { search };
  const prefix = target.kind === 'keys' ? propPrefix(target.eventType) : propPrefix(target.eventType, target.key);
  // Texts stand there as JSON has them.
  return { prefix, search: JSON.stringify(search).slice(1, -1) };
}

/** The filters of a question for the engine. `goals`: those of the site. */
export function engineFilters(filters: readonly Filter[], goals: readonly Goal[]): Condition[] {
  return filters.map((filter) => engineFilter(filter, goals));
}

function engineFilter(filter: Filter, goals: readonly Goal[]): Condition {
  const [op, word, values] = filter;
  const target = targetOf(word)!;
  switch (target.kind) {
    case 'plain':
      return { op, dimension: target.dimension, values };
    case 'prop':
      return { op, dimension: 'prop', values, within: [target.eventType, target.key] };
    case 'goal':
      return goalFilter(filter, goals);
    case 'keys':
      throw new TypeError('parameters let nobody filter by keys');
  }
}

/** Which event types are meant, and which pages: any of them, or none. */
function goalFilter([op, , names]: Filter, goals: readonly Goal[]): Condition {
  const named = names.map((name) => {
    const goal = goals.find((one) => one.name === name);
    if (goal !== undefined) return goal;
    const have = goals.length === 0 ? 'it has none' : `it has ${goals.map((one) => one.name).join(', ')}`;
    throw wrong('filters', `name goals of the site: ${have}`, name);
  });
  const matchesOf = (kind: GoalKind) => named.filter((goal) => goal.kind === kind).map(({ match }) => match);
  const parts = [
    { op, dimension: 'event_type', values: matchesOf('event') },
    { op: op === 'is' ? 'matches' : 'matches_not', dimension: 'path', values: matchesOf('path') },
  ] as const satisfies readonly AskedFilter[];
  const of = parts.filter(({ values }) => values.length > 0);
  return of.length === 1 ? of[0]! : { op: op === 'is' ? 'any' : 'all', of };
}

/** The filter that a goal is: who passes it has reached it. */
export function filterOfGoal({ kind, match }: Goal): AskedFilter {
  return kind === 'event'
    ? { op: 'is', dimension: 'event_type', values: [match] }
    : { op: 'matches', dimension: 'path', values: [match] };
}
