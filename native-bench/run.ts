/**
 * npm run bench: measures, and rewrites the tables of RESULTS.md, the dozen rows of PERFORMANCE.md and the two plots.
 *
 *   npm run bench                   all questions: half an hour, and a soak of ten minutes at the end, with LONG=1 of an hour
 *   npm run bench -- --only pixel   one question (or several, comma-separated)
 *   npm run bench -- --only rows    the questions that the rows of PERFORMANCE.md come from: half an hour
 *   npm run bench -- --skip soak    all but one (or several)
 *   npm run bench -- --short        every question once and cold: shows that all of it works; leaves the pages alone
 *   npm run bench -- --print        measures in full, but leaves the pages alone
 *
 * Installs nginx (with Lua), wrk and Go with apt-get when missing (root). The server is pinned to core 0, the load to core 1.
 * BENCH_DIR puts the files on another disk, BENCH_PORT moves the ports, GOTRACK_BIN adds GoTrack to the peers.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { dozen, questions } from './questions/index.ts';
import { Bench } from './rig/bench.ts';
import { installTools } from './rig/install.ts';
import { surroundings } from './rig/machine.ts';
import { warmth } from './rig/memory.ts';
import { type Answer, goalsTable, render, writeAnswer } from './rig/report.ts';
import { clearMet, met } from './rig/rounds.ts';
import { loadCore } from './rig/subject.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    skip: { type: 'string' },
    short: { type: 'boolean' },
    print: { type: 'boolean' },
  },
});
const known = questions.map(({ name }) => name);
const only = values.only?.split(',').flatMap((name) => (name === 'rows' ? dozen : [name])) ?? known;
const skip = values.skip?.split(',') ?? [];
const unknown = [...only, ...skip].filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`--only and --skip must name questions: unknown=${unknown}, known=${known}`);
  process.exit(64);
}

const tree = join(import.meta.dirname, '..');
const short = values.short ?? false;
installTools();
execFileSync('npm', ['run', '-s', 'build'], { cwd: tree, stdio: 'inherit' });
execFileSync('taskset', ['-cp', String(loadCore), String(process.pid)], { stdio: 'ignore' });

warmth.on = !short;
warmth.places = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'ringmain-bench-'));
const bench = new Bench({
  tree,
  dir: warmth.places,
  portBase: Number(process.env['BENCH_PORT'] ?? 21700),
  rounds: short ? 1 : 6,
  seconds: short ? 1 : 2,
  short,
  long: process.env['LONG'] === '1',
});

process.on('exit', () => bench.dispose()); // also when it is interrupted: the files of a run are many gigabytes

let failed = 0;
for (const question of questions.filter(({ name }) => only.includes(name) && !skip.includes(name))) {
  console.error(`\n## ${question.name}: ${question.asks}`);
  const command = `npm run bench -- --only ${question.name}${short ? ' --short' : ''}`;
  const { machine, text: before } = await surroundings(tree, command, short ? 200 : 1000);
  clearMet();
  let answer: Answer;
  const start = performance.now();
  try {
    answer = await question.answer(bench);
  } catch (error) {
    failed += 1; // The other questions can still be answered.
    console.error(`${question.name} could not be answered:`, error);
    continue;
  } finally {
    bench.clearPlaces();
  }
  const also = answer.versions?.length ? `; with ${answer.versions.join(', ')}` : '';
  const text = `${before}${also}${disturbance()}`;
  console.error(`## ${question.name}: answered in ${Math.round((performance.now() - start) / 1000)} s`);
  console.log(`\n${render(question.asks, answer, text)}`);
  if (answer.goals?.length) console.log(`\n${goalsTable(answer.goals, question.name)}`);
  if (!short && !values.print) writeAnswer({ tree, order: known }, question, answer, { machine, text });
}
process.exit(failed === 0 ? 0 : 1);

/** Which rounds and rows count for nothing. */
function disturbance(): string {
  const parts = [
    met.foreign > 0 ? `${met.foreign} rounds void: something else worked meanwhile` : '',
    met.stolen > 0 ? `the latencies of ${met.stolen} rounds void: the hypervisor took time` : '',
    met.rows.size > 0 ? `not printed for that: ${[...met.rows].join(', ')}` : '',
  ];
  return parts
    .filter((part) => part !== '')
    .map((part) => `; ${part}`)
    .join('');
}
