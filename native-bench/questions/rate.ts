/**
 * What does an event cost when the server is not saturated, and how long does its answer take: at 5 k, 20 k and 50 k events a second,
 * without coordinated omission?
 */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import type { Goal, Table } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { calm, column, contest, met, openColumn, type Results, type Round, runIn, voidReason } from '../rig/rounds.ts';
import { median, spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, ratioGoal, rawOf, roundsTable, withSpread } from '../rig/table.ts';

interface AtRate {
  readonly perSecond: number;
  readonly results: Results;
}

const ours = 'ringmain journal';
const kilo = (perSecond: number): string => `${perSecond / 1000} k events/s`;

/** Of the rounds that the hypervisor left alone; a row without enough of them is only counted. */
function latencies(measured: readonly AtRate[]): Table {
  const rows = measured.flatMap(({ perSecond, results }) =>
    [...results].flatMap(([name, all]): string[][] => {
      const rounds = calm(all);
      const reason = voidReason(rounds);
      const label = `${name}, ${kilo(perSecond)}`;
      if (rounds.length === 0) met.rows.add(label);
      if (reason !== undefined) return rounds.length === 0 ? [] : [[label, `void: ${reason}`, '', '', '', '', '']];
      return [
        [
          label,
          String(rounds.length),
          count(median(column(rounds, 'p50Us'))),
          withSpread(spread(column(rounds, 'p99Us')), count),
          count(median(column(rounds, 'p999Us'))),
          count(median(openColumn(rounds, 'lateP99Us'))),
          withSpread(spread(openColumn(rounds, 'servedP99Us')), count),
        ],
      ];
    }),
  );
  const head = ['subject', 'rounds', 'p50 us', 'p99 us (min..max)', 'p99.9 us'];
  return {
    title: 'Latency from the moment a request was due',
    head: [...head, 'generator late, p99 us', 'p99 us without it'],
    rows,
  };
}

function p99Goal({ perSecond, results }: AtRate, headline: boolean): Goal {
  const rounds: readonly Round[] = calm(results.get(ours)!);
  const isVoid = voidReason(rounds) !== undefined;
  const s = spread(isVoid ? [] : column(rounds, 'p99Us'));
  return {
    goal: `p99 of the answer, ACK=journal, ${kilo(perSecond)}`,
    bound: 'most',
    value: s.median,
    unit: 'us',
    spread: `${count(s.min)}..${count(s.max)}; p50 ${count(median(column(rounds, 'p50Us')))}`,
    ...(headline ? { headline } : {}),
  };
}

export const rate: Question = {
  name: 'rate',
  asks: 'CPU per event and latency at one fixed rate for all, 64 connections, fixed-rate generator.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startNginx(bench.place(), { lua: true }),
      () => startRingmain(bench.tree, bench.place()),
      () => startRingmain(bench.tree, bench.place(), { ack: 'sync' }),
    ];
    return bench.with(starts, async (subjects) => {
      await runIn(subjects, wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 3 }));
      const measured: AtRate[] = [];
      for (const perSecond of bench.short ? [20_000] : [5_000, 20_000, 50_000]) {
        // CPU time is counted in ticks of 10 ms: low rates need longer rounds for the same resolution.
        const seconds = bench.short ? 1 : perSecond < 10_000 ? 2 : 1;
        const load = bench.openLoop(bench.pixels(), { connections: 64, rate: perSecond, seconds });
        const entries = subjects.map((subject) => ({ name: subject.name, subject, load }));
        measured.push({ perSecond, results: await contest(entries, bench.rounds) });
      }
      const lines = subjects.map(({ name }) => ({
        label: name,
        points: measured
          .filter(({ results }) => voidReason(results.get(name)!) === undefined)
          .map(({ perSecond, results }) => [perSecond, median(column(results.get(name)!, 'cpuUsPerEvent'))] as const),
      }));
      const svg = linePlot('CPU per event by rate', { x: 'events/s', y: 'us per event', linearY: true }, lines);
      return {
        tables: [
          ...measured.map(({ perSecond, results }) =>
            roundsTable(results, { title: kilo(perSecond), baseline: 'nginx with Lua' }),
          ),
          latencies(measured),
        ],
        plots: [{ name: 'rate', alt: 'CPU per event by rate', svg }],
        notes: [
          'Latencies are medians over the rounds in which the hypervisor took no more than 0.4 % of the time. Generator late: from when a request was due until the generator came to it. Without it: each latency less that of its own request; the p99 of the server lies between the two.',
        ],
        goals: measured.flatMap((one) => [
          ratioGoal(`pixel, ACK=journal, ${kilo(one.perSecond)}`, undefined, one.results, ours, 'nginx with Lua'),
          p99Goal(one, one.perSecond === 20_000),
        ]),
        raw: measured.map(({ perSecond, results }) => ({ perSecond, results: rawOf(results) })),
      };
    });
  },
};
