/**
 * Runs the test files, unit rooms first, then what starts servers and kills processes, and ends with `N passed, N failed`.
 *
 *   node test/run.ts               everything
 *   node test/run.ts engine http   only files whose path holds one of the words
 *   LONG=1 node test/run.ts        the long mode of the tests that have one
 *
 * Unit files run two at a time; the heavy folders run one at a time, for they measure their own bounds on two cores.
 */
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const words = process.argv.slice(2);
const files = globSync('test/**/*.test.ts').filter((file) => words.length === 0 || words.some((w) => file.includes(w)));
const heavy = /^test\/(e2e|faults|sinks\/(kafka|postgres)|deploy|bench)\//;
const phases = [
  { files: files.filter((f) => !heavy.test(f)), concurrency: 2 },
  { files: files.filter((f) => heavy.test(f)), concurrency: 1 },
];

let passed = 0;
let failed = 0;
let skipped = 0;
for (const phase of phases) {
  if (phase.files.length === 0) continue;
  const stream = run({ files: phase.files.sort(), concurrency: phase.concurrency, timeout: 30 * 60_000 });
  stream.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip !== undefined) skipped += 1;
    else passed += 1;
  });
  stream.on('test:fail', (event) => {
    if (event.details.type !== 'suite') failed += 1;
  });
  // The reporter writes its summary last: the closing line of this run must come behind it.
  const report = stream.compose(new spec());
  report.pipe(process.stdout, { end: false });
  await once(report, 'end');
}
if (passed + failed === 0) {
  failed = 1;
  console.error(`no test ran: words=${words.join(' ')}`);
}
process.exitCode = failed === 0 ? 0 : 1;
console.log(`\n${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
