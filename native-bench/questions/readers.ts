/** What does a further reader of the lanes cost, besides its own work? */
import { join } from 'node:path';
import type { Question } from '../rig/bench.ts';
import { runPinned } from '../rig/load.ts';
import { median, pairedRatios, spread } from '../rig/stats.ts';
import { serverCore } from '../rig/subject.ts';
import { withSpread } from '../rig/table.ts';

const rate = 100_000;

export const readers: Question = {
  name: 'readers',
  asks: `One lane in memory, ${rate.toLocaleString('en')} events/s of 480 bytes, read by N threads that do nothing with them (no server): CPU of the whole process.`,
  async answer(bench) {
    const program = join(import.meta.dirname, '..', 'load', 'lane-readers.ts');
    const counts = [0, 1, 2, 3, 4];
    const cost = counts.map((): number[] => []);
    for (let round = 0; round < (bench.short ? 1 : bench.rounds); round++) {
      for (const readers of counts) {
        const out = await runPinned(
          process.execPath,
          [program, String(readers), String(rate), bench.short ? '0.5' : '2'],
          serverCore,
        );
        const { events, cpuUs } = JSON.parse(out) as { events: number; cpuUs: number };
        cost[readers]!.push(cpuUs / events);
      }
    }
    const added = counts.slice(1).map((readers) => cost[readers]!.map((value, i) => value - cost[readers - 1]![i]!));
    const perReader = spread(
      pairedRatios(
        cost[4]!.map((value, i) => value - cost[1]![i]!),
        cost[4]!.map(() => 3),
      ),
    );
    return {
      tables: [
        {
          head: ['readers', 'CPU us/event, all threads', 'added by the last reader'],
          rows: counts.map((readers) => [
            String(readers),
            withSpread(spread(cost[readers]!)),
            readers === 0 ? '' : withSpread(spread(added[readers - 1]!)),
          ]),
        },
      ],
      notes: [
        'The wake-ups of a reader (naps as the thread of a sink takes them: 4 ms at this rate, up to 16 when less comes) are in its cost: they are per time, not per event.',
      ],
      goals: [
        {
          goal: 'each further reader of the lanes (second to fourth, mean)',
          bound: 'most',
          limit: 0.15,
          value: median([perReader.median]),
          unit: 'us/event',
          spread: `${perReader.min.toFixed(3)}..${perReader.max.toFixed(3)}`,
        },
      ],
      raw: cost,
    };
  },
};
