import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { dozen, questions } from '../../native-bench/questions/index.ts';
import { barPlot, linePlot } from '../../native-bench/rig/plot.ts';
import {
  between,
  goalRow,
  isReached,
  markdownTable,
  renewGoals,
  replaceBetween,
} from '../../native-bench/rig/report.ts';
import type { Round } from '../../native-bench/rig/rounds.ts';
import { ratioGoal, roundsTable } from '../../native-bench/rig/table.ts';

const round = (cpuUsPerEvent: number, invalid?: string): Round => ({
  events: 1000,
  seconds: 1,
  cpuUsPerEvent,
  machineUsPerEvent: cpuUsPerEvent,
  eventsPerSecond: 1000,
  p50Us: 1,
  p99Us: 2,
  p999Us: 3,
  maxUs: 4,
  rssMiB: 50,
  lines: 1000,
  steal: 0,
  foreignCores: 0,
  invalid,
});

test('a table replaces only what stands between its markers', () => {
  const text = 'before\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nafter\n<!-- bench:b -->\nkept\n<!-- /bench:b -->';
  const once = replaceBetween(text, 'a', 'new');
  assert.equal(
    once,
    'before\n<!-- bench:a -->\nnew\n<!-- /bench:a -->\nafter\n<!-- bench:b -->\nkept\n<!-- /bench:b -->',
  );
  assert.equal(replaceBetween(once, 'a', 'new'), once, 'writing twice changes nothing');
  assert.throws(() => replaceBetween(text, 'c', 'new'), /markers: name=c/);
});

test('a void round makes a void row and a goal that is not reached', () => {
  const results = new Map([
    ['nginx', [round(10), round(10)]],
    ['ringmain journal', [round(5), round(5, '3 of 1000 events are missing in the file')]],
  ]);
  assert.match(markdownTable(roundsTable(results, { baseline: 'nginx' })), /void: 3 of 1000 events are missing/);
  const goal = ratioGoal('half the cost', 0.9, results, 'ringmain journal', 'nginx');
  assert.equal(isReached(goal), false);
  assert.equal(goalRow(goal, 'pixel')[3], '**void**');
  const shown = { goal: 'p99', bound: 'most', value: 12, unit: 'us' } as const;
  assert.deepEqual(goalRow(shown, 'latency').slice(1, 4), ['none set', '12 us', 'shown']);
});

test('a goal is judged by its bound', () => {
  const goal = { goal: 'g', limit: 0.9, unit: 'x', bound: 'most' } as const;
  assert.ok(isReached({ ...goal, value: 0.9 }) && !isReached({ ...goal, value: 0.91 }));
  assert.ok(isReached({ ...goal, bound: 'least', value: 0.9 }) && !isReached({ ...goal, bound: 'least', value: 0.89 }));
});

test('plots are well-formed, hold every figure and name nothing unescaped', () => {
  const bars = barPlot('cost <of> it', 'us', [{ label: 'a & b', value: 2, min: 1, max: 3 }]);
  const lines = linePlot('latency', { x: 'rate', y: 'us' }, [
    {
      label: 'p99',
      points: [
        [10, 1],
        [1000, 50],
      ],
    },
  ]);
  for (const svg of [bars, lines]) {
    assert.match(svg, /^<svg [\s\S]*<\/svg>\n$/);
    assert.doesNotMatch(svg, /NaN|undefined|Infinity|<of>|a & b/);
  }
});

test('axes end on round ticks, and hold what lies on their ends', () => {
  const points = [
    [104_000, 12],
    [5_000, 48],
  ] as const;
  const svg = linePlot('cost', { x: 'rate', y: 'us', linearY: true }, [{ label: 'a', points }]);
  const ticks = [...svg.matchAll(/font-size="11">([^<]+)</g)].map((match) => match[1]!);
  assert.deepEqual(ticks, ['0', '10', '20', '30', '40', '50', '5k', '10k', '20k', '50k', '100k', '200k']);
});

test('a run replaces the goals of its own question, and leaves those of the others', () => {
  const goal = (text: string) => ({ goal: text, bound: 'most', value: 1, unit: 'x' }) as const;
  const rows = (question: string, ...goals: string[]) => goals.map((text) => goalRow(goal(text), question, 'R.md'));
  const order = ['a', 'b', 'c'];
  let table = '';
  for (const [question, ...goals] of [
    ['c', 'c one'],
    ['a', 'a one', 'a two'],
    ['b', 'b one'],
    ['a', 'a three'],
    ['gone', 'of a question that is gone'],
  ] as [string, ...string[]][])
    table = renewGoals(table, question, rows(question, ...goals), order);
  const named = table.split('\n').slice(2);
  assert.deepEqual(
    named.map((line) => line.split(' | ')[0]),
    ['| a three', '| b one', '| c one'],
  );
  assert.match(named[0]!, /\[a\]\(R\.md#a\) \|$/);
});

const page = (name: string): string => readFileSync(join(import.meta.dirname, '../..', name), 'utf8');

test('RESULTS.md has a place for every question, and none for a question that is gone', () => {
  const text = page('native-bench/RESULTS.md');
  const places = [...text.matchAll(/^<!-- bench:(\S+) -->$/gm)].map((match) => match[1]!);
  assert.deepEqual(places, ['goals', ...questions.map(({ name }) => name)]);
  for (const place of places) assert.doesNotThrow(() => replaceBetween(text, place, ''));
});

test('PERFORMANCE.md stays a page for a reader: 160 lines, forty rows at most, two plots, and every row leads to its table', () => {
  const text = page('PERFORMANCE.md');
  assert.ok(text.split('\n').length <= 161, 'lines');
  assert.equal([...text.matchAll(/^!\[/gm)].length, 2);
  const rows = between(text, 'headline')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2);
  assert.ok(rows.length >= 10 && rows.length <= 40, `rows=${rows.length}`);
  for (const row of rows) {
    const question = /\(native-bench\/RESULTS\.md#([\w-]+)\) \|$/.exec(row)?.[1];
    assert.ok(question !== undefined && dozen.includes(question), row);
    const [goal, limit, measured] = row.slice(2).split(' | ');
    const sameRow = (line: string): boolean => line.startsWith(`| ${goal} | ${limit} | ${measured} |`);
    assert.ok(page('native-bench/RESULTS.md').split('\n').some(sameRow), `RESULTS.md must hold it, too: ${row}`);
  }
});
