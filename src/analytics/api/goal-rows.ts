/**
 * Goals in numbers: who reached each goal of a site, how often, and which share of all visitors that is. Events and
 * plain paths come from one breakdown each; a pattern is a question of its own, for its pages share visitors.
 */
import { breakdown } from '../query/breakdown.ts';
import { summary } from '../query/summary.ts';
import { exact, LIMIT_MAX, type Measured } from '../query/types.ts';
import type { BreakdownRow, Goal } from './contract.ts';
import { filterOfGoal } from './dimension.ts';
import type { View } from './panels.ts';

export interface GoalRow {
  readonly row: BreakdownRow;
  readonly measured: Measured;
}

const nothing: Measured = {
  visitors: 0,
  visits: 0,
  views: 0,
  bounces: 0,
  durationMs: 0,
  events: 0,
  engagedMs: 0,
  certainty: exact,
};

const isPattern = ({ kind, match }: Goal): boolean => kind === 'path' && match.includes('*');

/** In the order of their visitors. */
export async function goalRows(view: View, all: Pick<Measured, 'visitors'>): Promise<readonly GoalRow[]> {
  const { goals } = view;
  const plain = goals.filter((goal) => !isPattern(goal));
  const found = new Map<Goal, Measured>();
  for (const kind of ['event', 'path'] as const) {
    const some = plain.filter((goal) => goal.kind === kind);
    const sums = await sumsOf(view, kind === 'event' ? 'event_type' : 'path', some);
    for (const goal of some) found.set(goal, sums.get(goal.match) ?? nothing);
  }
  for (const goal of goals.filter(isPattern)) {
    const { snapshot, site, windows, filters, scan } = view;
    found.set(goal, await summary(snapshot, site.site, windows.now.range, [...filters, filterOfGoal(goal)], scan));
  }
  return [...found]
    .map(([goal, measured]) => ({ measured, row: rowOf(goal, measured, all) }))
    .sort((a, b) => b.measured.visitors - a.measured.visitors || (a.row.value < b.row.value ? -1 : 1));
}

async function sumsOf(
  { snapshot, site, windows, filters, scan }: View,
  dimension: 'event_type' | 'path',
  goals: readonly Goal[],
): Promise<ReadonlyMap<string, Measured>> {
  if (goals.length === 0) return new Map();
  const only = goals.map(({ match }) => match);
  const order = { metric: 'events', descending: true } as const;
  const question = { dimension, order, limit: LIMIT_MAX, offset: 0, filters, narrow: { only } };
  const { values } = await breakdown(snapshot, site.site, windows.now.range, question, scan);
  return new Map(values.map((value) => [value.text, value]));
}

/** An event is a conversion each time; of a page, each view is. */
function rowOf({ kind, name }: Goal, sums: Measured, all: Pick<Measured, 'visitors'>): BreakdownRow {
  const rate = all.visitors === 0 ? null : Math.min(1, sums.visitors / all.visitors);
  return {
    value: name,
    visitors: sums.visitors,
    conversions: kind === 'event' ? sums.events : sums.views,
    conversion_rate: rate ?? 0,
    share: rate,
    error: sums.certainty.kind === 'estimate' ? sums.certainty.error : null,
  };
}
