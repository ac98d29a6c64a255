/**
 * Seed: random tests print theirs, so that a failure can be run again: SEED=123 npx vitest run test/events/...
 */

/** The seed of this run. */
export const seed: number = Number(process.env['SEED'] ?? (Math.random() * 2 ** 31) | 0);

/** Whether the long mode is on: LONG=1, 20 minutes per random test. */
export const long: boolean = process.env['LONG'] === '1';

export const LONG_MS: number = 20 * 60_000;

/** Small fast generator (mulberry32): the same numbers for the same seed. */
export function randomOf(start: number): (below: number) => number {
  let state = start | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** fast-check's parameters for a property that runs `runs` times in the short mode. */
export const propertyOf = (runs: number): { seed: number; numRuns: number; interruptAfterTimeLimit?: number } =>
  long ? { seed, numRuns: 2 ** 31 - 1, interruptAfterTimeLimit: LONG_MS } : { seed, numRuns: runs };
