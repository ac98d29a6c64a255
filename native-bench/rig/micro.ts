/**
 * Micro-benchmarks: one file per question in native-bench/micro/, which ends with `await micro({ asks, unit, cases })`.
 *
 *   node native-bench/micro/publish.ts           prints the table
 *   npm run bench -- --only micro                runs all files but those of sinks, each in a process of its own, into RESULTS.md
 *
 * Cases are interleaved in rounds. Time is wall clock of one pinned thread, unless the file measures for itself and says so. What a case is:
 *   limit   what physics allows (a memory copy, a bare system call): the others are to be read as multiples of it
 *   peer    another program, library or part of the language that does the same work: it may be beaten, and it may win
 *   (none)  a part of the product
 */
import type { Goal } from './report.ts';
import { spread } from './stats.ts';

export type Kind = 'limit' | 'peer' | 'ours';

export interface Case {
  readonly name: string;
  /** Default: ours. */
  readonly kind?: Kind;
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
  readonly rows: readonly { name: string; kind: Kind; ns: number[] }[];
  readonly goals?: readonly Goal[];
  /** What took part besides Node, asked from what really ran. */
  readonly versions?: readonly string[];
}

/** How a row is named on a page: a limit in italics, a peer as one. */
export function label({ name, kind }: { readonly name: string; readonly kind: Kind }): string {
  if (kind === 'limit') return `_${name}_`;
  return kind === 'peer' ? `peer: ${name}` : name;
}

const marks: Readonly<Record<Kind, string>> = { limit: '= ', peer: '~ ', ours: '  ' };
/** The same on a terminal, where columns must line up. */
export const mark = (kind: Kind): string => marks[kind];

const defaultRounds = Number(process.env['ROUNDS'] ?? 10);

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

export async function micro({ asks, unit, cases, rounds = defaultRounds, roundMs = 60 }: Micro): Promise<void> {
  const rows = cases.map(({ name, kind = 'ours' as const }) => ({ name, kind, ns: [] as number[] }));
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
  for (const { name, kind, ns } of rows) {
    const { median, min, max } = spread(ns);
    console.log(
      `  ${mark(kind)}${name.padEnd(52)} ${median.toFixed(1).padStart(9)} (${min.toFixed(1)}..${max.toFixed(1)})`,
    );
  }
}
