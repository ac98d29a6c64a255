/**
 * Runs all tests, for `npm test`. Files in which something failed run once more, alone: what fails again fails the run.
 * What passed only then is listed above the last line, so that nobody takes it for steady.
 *
 * The reason: thousands of tests start real servers, two files side by side on a machine that others share, and a
 * server that comes late once in some thousand starts says nothing about the change under test. More than a few such
 * files are no accident, and fail at once; so does an error that belongs to no file.
 *
 * Usage: node test/run-all.ts [--meanwhile=<module>] [arguments of vitest run]
 *
 *   --meanwhile   is run beside the tests, and ended with them. Its result is nobody's: it prepares what a test does
 *                 itself when it finds nothing prepared
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FileVerdict, tellVerdict, type Verdict } from './last-line.ts';

/** Files that may run once more. */
const FILES_MAX = 3;

const vitest = join(createRequire(import.meta.url).resolve('vitest/package.json'), '../vitest.mjs');
const folder = mkdtempSync(join(tmpdir(), 'ringmain-tests-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Runs vitest; undefined: it ended without a verdict. */
async function run(words: readonly string[]): Promise<Verdict | undefined> {
  const file = join(folder, 'verdict.json');
  rmSync(file, { force: true });
  const child = spawn(process.execPath, [vitest, 'run', ...words], {
    stdio: 'inherit',
    env: { ...process.env, VERDICT_FILE: file },
  });
  const pass = (signal: NodeJS.Signals) => void child.kill(signal);
  process.on('SIGINT', pass).on('SIGTERM', pass);
  await new Promise((resolve) => child.once('close', resolve));
  process.off('SIGINT', pass).off('SIGTERM', pass);
  if (child.signalCode !== null) {
    beside?.kill();
    process.kill(process.pid, child.signalCode);
  }
  if (!existsSync(file)) return undefined;
  const verdict = JSON.parse(readFileSync(file, 'utf8')) as Verdict;
  const failed = verdict.unplaced > 0 || verdict.files.some(({ failed }) => failed.length > 0);
  // What it failed for is not in the verdict: a threshold, or nothing that runs.
  return child.exitCode !== 0 && !failed ? undefined : verdict;
}

const sameFile = (one: FileVerdict, other: FileVerdict): boolean =>
  one.project === other.project && one.path === other.path;

const MEANWHILE = '--meanwhile=';
const [meanwhile, words] = process.argv[2]?.startsWith(MEANWHILE)
  ? [process.argv[2].slice(MEANWHILE.length), process.argv.slice(3)]
  : [undefined, process.argv.slice(2)];
const beside = meanwhile === undefined ? undefined : spawn(process.execPath, [meanwhile], { stdio: 'ignore' });
beside?.unref(); // Nobody waits for it.
process.on('exit', () => beside?.kill());
let verdict = await run(words);
const shaky = verdict?.files.filter(({ failed }) => failed.length > 0) ?? [];
if (verdict !== undefined && verdict.unplaced === 0 && shaky.length > 0 && shaky.length <= FILES_MAX) {
  console.log(`\nTests failed in ${shaky.length} files, which run once more, alone:`);
  for (const { project, path, failed } of shaky) console.log(`  ${project} ${path}: ${failed.join('; ')}`);
  const projects = [...new Set(shaky.map(({ project }) => project))].flatMap((name) => ['--project', name]);
  const again = await run(['--no-file-parallelism', ...projects, ...shaky.map(({ path }) => path)]);
  const second = shaky.map((file) => again?.files.find((other) => sameFile(file, other)) ?? file);
  verdict = {
    files: verdict.files.map((file) => second.find((other) => sameFile(file, other)) ?? file),
    unplaced: again?.unplaced ?? 1,
  };
  const steadied = shaky.filter((_, at) => second[at]!.failed.length === 0);
  if (steadied.length > 0) console.log('\nFailed at first, passed alone; look for the reason:');
  for (const { project, path, failed } of steadied) console.log(`  ${project} ${path}: ${failed.join('; ')}`);
}
const { files, unplaced } = verdict ?? { files: [], unplaced: 1 };
tellVerdict({ files, unplaced });
process.exitCode = unplaced > 0 || files.some(({ failed }) => failed.length > 0) ? 1 : 0;
