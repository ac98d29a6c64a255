/** Which latency at 10, 50 and 80 % of the highest rate, without coordinated omission? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import type { Goal } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, type Results, type Round, voidReason } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { count, rawOf } from '../rig/table.ts';

const shares = [0.1, 0.5, 0.8];

function latencyGoal(share: number, rounds: readonly Round[]): Goal {
  const middle = (figure: 'p50Us' | 'p99Us' | 'p999Us'): number => median(column(rounds, figure));
  return {
    goal: `latency, ACK=journal, c=64, at ${share * 100} % of its highest rate: p99`,
    bound: 'most',
    value: voidReason(rounds) === undefined ? middle('p99Us') : Number.NaN,
    unit: 'us',
    spread: `p50 ${count(middle('p50Us'))}, p99.9 ${count(middle('p999Us'))}`,
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
            seconds: bench.short ? 1 : 3,
            rate: Math.round(top(subject.name) * share),
          }),
        }));
        measured.push({ share, results: await contest(entries, bench.short ? 1 : 3) });
      }
      const rows = subjects.flatMap(({ name }) =>
        measured.map(({ share, results }) => {
          const rounds = results.get(name)!;
          const reason = voidReason(rounds);
          const middle = (figure: 'p50Us' | 'p99Us' | 'p999Us' | 'maxUs'): string =>
            count(median(column(rounds, figure)));
          const label = [name, `${share * 100} %`, count(median(column(rounds, 'eventsPerSecond')))];
          if (reason) return [...label, `void: ${reason}`, '', '', '', ''];
          const worst = count(Math.max(...column(rounds, 'maxUs')));
          return [...label, middle('p50Us'), middle('p99Us'), middle('p999Us'), middle('maxUs'), worst];
        }),
      );
      const lines = subjects.map(({ name }) => ({
        label: `${name}, p99`,
        points: measured.map(
          ({ share, results }) => [share * top(name), median(column(results.get(name)!, 'p99Us'))] as const,
        ),
      }));
      return {
        tables: [
          {
            head: ['subject', 'of its highest', 'requests/s', 'p50 us', 'p99 us', 'p99.9 us', 'max us', 'worst round'],
            rows,
          },
        ],
        plots: [
          { name: 'latency', alt: 'p99 by rate', svg: linePlot('p99 by rate', { x: 'requests/s', y: 'us' }, lines) },
        ],
        notes: [
          'Medians over the rounds; each round has percentiles of its own. The last column is the largest latency of any round.',
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
