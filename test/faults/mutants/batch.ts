/**
 * Many broken copies of the source under one run of vitest. Each file of tests is a process of its own as ever; what is saved is the start
 * of vitest, and the tests of a file behind its first red one.
 */
import { spawn } from 'node:child_process';
import { linkSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Files that are run side by side: one for each core of the machine that the limits of the tests are made for. */
export const SIDE_BY_SIDE = 2;
/** Nothing has come to an end for so long: what runs hangs. */
const STILL_MS = 120_000;

/** What became of a file of tests; `red` holds what it says of itself when it failed. */
export interface Outcome {
  readonly file: string;
  readonly red: string | undefined;
}

/** A copy of `tree` without the bytes: to break a file in it, replace that file, or the original is broken too. */
export function linkedCopy(tree: string, copy: string): void {
  mkdirSync(copy);
  for (const entry of readdirSync(tree, { withFileTypes: true })) {
    const [from, to] = [join(tree, entry.name), join(copy, entry.name)];
    if (entry.isDirectory()) linkedCopy(from, to);
    else linkSync(from, to);
  }
}

/**
 * Runs files of tests (relative to `folder`) and tells the outcome of each as it comes. One that breaks its process or hangs has none; when
 * all that runs hangs, the run ends and what is left has none either.
 */
export async function runFiles(
  folder: string,
  modules: string,
  files: readonly string[],
  sideBySide: number,
  told: (outcome: Outcome) => void,
): Promise<void> {
  const link = join(folder, 'node_modules');
  symlinkSync(modules, link);
  const setup = join(import.meta.dirname, 'first-red.ts');
  const reporter = join(import.meta.dirname, 'reporter.ts');
  const test = {
    include: files,
    pool: 'forks',
    maxWorkers: sideBySide,
    testTimeout: STILL_MS / 2,
    hookTimeout: STILL_MS / 2,
    expect: { poll: { timeout: 20_000, interval: 20 } },
    setupFiles: [setup],
    reporters: [reporter],
    experimental: { viteModuleRunner: false, nodeLoader: false },
  };
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify({ test })};\n`);
  const vitest = join(modules, 'vitest', 'vitest.mjs');
  const run = spawn(process.execPath, [vitest, 'run'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const end = () => process.kill(-run.pid!, 'SIGKILL');
  let timer = setTimeout(end, STILL_MS);
  createInterface(run.stdout).on('line', (line) => {
    if (!line.startsWith('{"file":')) return;
    clearTimeout(timer);
    timer = setTimeout(end, STILL_MS);
    told(JSON.parse(line) as Outcome);
  });
  await new Promise((resolve) => run.once('close', resolve));
  clearTimeout(timer);
}
