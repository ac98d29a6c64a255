/**
 * What does a request cost over 10,000 connections, each of which asks every 5 s, and what makes it dearer than over 64? The connections
 * are open before a round begins and closed after it.
 */
import type { Bench, Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { added, type Costs, cell, parts, scaled, sharesOf, sum } from '../rig/perf.ts';
import type { Table } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { contest, type Entry, runIn } from '../rig/rounds.ts';
import type { Subject } from '../rig/subject.ts';
import { ratioGoal, rawOf, roundsTable, us, valueGoal } from '../rig/table.ts';

const rate = 2000;

interface Row {
  readonly entry: Entry;
  /** The same load, so long. */
  readonly lasting: (seconds: number) => Entry['load'];
}

/** What a request costs once the connections are open, and where it goes; of ours also how much of it is the acceptor's. */
async function whereItGoes(
  bench: Bench,
  rows: readonly Row[],
): Promise<{ table: Table; raw: Record<string, unknown> }> {
  const seconds = bench.short ? 1 : 6;
  const columns: { name: string; costs: Costs }[] = [];
  const raw: Record<string, unknown> = {};
  for (const { entry, lasting } of bench.short ? rows.slice(-2) : rows) {
    const shares = await sharesOf(entry.subject, lasting(seconds + 1), bench.file('crowd.perf'), { seconds });
    const cost = shares.cpuUs / (rate * shares.seconds);
    const threads = shares.threads.map((one) => scaled(one, cost));
    columns.push({ name: entry.name, costs: added(threads) });
    // nginx has one thread that works.
    if (entry.name.startsWith('ringmain')) columns.push({ name: 'its acceptor', costs: threads[0] ?? new Map() });
    raw[entry.name] = threads.map((costs) => Object.fromEntries(costs));
  }
  return {
    table: {
      title: 'CPU us of a request, and where they go',
      head: ['', ...columns.map(({ name }) => name)],
      rows: [
        ...parts.map((part) => [part, ...columns.map(({ costs }) => cell(costs.get(part) ?? 0))]),
        ['all', ...columns.map(({ costs }) => us(sum(costs)))],
      ],
    },
    raw,
  };
}

export const crowd: Question = {
  name: 'crowd',
  asks: '2,000 requests/s over 10,000 connections in turn (one every 5 s each) beside the same rate over 64; ACK=journal.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      await runIn(subjects, wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 4 }));
      const seconds = bench.short ? 2 : 6; // every connection gets its turn
      const over = (connections: number) => (lasting: number) =>
        bench.openLoop(bench.pixels(), { connections, rate, seconds: lasting });
      const crowdSize = bench.short ? 2_000 : 10_000;
      const rows = subjects.flatMap((subject) =>
        [64, crowdSize].map((connections): Row => {
          const lasting = over(connections);
          return { entry: { name: `${subject.name}, ${connections}`, subject, load: lasting(seconds) }, lasting };
        }),
      );
      const results = await contest(
        rows.map(({ entry }) => entry),
        bench.short ? 1 : 6,
      );
      const profile = await whereItGoes(bench, rows);
      const goals = [
        ratioGoal(
          '10,000 connections beside 64 at the same rate',
          1.3,
          results,
          `ringmain journal, ${crowdSize}`,
          'ringmain journal, 64',
        ),
        valueGoal(
          `RSS with ${crowdSize.toLocaleString('en')} connections`,
          'most',
          150e6 / 2 ** 20,
          'MiB',
          results.get(`ringmain journal, ${crowdSize}`),
          'rssMiB',
        ),
      ];
      return {
        tables: [roundsTable(results), profile.table],
        notes: [
          'The connections are opened before a round begins and closed after it; neither is in the cost of a request. The second table is of other rounds, under perf.',
        ],
        goals,
        raw: { rounds: rawOf(results), profile: profile.raw },
      };
    });
  },
};
