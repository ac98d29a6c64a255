/**
 * Writes what was measured: a table between two markers of PERFORMANCE.md, its plots under native-bench/plots/, every round
 * as JSON under native-bench/results/. The text around the markers is written by people and left alone.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
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

/** Replaces what stands between the markers of `name`; the markers must be there, a table does not choose its place. */
export function replaceBetween(text: string, name: string, content: string): string {
  const open = `<!-- bench:${name} -->`;
  const close = `<!-- /bench:${name} -->`;
  const from = text.indexOf(open);
  const to = text.indexOf(close, from);
  if (from === -1 || to === -1) throw new Error(`PERFORMANCE.md must hold the markers: name=${name}`);
  return `${text.slice(0, from + open.length)}\n${content}\n${text.slice(to)}`;
}

export function isReached({ bound, limit, value }: Goal): boolean {
  if (limit === undefined) return !Number.isNaN(value);
  return bound === 'most' ? value <= limit : value >= limit;
}

export function goalRow(goal: Goal, source: string): string[] {
  const number = (value: number): string =>
    value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
  const verdict = goal.limit === undefined ? 'shown' : isReached(goal) ? 'reached' : '**missed**';
  const isVoid = Number.isNaN(goal.value);
  return [
    goal.goal,
    goal.limit === undefined ? 'none set' : `${goal.bound === 'most' ? '<=' : '>='} ${number(goal.limit)} ${goal.unit}`,
    isVoid ? 'void' : `${number(goal.value)} ${goal.unit}${goal.spread ? ` (${goal.spread})` : ''}`,
    isVoid ? '**void**' : verdict,
    `[${source}](#${source})`,
  ];
}

export function render(asks: string, answer: Answer, surroundings: string): string {
  return [
    ...answer.tables.map((table) => `${markdownTable(table)}\n`),
    ...(answer.plots ?? []).map((plot) => `![${plot.alt}](native-bench/plots/${plot.name}.svg)\n`),
    ...(answer.notes ?? []).map((note) => `- ${note}`),
    ...(answer.notes?.length ? [''] : []),
    `<sub>${asks} ${surroundings}</sub>`,
  ].join('\n');
}

/** Writes one answer, then the summary of the goals of all answers there are. */
export function writeAnswer(tree: string, name: string, asks: string, answer: Answer, surroundings: string): void {
  const home = join(tree, 'native-bench');
  mkdirSync(join(home, 'plots'), { recursive: true });
  mkdirSync(join(home, 'results'), { recursive: true });
  for (const plot of answer.plots ?? []) writeFileSync(join(home, 'plots', `${plot.name}.svg`), plot.svg);
  const record = { name, surroundings, goals: answer.goals ?? [], raw: answer.raw };
  writeFileSync(join(home, 'results', `${name}.json`), `${JSON.stringify(record, null, 1)}\n`);

  const path = join(tree, 'PERFORMANCE.md');
  let text = readFileSync(path, 'utf8');
  // The goals come in the order of the page, whatever was measured last.
  const place = (question: string): number => text.indexOf(`<!-- bench:${question} -->`);
  const goals = readdirSync(join(home, 'results'))
    .map((file) => JSON.parse(readFileSync(join(home, 'results', file), 'utf8')) as { name: string; goals: Goal[] })
    .filter((saved) => place(saved.name) >= 0)
    .sort((a, b) => place(a.name) - place(b.name))
    .flatMap((saved) => saved.goals.map((goal) => goalRow(goal, saved.name)));
  const summary = markdownTable({ head: ['goal', 'limit', 'measured', '', 'table'], rows: goals });
  // The anchor is what the goals link to: several questions share a heading.
  text = replaceBetween(text, name, `<a id="${name}"></a>\n\n${render(asks, answer, surroundings)}`);
  writeFileSync(path, replaceBetween(text, 'goals', goals.length > 0 ? summary : 'Nothing measured yet.'));
}
