/**
 * Breaks a copy of the source, one mutant at a time, and sees the tests named for it go red. A mutant that lives says that nothing proves
 * that line.
 *
 *   node test/faults/mutants/run.ts            all
 *   node test/faults/mutants/run.ts pin tail   those whose name holds one of the words
 *
 * Always true: an edit finds its text exactly once, or the mutant is told so instead of living for ever; the tests are green in the copy
 * before anything is broken.
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { analyticsMutants, quickAnalyticsMutants } from './analytics.ts';
import { linkedCopy, runFiles, SIDE_BY_SIDE } from './batch.ts';
import { engineMutants } from './engine.ts';
import { eventsMutants } from './events.ts';
import { fileMutants } from './file.ts';
import { gatewayMutants } from './gateway.ts';
import { httpMutants } from './http.ts';
import { kafkaMutants } from './kafka.ts';
import { letterMutants } from './letters.ts';
import type { Mutant } from './mutant.ts';
import { postgresMutants } from './postgres.ts';
import { voiceMutants } from './voice.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const MODULES = join(ROOT, 'node_modules');
const LIMIT_MS = 120_000;
/** The copy in which nothing is broken. */
const WHOLE = 'whole';

/** Those whose tests take seconds. */
const quick: readonly Mutant[] = [
  ...engineMutants,
  ...eventsMutants,
  ...fileMutants,
  ...gatewayMutants,
  ...httpMutants,
  ...letterMutants,
  ...voiceMutants,
  ...quickAnalyticsMutants,
];
/** Every third one: CI has 35 minutes. LONG=1 tries all. */
export const quickMutants: readonly Mutant[] = quick.filter((_, at) => at % 3 === 0);
export const allMutants: readonly Mutant[] = [...quick, ...kafkaMutants, ...postgresMutants, ...analyticsMutants];

export type Verdict = 'killed' | 'lives' | 'does not apply';

/** Tries every mutant. `told` gets each verdict as it comes; what is returned is what was not killed. */
export async function tryMutants(
  mutants: readonly Mutant[],
  told: (mutant: Mutant, verdict: Verdict) => void = () => {},
): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-mutants-'));
  try {
    copyOfTree(join(folder, WHOLE));
    const alive: string[] = [];
    const tell = (mutant: Mutant, verdict: Verdict) => {
      told(mutant, verdict);
      if (verdict !== 'killed') alive.push(`${mutant.name}: ${verdict}`);
    };
    const fit = mutants.filter((mutant) => {
      const fits = broken(mutant) !== undefined;
      if (!fits) tell(mutant, 'does not apply');
      return fits;
    });
    const killed = await runAll(folder, fit, (mutant) => tell(mutant, 'killed'));
    // Broken its process, hangs, or lives: alone, its exit code says it.
    for (const mutant of fit.filter((mutant) => !killed.has(mutant))) tell(mutant, await tryAlone(folder, mutant));
    return alive;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** All tests in the whole copy, which have to be green, and those of each mutant in a copy that is broken; returns what red tests killed. */
async function runAll(
  folder: string,
  mutants: readonly Mutant[],
  told: (mutant: Mutant) => void,
): Promise<Set<Mutant>> {
  const tests = [...new Set(mutants.flatMap((mutant) => mutant.tests))];
  for (const test of tests) if (!existsSync(join(folder, WHOLE, test))) throw new Error(`no such test: ${test}`);
  const green = new Set<string>();
  const killed = new Set<Mutant>();
  const red: string[] = [];
  for (const [i, mutant] of mutants.entries()) brokenCopy(folder, String(i), mutant);
  const files = [...mutants.entries()].flatMap(([i, { tests }]) => tests.map((test) => join(String(i), test)));
  // A server has a port of its own: two copies of its test at a time would meet there, and be red for that.
  const width = tests.some((test) => /servers\/(kafka|postgres)\.ts/.test(textOf(folder, test))) ? 1 : SIDE_BY_SIDE;
  await runFiles(folder, MODULES, [...tests.map((test) => join(WHOLE, test)), ...files], width, (outcome) => {
    const [copy = '', ...path] = outcome.file.split('/');
    const mutant = mutants[Number(copy)];
    if (mutant === undefined) {
      if (outcome.red === undefined) green.add(path.join('/'));
      else red.push(`${path.join('/')}: ${outcome.red}`);
    } else if (outcome.red !== undefined && !killed.has(mutant)) {
      killed.add(mutant);
      told(mutant);
    }
  });
  const missing = tests.filter((test) => !green.has(test));
  if (missing.length > 0)
    throw new Error(`the tests must be green before anything is broken: ${missing.join()}\n${red.join('\n')}`);
  return killed;
}

const textOf = (folder: string, test: string): string => readFileSync(join(folder, WHOLE, test), 'utf8');

function copyOfTree(copy: string): void {
  mkdirSync(copy);
  for (const part of ['src', 'test', 'package.json', 'vitest.config.ts'])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  symlinkSync(MODULES, join(copy, 'node_modules'));
}

function brokenCopy(folder: string, name: string, mutant: Mutant): string {
  const copy = join(folder, name);
  linkedCopy(join(folder, WHOLE), copy);
  const path = join(copy, mutant.file);
  rmSync(path);
  writeFileSync(path, broken(mutant)!);
  return copy;
}

/** The file with the mutant in it; undefined when the mutant does not apply. */
export function broken({ file, edits }: Mutant, root: string = ROOT): string | undefined {
  const path = join(root, file);
  let text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  for (const [from, to] of edits) {
    if (text.split(from).length !== 2) return undefined;
    text = text.replace(from, () => to);
  }
  return text;
}

async function tryAlone(folder: string, mutant: Mutant): Promise<Verdict> {
  const copy = brokenCopy(folder, 'alone', mutant);
  try {
    return (await failure(copy, mutant.tests, LIMIT_MS)) === undefined ? 'lives' : 'killed';
  } finally {
    rmSync(copy, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** What red tests print; undefined when they pass. A run that hangs is as red as one that fails. */
async function failure(copy: string, tests: readonly string[], limitMs: number): Promise<string | undefined> {
  const vitest = join(MODULES, 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--bail=1', '--maxWorkers=1', ...tests];
  const run = spawn(process.execPath, args, { cwd: copy, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let said = '';
  for (const stream of [run.stdout, run.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000);
    });
  const timer = setTimeout(() => process.kill(-run.pid!, 'SIGKILL'), limitMs);
  const code = await new Promise<number | null>((resolve) => run.once('exit', resolve));
  clearTimeout(timer);
  return code === 0 ? undefined : said;
}

if (process.argv[1] === import.meta.filename) {
  const words = process.argv.slice(2);
  const chosen = allMutants.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  const alive = await tryMutants(chosen, ({ name }, verdict) => console.log(`${verdict.padEnd(15)} ${name}`));
  process.exitCode = alive.length === 0 ? 0 : 1;
}
