/**
 * Writes what was measured: a table between two markers of RESULTS.md, its plot under native-bench/plots/, every round as JSON under
 * native-bench/results/ (not in git), and the rows of the question in the table of goals there and in the dozen rows of PERFORMANCE.md.
 * A run of some questions replaces only what these have written. The text around the markers is written by people and left alone.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Goal {
  readonly goal: string;
  /** Absent: issue and design name no limit; the figure is shown because somebody will ask for it. */
  readonly limit?: number;
  readonly value: number;
  readonly unit: string;
  /** Spread of the value over the rounds, as text. */
  readonly spread?: string;
  /** 'most': the value must not exceed the limit; 'least': it must reach it. */
  readonly bound: 'most' | 'least';
  /** One of the dozen rows of PERFORMANCE.md. */
  readonly headline?: true;
}

export interface Table {
  readonly title?: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Plot {
  readonly name: string;
  readonly alt: string;
  readonly svg: string;
}

export interface Answer {
  readonly tables: readonly Table[];
  readonly notes?: readonly string[];
  readonly plots?: readonly Plot[];
  readonly goals?: readonly Goal[];
  /** What took part besides what every table names: 'Kafka 4.1.0'. */
  readonly versions?: readonly string[];
  /** Everything measured, round by round. */
  readonly raw: unknown;
}

export function markdownTable({ title, head, rows }: Table): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const ruler = head.map((_, column) =>
    rows.some((row) => /^[\d*~<>-]/.test(row[column] ?? '')) && column > 0 ? '--:' : '---',
  );
  return [...(title ? [`**${title}**`, ''] : []), line(head), line(ruler), ...rows.map(line)].join('\n');
}

/** What stands between the markers of `name`. */
export function between(text: string, name: string): string {
  const open = `<!-- bench:${name} -->`;
  return text.slice(text.indexOf(open) + open.length, text.indexOf(`<!-- /bench:${name} -->`)).trim();
}

/** Replaces what stands between the markers of `name`; the markers must be there, a table does not choose its place. */
export function replaceBetween(text: string, name: string, content: string): string {
  const open = `<!-- bench:${name} -->`;
  const close = `<!-- /bench:${name} -->`;
  const from = text.indexOf(open);
  const to = text.indexOf(close, from);
  if (from === -1 || to === -1) throw new Error(`the page must hold the markers: name=${name}`);
  return `${text.slice(0, from + open.length)}\n${content}\n${text.slice(to)}`;
}

export function isReached({ bound, limit, value }: Goal): boolean {
  if (limit === undefined) return !Number.isNaN(value);
  return bound === 'most' ? value <= limit : value >= limit;
}

/** `page`: where the tables are, from the page that holds the row. */
export function goalRow(goal: Goal, source: string, page = ''): string[] {
  const number = (value: number): string =>
    value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
  const verdict = goal.limit === undefined ? 'shown' : isReached(goal) ? 'reached' : '**missed**';
  const isVoid = Number.isNaN(goal.value);
  return [
    goal.goal,
    goal.limit === undefined ? 'none set' : `${goal.bound === 'most' ? '<=' : '>='} ${number(goal.limit)} ${goal.unit}`,
    isVoid ? 'void' : `${number(goal.value)} ${goal.unit}${goal.spread ? ` (${goal.spread})` : ''}`,
    isVoid ? '**void**' : verdict,
    `[${source}](${page}#${source})`,
  ];
}

export function render(asks: string, answer: Answer, surroundings: string): string {
  return [
    ...answer.tables.map((table) => `${markdownTable(table)}\n`),
    ...(answer.plots ?? []).map((plot) => `![${plot.alt}](plots/${plot.name}.svg)\n`),
    ...(answer.notes ?? []).map((note) => `- ${note}`),
    ...(answer.notes?.length ? [''] : []),
    `<sub>${asks} ${surroundings}</sub>`,
  ].join('\n');
}

const goalHead = ['goal', 'limit', 'measured', '', 'table'];

export const goalsTable = (goals: readonly Goal[], source: string): string =>
  markdownTable({ head: goalHead, rows: goals.map((goal) => goalRow(goal, source)) });

/** A table of goals with the rows of one question replaced, in the order of the questions. */
export function renewGoals(old: string, source: string, rows: readonly string[][], order: readonly string[]): string {
  const sourceOf = (row: readonly string[]): string => /#([\w-]+)\)$/.exec(row.at(-1)!)?.[1] ?? '';
  const kept = old
    .split('\n')
    .filter((line) => /#[\w-]+\) \|$/.test(line))
    .map((line) => line.slice(2, -2).split(' | '))
    .filter((row) => sourceOf(row) !== source);
  const place = (row: readonly string[]): number => order.indexOf(sourceOf(row));
  const all = [...kept, ...rows].filter((row) => place(row) >= 0).sort((a, b) => place(a) - place(b));
  return markdownTable({ head: goalHead, rows: all });
}

export interface Page {
  readonly tree: string;
  /** All questions, in their order. */
  readonly order: readonly string[];
}

/** Writes one answer, and its goals. `machine`: what all tables of a run share. */
export function writeAnswer(
  { tree, order }: Page,
  { name, asks }: { readonly name: string; readonly asks: string },
  answer: Answer,
  { machine, text }: { readonly machine: string; readonly text: string },
): void {
  const home = join(tree, 'native-bench');
  for (const folder of ['plots', 'results']) mkdirSync(join(home, folder), { recursive: true });
  for (const plot of answer.plots ?? []) writeFileSync(join(home, 'plots', `${plot.name}.svg`), plot.svg);
  const goals = answer.goals ?? [];
  const record = { name, surroundings: text, goals, raw: answer.raw };
  writeFileSync(join(home, 'results', `${name}.json`), `${JSON.stringify(record, null, 1)}\n`);

  const results = join(home, 'RESULTS.md');
  let page = readFileSync(results, 'utf8');
  // The anchor is what the goals link to.
  page = replaceBetween(page, name, `<a id="${name}"></a>\n\n${render(asks, answer, text)}`);
  const rows = goals.map((goal) => goalRow(goal, name));
  writeFileSync(results, replaceBetween(page, 'goals', renewGoals(between(page, 'goals'), name, rows, order)));

  const reader = join(tree, 'PERFORMANCE.md');
  const front = readFileSync(reader, 'utf8');
  const dozen = goals.filter(({ headline }) => headline).map((goal) => goalRow(goal, name, 'native-bench/RESULTS.md'));
  const table = renewGoals(between(front, 'headline'), name, dozen, order);
  writeFileSync(reader, replaceBetween(front, 'headline', `${table}\n\n<sub>${machine}</sub>`));
}
