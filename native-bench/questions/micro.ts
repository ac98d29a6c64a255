/** What do the parts cost, beside what physics allows? Runs every file of native-bench/micro/. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Question } from '../rig/bench.ts';
import { runPinned } from '../rig/load.ts';
import { label, type MicroResult } from '../rig/micro.ts';
import type { Table } from '../rig/report.ts';
import { spread } from '../rig/stats.ts';
import { serverCore } from '../rig/subject.ts';
import { withSpread } from '../rig/table.ts';

const home = join(import.meta.dirname, '..', 'micro');
const digits = (ns: number): string => (ns >= 100 ? Math.round(ns).toLocaleString('en') : ns.toPrecision(3));

export const micro: Question = {
  name: 'micro',
  asks: 'One pinned thread, wall clock; where the head of a column or a title says otherwise, CPU time or both cores. Cases in italics are a physical limit (a memory copy, a bare system call) that the others are to be read against. A peer is another program, library or part of the language that does the same work: no limit, it may lose or win.',
  async answer(bench) {
    const files = readdirSync(home).filter((file) => file.endsWith('.ts'));
    const results: MicroResult[] = [];
    for (const file of bench.short ? files.slice(0, 2) : files) {
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
  },
};
