/** What does an event cost when the server is not saturated: at 5 k, 20 k and 50 k events a second? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, type Results, runIn } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { ratioGoal, rawOf, roundsTable } from '../rig/table.ts';

export const rate: Question = {
  name: 'rate',
  asks: 'CPU per event at one fixed rate for all, 64 connections, fixed-rate generator.',
  async answer(bench) {
    const starts = [
      () => startNginx(bench.place()),
      () => startUws(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      await runIn(subjects, wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 4 }));
      const measured: { perSecond: number; results: Results }[] = [];
      for (const perSecond of bench.short ? [20_000] : [5_000, 20_000, 50_000]) {
        // CPU time is counted in ticks of 10 ms: low rates need longer rounds for the same resolution.
        const seconds = bench.short ? 1 : perSecond < 10_000 ? 3 : 2;
        const load = bench.openLoop(bench.pixels(), { connections: 64, rate: perSecond, seconds });
        const entries = subjects.map((subject) => ({ name: subject.name, subject, load }));
        measured.push({ perSecond, results: await contest(entries, bench.rounds) });
      }
      const lines = subjects.map(({ name }) => ({
        label: name,
        points: measured.map(
          ({ perSecond, results }) => [perSecond, median(column(results.get(name)!, 'cpuUsPerEvent'))] as const,
        ),
      }));
      return {
        tables: measured.map(({ perSecond, results }) =>
          roundsTable(results, { title: `${perSecond} events/s`, baseline: 'nginx' }),
        ),
        plots: [
          {
            name: 'rate',
            alt: 'CPU per event by rate',
            svg: linePlot('CPU per event by rate', { x: 'events/s', y: 'us per event', linearY: true }, lines),
          },
        ],
        goals: measured.map(({ perSecond, results }) =>
          ratioGoal(`pixel, ACK=journal, ${perSecond / 1000} k events/s`, 1.1, results, 'ringmain journal', 'nginx'),
        ),
        raw: measured.map(({ perSecond, results }) => ({ perSecond, results: rawOf(results) })),
      };
    });
  },
};
