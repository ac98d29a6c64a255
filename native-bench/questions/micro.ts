/** What do the parts cost, beside what physics allows? And the sinks, beside other clients of the same servers? */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Question } from '../rig/bench.ts';
import { runPinned } from '../rig/load.ts';
import { label, type MicroResult } from '../rig/micro.ts';
import type { Answer, Table } from '../rig/report.ts';
import { spread } from '../rig/stats.ts';
import { serverCore } from '../rig/subject.ts';
import { withSpread } from '../rig/table.ts';

const home = join(import.meta.dirname, '..', 'micro');
const digits = (ns: number): string => (ns >= 100 ? Math.round(ns).toLocaleString('en') : ns.toPrecision(3));

/** Runs files of native-bench/micro/, each in a process of its own. */
async function tablesOf(bench: Bench, files: readonly string[]): Promise<Answer> {
  if (bench.short) process.env['ROUNDS'] = '1';
  const results: MicroResult[] = [];
  for (const file of files) {
    const out = await runPinned(process.execPath, [join(home, file), '--json'], serverCore);
    results.push(JSON.parse(out) as MicroResult);
  }
  const tables = results.map(
    ({ asks, unit, rows }): Table => ({
      title: asks,
      head: ['case', `ns per ${unit}, median (min..max)`],
      rows: rows.map((row) => [label(row), withSpread(spread(row.ns), digits)]),
    }),
  );
  return {
    tables,
    goals: results.flatMap(({ goals = [] }) => goals),
    versions: results.flatMap(({ versions = [] }) => versions),
    raw: results,
  };
}

const sinkFiles = ['kafka.ts', 'postgres.ts', 'rollups.ts'];

export const sinks: Question = {
  name: 'sinks',
  asks: 'Kafka and Postgres on the same two cores as their client, beside other clients on the same servers.',
  answer: (bench) => tablesOf(bench, sinkFiles),
};

export const micro: Question = {
  name: 'micro',
  asks: 'One pinned thread, wall clock. Cases in italics are a physical limit (a memory copy, a bare system call) that the others are to be read against. A peer is another program, library or part of the language that does the same work: no limit, it may lose or win.',
  answer: (bench) =>
    tablesOf(
      bench,
      readdirSync(home).filter((file) => file.endsWith('.ts') && !sinkFiles.includes(file)),
    ),
};
