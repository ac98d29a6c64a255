/**
 * npm run bench: measures, and rewrites the tables and plots of PERFORMANCE.md.
 *
 *   npm run bench                   all questions: an hour, and a soak of ten minutes at the end, with LONG=1 of another hour
 *   npm run bench -- --only pixel   one question (or several, comma-separated)
 *   npm run bench -- --skip soak    all but one (or several)
 *   npm run bench -- --short        every question once and cold, < 5 minutes: shows that all of it works; leaves PERFORMANCE.md alone
 *   npm run bench -- --print        measures in full, but leaves PERFORMANCE.md alone
 *
 * Installs nginx, wrk and Go with apt-get when missing (root). The server is pinned to core 0, the load to core 1.
 * BENCH_DIR puts the files on another disk, BENCH_PORT moves the ports, GOTRACK_BIN adds GoTrack to the peers.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { questions } from './questions/index.ts';
import { Bench } from './rig/bench.ts';
import { installTools } from './rig/install.ts';
import { surroundings } from './rig/machine.ts';
import { warmth } from './rig/memory.ts';
import { type Answer, goalRow, markdownTable, render, writeAnswer } from './rig/report.ts';
import { disturbed } from './rig/rounds.ts';
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
const only = values.only?.split(',') ?? known;
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
  const { text: before } = await surroundings(tree, command, short ? 200 : 1000);
  Object.assign(disturbed, { repeated: 0, kept: 0 });
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
  if (answer.goals?.length) {
    console.log(
      `\n${markdownTable({ head: ['goal', 'limit', 'measured', '', ''], rows: answer.goals.map((g) => goalRow(g, question.name)) })}`,
    );
  }
  if (!short && !values.print) writeAnswer(tree, question.name, question.asks, answer, text);
}
process.exit(failed === 0 ? 0 : 1);

/** What else happened on the machine meanwhile. */
function disturbance(): string {
  const { repeated, kept } = disturbed;
  const said =
    repeated > 0
      ? `; ${repeated} rounds repeated because something else worked, or the hypervisor took time, meanwhile`
      : '';
  return kept > 0
    ? `${said}; **${kept} rounds kept though something else worked or time was taken: do not trust this table**`
    : said;
}
