/**
 * npm run bench:compare -- [commit]: builds another commit in a worktree of its own and compares it with this tree, 3bf89aa by default.
 *
 *   npm run bench:compare -- HEAD~1            is the tree faster or slower than the commit before? Less than 6 minutes
 *   npm run bench:compare -- HEAD~1 --short    8 pairs instead of 20: half the time, a wider interval
 *   npm run bench:compare -- HEAD --pairs 30   (with a clean tree: A against A, to see the noise)
 *
 * Both servers run all the time, the one that is not measured is frozen. A pair is one round of each, in alternating order
 * (AB BA AB ...), and gives one ratio. The verdict is the distribution-free 99 % interval of the median ratio: it says how
 * large a difference could have hidden when it says 'same'. Ends with 1 when anything became slower.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bench } from './rig/bench.ts';
import { installTools } from './rig/install.ts';
import { type Load, wrk } from './rig/load.ts';
import { commitOf, surroundings } from './rig/machine.ts';
import { markdownTable } from './rig/report.ts';
import { startRingmain } from './rig/ringmain.ts';
import { column, measure, type Round, voidReason, warmUp } from './rig/rounds.ts';
import { judge, median, pairedRatios } from './rig/stats.ts';
import { loadCore, type Subject } from './rig/subject.ts';
import { us } from './rig/table.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: 'string' },
    seconds: { type: 'string', default: '1' },
    short: { type: 'boolean', default: false },
  },
});
const [commit = '3bf89aa'] = positionals;
const pairs = Number(values.pairs ?? (values.short ? 8 : 20));
const seconds = Number(values.seconds);
if (positionals.length > 1 || !(pairs >= 1) || !(seconds >= 1)) {
  console.error('usage: npm run bench:compare -- [commit] [--short] [--pairs 20] [--seconds 1]');
  process.exit(64);
}

const tree = join(import.meta.dirname, '..');
const dir = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'ringmain-compare-'));
const run = (command: string, args: string[], cwd: string): unknown =>
  execFileSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });

/** What the server runs with, by the lock file. A library that only tests or tools need makes no difference. */
function librariesOf(of: string): string {
  const { packages } = JSON.parse(readFileSync(join(of, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; dev?: boolean }>;
  };
  const used = Object.entries(packages).filter(([path, { dev }]) => path !== '' && !dev);
  return used.map(([path, { version }]) => `${path} ${version}`).join('\n');
}

/** A worktree of the commit, built; the libraries of this tree serve it when it asks for none that this tree has not. */
function buildOther(): string {
  const other = join(dir, 'tree');
  run('git', ['worktree', 'add', '--detach', other, commit], tree);
  const ours = new Set(librariesOf(tree).split('\n'));
  const isServed = librariesOf(other)
    .split('\n')
    .every((library) => ours.has(library));
  if (isServed) symlinkSync(join(tree, 'node_modules'), join(other, 'node_modules'));
  else run('npm', ['ci'], other);
  run('npm', ['run', '-s', 'build'], other);
  return other;
}

interface Row {
  readonly name: string;
  readonly load: Load;
  readonly eventsPerRequest?: number;
}

async function comparePair(
  row: Row,
  subjects: readonly Subject[],
  turn: number,
  rounds: readonly Round[][],
): Promise<void> {
  for (const side of turn % 2 === 0 ? [0, 1] : [1, 0]) {
    rounds[side]!.push(await measure(subjects[side]!, row.load, { eventsPerRequest: row.eventsPerRequest }));
  }
}

// Also when it is interrupted: git would keep the worktree in its list, and the journals are gigabytes. Servers have been killed before.
process.on('exit', () => {
  const other = join(dir, 'tree');
  try {
    if (existsSync(other)) run('git', ['worktree', 'remove', '--force', other], tree);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

let slower = 0;
installTools();
run('npm', ['run', '-s', 'build'], tree);
const other = buildOther();
run('taskset', ['-cp', String(loadCore), String(process.pid)], tree);
const bench = new Bench({
  tree,
  dir,
  portBase: Number(process.env['BENCH_PORT'] ?? 21700),
  rounds: pairs,
  seconds,
  short: false,
  long: false,
});
const pixel = (connections: number): Row => ({
  name: `pixel, c=${connections}`,
  load: wrk(bench.pixels(), { connections, seconds }),
});
const rows: Row[] = [
  pixel(64),
  pixel(8),
  {
    name: '/collect, 20 per body, c=64',
    load: wrk(bench.collects(20), { connections: 64, seconds, path: '/collect' }),
    eventsPerRequest: 20,
  },
];
const { text } = await surroundings(tree, `npm run bench:compare -- ${commit} --pairs ${pairs}`);
const starts = [tree, other].map((of) => () => startRingmain(of, bench.place(), { name: commitOf(of) }));
const table = await bench.with(starts, async (subjects) => {
  // Each kind of request once; what a warm-up still buffers would count in the first round.
  for (const subject of subjects) for (const { load } of [rows[0]!, rows[2]!]) await warmUp(subject, load);
  const lines: string[][] = [];
  for (const row of rows) {
    const rounds: [Round[], Round[]] = [[], []];
    for (let turn = 0; turn < pairs; turn++) await comparePair(row, subjects, turn, rounds);
    const [ours, theirs] = rounds.map((side) => column(side, 'cpuUsPerEvent')) as [number[], number[]];
    const reason = voidReason(rounds.flat());
    const { verdict, ratio, interval } = judge(pairedRatios(ours, theirs));
    if (verdict === 'slower' || reason) slower += 1;
    const range = interval ? `${interval.low.toFixed(3)}..${interval.high.toFixed(3)}` : 'too few pairs';
    lines.push([
      row.name,
      us(median(theirs)),
      us(median(ours)),
      ratio.toFixed(3),
      range,
      reason ? `void: ${reason}` : interval ? `**${verdict}**` : 'not told',
    ]);
    console.error(lines.at(-1)!.join('  '));
  }
  return {
    head: [
      'row',
      `${commitOf(other)} us/event`,
      `${commitOf(tree)} us/event`,
      'ratio',
      '99 % interval',
      'this tree is',
    ],
    rows: lines,
  };
});
console.log(`\n${markdownTable(table)}\n\n${text}`);
process.exit(slower === 0 ? 0 : 1);
