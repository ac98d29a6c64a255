/**
 * Output of database tools: what a script takes (a new key, a list) goes to standard output, what a person reads to
 * standard error.
 */
import type { DatabaseTool } from './database-tool.ts';

export const say = (text: string): void => void process.stderr.write(`${text}\n`);
export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value, undefined, 2));

/** Shows one thing: with --json all of it, else a sentence about it. */
export function showOne<T>(tool: DatabaseTool, value: T, sentence: (value: T) => string): void {
  if (tool.has('json')) printJson(value);
  else say(sentence(value));
}

/** Shows a secret this once. `what`: the sentence begins with it. */
export function showOnce(what: string, secret: string): void {
  say(`${what}; keep it now, it is not shown again:`);
  print(secret);
}

/** A column of a table: its head, and the cell of a row. */
export type Column<Row> = readonly [head: string, cell: (row: Row) => string];

/** Shows a list: with --json as it is, else as a table. `none`: what is said when there is nothing. */
export function showList<Row>(
  tool: DatabaseTool,
  rows: readonly Row[],
  none: string,
  columns: readonly Column<Row>[],
): void {
  if (tool.has('json')) printJson(rows);
  else if (rows.length === 0) say(none);
  else print(tableOf(rows, columns));
}

export function tableOf<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = [columns.map(([head]) => head), ...rows.map((row) => columns.map(([, cell]) => cell(row)))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]!.length)));
  return cells
    .map((line) =>
      line
        .map((cell, at) => cell.padEnd(widths[at]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
