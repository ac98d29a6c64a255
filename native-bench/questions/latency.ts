/** Which latency at 10, 50 and 80 % of the highest rate, without coordinated omission, and how much of it is the generator's own lateness? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import type { Goal } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, openColumn, type Results, type Round, spreadOf, voidReason } from '../rig/rounds.ts';
import { median, spread } from '../rig/stats.ts';
import { count, rawOf, withSpread } from '../rig/table.ts';

const head = [
  'subject',
  'of its highest',
  'requests/s',
  'p50 us',
  'p99 us (min..max)',
  'p99.9 us',
  'max us',
  'worst round',
  'generator late, p99 us',
  'p99 us without it',
];
const shares = [0.1, 0.5, 0.8];
/** Fifteen rows of five rounds: 3 s each would take more than the five minutes a question may. */
const rounds = 5;
const seconds = 2;

function latencyGoal(share: number, rounds: readonly Round[]): Goal {
  const middle = (figure: 'p50Us' | 'p999Us'): number => median(column(rounds, figure));
  const { median: p99, min, max } = spreadOf(rounds, 'p99Us');
  const late = count(median(openColumn(rounds, 'lateP99Us')));
  return {
    goal: `latency, ACK=journal, c=64, at ${share * 100} % of its highest rate: p99`,
    bound: 'most',
    value: voidReason(rounds) === undefined ? p99 : Number.NaN,
    unit: 'us',
    spread: `${count(min)}..${count(max)}; p50 ${count(middle('p50Us'))}, p99.9 ${count(middle('p999Us'))}; generator late ${late}`,
  };
}

export const latency: Question = {
  name: 'latency',
  asks: 'Latency from the moment a request was due, 64 connections; each subject at shares of its own highest rate (wrk, same run).',
  async answer(bench) {
    const acks = bench.short ? (['journal'] as const) : (['memory', 'journal', 'sync'] as const);
    const starts = [
      () => startNginx(bench.place()),
      () => startUws(bench.place()),
      ...acks.map((ack) => () => startRingmain(bench.tree, bench.place(), { ack })),
    ];
    return bench.with(starts, async (subjects) => {
      const full = wrk(bench.pixels(), { connections: 64, seconds: bench.seconds });
      const highest = await contest(
        subjects.map((subject) => ({ name: subject.name, subject, load: full })),
        bench.short ? 1 : 2,
      );
      const top = (name: string): number => median(column(highest.get(name)!, 'eventsPerSecond'));
      const measured: { share: number; results: Results }[] = [];
      for (const share of bench.short ? [0.5] : shares) {
        const entries = subjects.map((subject) => ({
          name: subject.name,
          subject,
          load: bench.openLoop(bench.pixels(), {
            connections: 64,
            seconds: bench.short ? 1 : seconds,
            rate: Math.round(top(subject.name) * share),
          }),
        }));
        measured.push({ share, results: await contest(entries, bench.short ? 1 : rounds) });
      }
      const rows = subjects.flatMap(({ name }) =>
        measured.map(({ share, results }) => {
          const rounds = results.get(name)!;
          const reason = voidReason(rounds);
          const middle = (figure: 'p50Us' | 'p99Us' | 'p999Us' | 'maxUs'): string =>
            count(median(column(rounds, figure)));
          const label = [name, `${share * 100} %`, count(median(column(rounds, 'eventsPerSecond')))];
          if (reason) return [...label, `void: ${reason}`, ...Array<string>(head.length - 4).fill('')];
          return [
            ...label,
            middle('p50Us'),
            withSpread(spreadOf(rounds, 'p99Us'), count),
            middle('p999Us'),
            middle('maxUs'),
            count(Math.max(...column(rounds, 'maxUs'))),
            withSpread(spread(openColumn(rounds, 'lateP99Us')), count),
            withSpread(spread(openColumn(rounds, 'servedP99Us')), count),
          ];
        }),
      );
      const lines = subjects.map(({ name }) => ({
        label: `${name}, p99`,
        points: measured.map(
          ({ share, results }) => [share * top(name), median(column(results.get(name)!, 'p99Us'))] as const,
        ),
      }));
      return {
        tables: [{ head, rows }],
        plots: [
          { name: 'latency', alt: 'p99 by rate', svg: linePlot('p99 by rate', { x: 'requests/s', y: 'us' }, lines) },
        ],
        notes: [
          `Medians over ${bench.short ? 1 : rounds} rounds, (smallest..largest) for the p99s; each round has percentiles of its own. Worst round: the largest latency of any.`,
          'Generator late: how long after a request was due the generator came to it, to write it or, when all connections waited for an answer, to queue it. Its thread did not run, or was busy with other requests: that is not the server, and it is in every latency of the table all the same. Waiting for a free connection is no such lateness: it is the answer that is owed.',
          'p99 without it: each latency less the lateness of the same request. It still charges the server with answers that lay there while the generator did not run, and it forgives a server that slows the generator down (loopback: part of what a request costs the kernel is done on either side). The p99 of the server itself is at most the first of the two; whether it is as low as the second, this cannot tell.',
        ],
        goals: measured.map(({ share, results }) => latencyGoal(share, results.get('ringmain journal')!)),
        raw: {
          highest: rawOf(highest),
          measured: measured.map(({ share, results }) => ({ share, results: rawOf(results) })),
        },
      };
    });
  },
};
