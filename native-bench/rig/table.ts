/** The columns that tables of rounds share. */
import type { Bar } from './plot.ts';
import type { Goal, Table } from './report.ts';
import { column, type Figure, met, type Results, type Round, spreadOf, voidReason } from './rounds.ts';
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

const isFixed = (rounds: readonly Round[]): boolean => rounds.some((round) => Number.isNaN(round.machineUsPerEvent));

/** The rows that measured the subject: the others are only counted. */
export function printed(results: Results): [string, readonly Round[]][] {
  for (const [name, rounds] of results) if (rounds.length === 0) met.rows.add(name);
  return [...results].filter(([, rounds]) => rounds.length > 0);
}

/** CPU, without latencies: a closed loop sends nothing while it waits, and forgets the stalls. */
export function roundsTable(results: Results, { title, baseline, remarks = {} }: RowsOptions = {}): Table {
  const base = baseline === undefined ? undefined : results.get(baseline);
  const rows = printed(results).map(([name, rounds]) => {
    const reason = voidReason(rounds);
    const label = remarks[name] ? `${name} (${remarks[name]})` : name;
    if (reason !== undefined) return [label, `void: ${reason}`, ...Array<string>(base ? 5 : 4).fill('')];
    return [
      label,
      withSpread(spreadOf(rounds, 'cpuUsPerEvent')),
      ...(base ? [voidReason(base) === undefined ? withSpread(ratioOf(rounds, base)) : ''] : []),
      isFixed(rounds) ? '' : us(median(column(rounds, 'machineUsPerEvent'))),
      withSpread(spreadOf(rounds, 'eventsPerSecond'), count),
      rounds[0]!.rssMiB.toFixed(0),
    ];
  });
  const head = [
    'subject',
    'CPU us/event, median (min..max)',
    ...(base ? [`x ${baseline}`] : []),
    'machine us/event',
    'events/s',
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

interface GoalOptions {
  readonly bound?: Goal['bound'];
  readonly headline?: true;
}

/** A goal on the ratio of two rows; void rows make a void goal, never a reached one. No limit: the ratio is only shown. */
export function ratioGoal(
  goal: string,
  limit: number | undefined,
  results: Results,
  ours: string,
  theirs: string,
  { figure = 'cpuUsPerEvent', bound = 'most', headline }: GoalOptions & { figure?: Figure } = {},
): Goal {
  const [a, b] = [results.get(ours) ?? [], results.get(theirs) ?? []];
  const isVoid = voidReason(a) !== undefined || voidReason(b) !== undefined;
  const ratios = pairedRatios(column(a, figure), column(b, figure));
  const interval = medianInterval(ratios, 0.95);
  return {
    goal,
    ...(limit === undefined ? {} : { limit }),
    value: isVoid ? Number.NaN : median(ratios),
    unit: `x ${theirs}`,
    bound,
    ...(headline ? { headline } : {}),
    ...(interval ? { spread: `95 %: ${interval.low.toFixed(2)}..${interval.high.toFixed(2)}` } : {}),
  };
}

/** A goal on a figure of one row. */
export function valueGoal(
  goal: string,
  limit: number | undefined,
  unit: string,
  rounds: readonly Round[] | undefined,
  figure: Figure,
  { bound = 'most', headline }: GoalOptions = {},
): Goal {
  const isVoid = rounds === undefined || voidReason(rounds) !== undefined;
  const s = spread(isVoid ? [] : column(rounds, figure));
  const text = (value: number): string => (unit.endsWith('/s') ? count(value) : us(value));
  return {
    goal,
    ...(limit === undefined ? {} : { limit }),
    value: s.median,
    unit,
    bound,
    ...(isVoid ? {} : { spread: `${text(s.min)}..${text(s.max)}` }),
    ...(headline ? { headline } : {}),
  };
}

export const rawOf = (results: Results): Record<string, readonly Round[]> => Object.fromEntries(results);
