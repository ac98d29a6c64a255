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
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engineMutants } from './engine.ts';
import { eventsMutants } from './events.ts';
import { fileMutants } from './file.ts';
import { httpMutants } from './http.ts';
import { kafkaMutants } from './kafka.ts';
import { letterMutants } from './letters.ts';
import type { Mutant } from './mutant.ts';
import { postgresMutants } from './postgres.ts';
import { voiceMutants } from './voice.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const LIMIT_MS = 120_000;
/** Copies that are broken side by side: one for each core of the machine that the limits of the tests are made for. */
const SIDE_BY_SIDE = 2;

/** Those whose tests take seconds. */
export const quickMutants: readonly Mutant[] = [
  ...engineMutants,
  ...eventsMutants,
  ...fileMutants,
  ...httpMutants,
  ...letterMutants,
  ...voiceMutants,
];
export const allMutants: readonly Mutant[] = [...quickMutants, ...kafkaMutants, ...postgresMutants];

export type Verdict = 'killed' | 'lives' | 'does not apply';

/** Tries every mutant. `told` gets each verdict as it comes; what is returned is what was not killed. */
export async function tryMutants(
  mutants: readonly Mutant[],
  told: (mutant: Mutant, verdict: Verdict, seconds: number) => void = () => {},
): Promise<string[]> {
  const waiting = [...mutants];
  const alive: string[] = [];
  const work = async () => {
    const copy = copyOfTree();
    try {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const begin = performance.now();
        const verdict = await tryMutant(copy, mutant);
        told(mutant, verdict, (performance.now() - begin) / 1000);
        if (verdict !== 'killed') alive.push(`${mutant.name}: ${verdict}`);
      }
    } finally {
      rmSync(copy, { recursive: true, force: true, maxRetries: 5 });
    }
  };
  const copy = copyOfTree();
  try {
    const tests = [...new Set(mutants.flatMap((mutant) => mutant.tests))];
    for (const test of tests) if (!existsSync(join(copy, test))) throw new Error(`no such test: ${test}`);
    const red = await failure(copy, tests, 5 * LIMIT_MS);
    if (red !== undefined)
      throw new Error(`the tests must be green before anything is broken:
${red}`);
  } finally {
    rmSync(copy, { recursive: true, force: true, maxRetries: 5 });
  }
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work));
  return alive;
}

function copyOfTree(): string {
  const copy = mkdtempSync(join(tmpdir(), 'ringmain-mutant-'));
  for (const part of ['src', 'test', 'package.json', 'vitest.config.ts'])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
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

async function tryMutant(copy: string, mutant: Mutant): Promise<Verdict> {
  const text = broken(mutant, copy);
  if (text === undefined) return 'does not apply';
  const path = join(copy, mutant.file);
  const whole = readFileSync(path, 'utf8');
  writeFileSync(path, text);
  try {
    return (await failure(copy, mutant.tests, LIMIT_MS)) === undefined ? 'lives' : 'killed';
  } finally {
    writeFileSync(path, whole);
  }
}

/** What red tests print; undefined when they pass. A run that hangs is as red as one that fails. */
async function failure(copy: string, tests: readonly string[], limitMs: number): Promise<string | undefined> {
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
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
  const alive = await tryMutants(chosen, ({ name }, verdict, seconds) =>
    console.log(`${verdict.padEnd(15)} ${name} (${seconds.toFixed(0)} s)`),
  );
  process.exitCode = alive.length === 0 ? 0 : 1;
}
