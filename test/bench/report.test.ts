import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { questions } from '../../native-bench/questions/index.ts';
import { barPlot, linePlot } from '../../native-bench/rig/plot.ts';
import { goalRow, isReached, markdownTable, replaceBetween } from '../../native-bench/rig/report.ts';
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
  requestsPerWrite: 1,
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

test('PERFORMANCE.md has a place for every question, and none for a question that is gone', () => {
  const text = readFileSync(join(import.meta.dirname, '../../PERFORMANCE.md'), 'utf8');
  const places = [...text.matchAll(/^<!-- bench:(\S+) -->$/gm)].map((match) => match[1]!);
  assert.deepEqual(places.toSorted(), ['goals', ...questions.map(({ name }) => name)].toSorted());
  for (const place of places) assert.doesNotThrow(() => replaceBetween(text, place, ''));
});
