/**
 * Micro-benchmarks: one file per question in native-bench/micro/, which ends with `await micro({ asks, unit, cases })`.
 *
 *   node native-bench/micro/publish.ts           prints the table
 *   npm run bench -- --only micro                runs all files, each in a process of its own, into PERFORMANCE.md
 *
 * Cases are interleaved in rounds. A case marked `limit` is what physics allows (a memory copy, a bare system call): the
 * others are to be read as multiples of it. Time is wall clock of one pinned thread.
 */
import type { Goal } from './report.ts';
import { spread } from './stats.ts';

export interface Case {
  readonly name: string;
  readonly limit?: boolean;
  /** Does some milliseconds of work, returns how many units that were. */
  run(): number | Promise<number>;
}

export interface Micro {
  readonly asks: string;
  /** What one unit is: 'event', 'byte', 'sync'. */
  readonly unit: string;
  readonly cases: readonly Case[];
  readonly rounds?: number;
  readonly roundMs?: number;
}

export interface MicroResult {
  readonly asks: string;
  readonly unit: string;
  readonly rows: readonly { name: string; limit: boolean; ns: number[] }[];
  readonly goals?: readonly Goal[];
  /** What took part besides Node, asked from what really ran. */
  readonly versions?: readonly string[];
}

async function oneRound(one: Case, ms: number): Promise<number> {
  const start = performance.now();
  let units = 0;
  let now = start;
  do {
    units += await one.run();
    now = performance.now();
  } while (now - start < ms);
  return ((now - start) * 1e6) / units;
}

export async function micro({ asks, unit, cases, rounds = 10, roundMs = 60 }: Micro): Promise<void> {
  const rows = cases.map(({ name, limit = false }) => ({ name, limit, ns: [] as number[] }));
  for (const one of cases) await oneRound(one, 2 * roundMs); // lets the compiler finish
  for (let round = 0; round < rounds; round++) {
    for (const [i, one] of cases.entries()) rows[i]!.ns.push(await oneRound(one, roundMs));
  }
  const result: MicroResult = { asks, unit, rows };
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify(result));
    return;
  }
  console.log(`${asks} (Node ${process.versions.node}, ns per ${unit}, median (min..max) of ${rounds} rounds)`);
  for (const { name, limit, ns } of rows) {
    const { median, min, max } = spread(ns);
    console.log(
      `  ${limit ? '= ' : '  '}${name.padEnd(52)} ${median.toFixed(1).padStart(9)} (${min.toFixed(1)}..${max.toFixed(1)})`,
    );
  }
}
