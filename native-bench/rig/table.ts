/** The columns that tables of rounds share. */
import type { Bar } from './plot.ts';
import type { Goal, Table } from './report.ts';
import { column, type Figure, type Results, type Round, spreadOf, voidReason } from './rounds.ts';
import { median, medianInterval, pairedRatios, type Spread, spread } from './stats.ts';

export const us = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2));
export const count = (value: number): string => Math.round(value).toLocaleString('en');
export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
export const withSpread = (s: Spread, text: (value: number) => string = us): string =>
  Number.isNaN(s.median) ? 'void' : `${text(s.median)} (${text(s.min)}..${text(s.max)})`;

/** The ratio of two rows, round by round. */
export function ratioOf(ours: readonly Round[], theirs: readonly Round[], figure: Figure = 'cpuUsPerEvent'): Spread {
  if (voidReason(ours) !== undefined || voidReason(theirs) !== undefined) return spread([]);
  return spread(pairedRatios(column(ours, figure), column(theirs, figure)));
}

export interface RowsOptions {
  readonly title?: string;
  /** The row that the ratios are taken against. */
  readonly baseline?: string;
  readonly remarks?: Readonly<Record<string, string>>;
}

const fixed = (rounds: readonly Round[]): boolean => rounds.some((round) => Number.isNaN(round.machineUsPerEvent));

export function roundsTable(results: Results, { title, baseline, remarks = {} }: RowsOptions = {}): Table {
  const base = baseline === undefined ? undefined : results.get(baseline);
  const rows = [...results].map(([name, rounds]) => {
    const reason = voidReason(rounds);
    const label = remarks[name] ? `${name} (${remarks[name]})` : name;
    if (reason !== undefined) return [label, `void: ${reason}`, ...Array<string>(base ? 7 : 6).fill('')];
    return [
      label,
      withSpread(spreadOf(rounds, 'cpuUsPerEvent')),
      ...(base ? [voidReason(base) === undefined ? withSpread(ratioOf(rounds, base)) : ''] : []),
      fixed(rounds) ? '' : us(median(column(rounds, 'machineUsPerEvent'))),
      withSpread(spreadOf(rounds, 'eventsPerSecond'), count),
      count(median(column(rounds, 'p50Us'))),
      count(median(column(rounds, 'p99Us'))),
      rounds[0]!.rssMiB.toFixed(0),
    ];
  });
  const head = [
    'subject',
    'CPU us/event, median (min..max)',
    ...(base ? [`x ${baseline}`] : []),
    'machine us/event',
    'events/s',
    'p50 us',
    'p99 us',
    'RSS MiB',
  ];
  return { ...(title ? { title } : {}), head, rows };
}

export function cpuBars(results: Results): Bar[] {
  return [...results]
    .filter(([, rounds]) => voidReason(rounds) === undefined)
    .map(([label, rounds]) => {
      const { median: value, min, max } = spreadOf(rounds, 'cpuUsPerEvent');
      return { label, value, min, max, ours: label.startsWith('ringmain') };
    });
}

/** A goal on the ratio of two rows; void rows make a void goal, never a reached one. No limit: the ratio is only shown. */
export function ratioGoal(
  goal: string,
  limit: number | undefined,
  results: Results,
  ours: string,
  theirs: string,
  { figure = 'cpuUsPerEvent', bound = 'most' }: { figure?: Figure; bound?: Goal['bound'] } = {},
): Goal {
  const [a, b] = [results.get(ours) ?? [], results.get(theirs) ?? []];
  const isVoid = voidReason(a) !== undefined || voidReason(b) !== undefined || a.length === 0 || b.length === 0;
  const ratios = pairedRatios(column(a, figure), column(b, figure));
  const interval = medianInterval(ratios, 0.95);
  return {
    goal,
    ...(limit === undefined ? {} : { limit }),
    value: isVoid ? Number.NaN : median(ratios),
    unit: `x ${theirs}`,
    bound,
    ...(interval ? { spread: `95 %: ${interval.low.toFixed(2)}..${interval.high.toFixed(2)}` } : {}),
  };
}

export function valueGoal(
  goal: string,
  bound: Goal['bound'],
  limit: number | undefined,
  unit: string,
  rounds: readonly Round[] | undefined,
  figure: Figure,
): Goal {
  const isVoid = rounds === undefined || rounds.length === 0 || voidReason(rounds) !== undefined;
  const s = spread(isVoid ? [] : column(rounds, figure));
  const text = { goal, unit, bound, value: s.median, ...(isVoid ? {} : { spread: `${us(s.min)}..${us(s.max)}` }) };
  return limit === undefined ? text : { ...text, limit };
}

export const rawOf = (results: Results): Record<string, readonly Round[]> => Object.fromEntries(results);
