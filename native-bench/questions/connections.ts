/** Does the cost of an event depend on the number of connections? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import type { Goal } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, voidReason } from '../rig/rounds.ts';
import { median, pairedRatios, type Spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, ratioOf, rawOf, us, withSpread } from '../rig/table.ts';

export const connections: Question = {
  name: 'connections',
  asks: 'A pixel event over 1 to 1,000 connections, ACK=journal; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      const counts = bench.short ? [1, 64, 1000] : [1, 8, 64, 256, 1000];
      const row = (subject: string, connections: number): string => `${subject}, ${connections}`;
      const entries = counts.flatMap((connections) => {
        const load = wrk(bench.pixels(), { connections, seconds: 1 });
        return subjects.map((subject) => ({ name: row(subject.name, connections), subject, load }));
      });
      const results = await contest(entries, bench.rounds);
      const of = (subject: string, connections: number) => results.get(row(subject, connections))!;
      const rows = counts.map((connections) => {
        const [nginx, ours] = [of('nginx', connections), of('ringmain journal', connections)];
        const reason = voidReason([...nginx, ...ours]);
        if (reason) return [String(connections), `void: ${reason}`, '', '', '', ''];
        const middle = (rounds: typeof ours, figure: 'cpuUsPerEvent' | 'eventsPerSecond'): number =>
          median(column(rounds, figure));
        return [
          String(connections),
          us(middle(nginx, 'cpuUsPerEvent')),
          us(middle(ours, 'cpuUsPerEvent')),
          withSpread(ratioOf(ours, nginx)),
          count(middle(nginx, 'eventsPerSecond')),
          count(middle(ours, 'eventsPerSecond')),
        ];
      });
      const lines = subjects.map(({ name }) => ({
        label: name,
        points: counts.map((c) => [c, median(column(of(name, c), 'cpuUsPerEvent'))] as const),
      }));
      const svg = linePlot(
        'CPU per event by connections',
        { x: 'connections', y: 'us per event', linearY: true },
        lines,
      );
      const growth = (subject: string, connections: number): Spread =>
        ratioOf(of(subject, connections), of(subject, 64));
      // What one more or one less connection costs the kernel it costs both: our own share is what must stay flat.
      const flatGoal = (connections: number): Goal => {
        const [ours, nginx] = [of('ringmain journal', connections), of('nginx', connections)];
        const [ours64, nginx64] = [of('ringmain journal', 64), of('nginx', 64)];
        const rounds = [...ours, ...nginx, ...ours64, ...nginx64];
        const ratio = (a: typeof ours, b: typeof ours): number[] =>
          pairedRatios(column(a, 'cpuUsPerEvent'), column(b, 'cpuUsPerEvent'));
        const ratios = pairedRatios(ratio(ours, ours64), ratio(nginx, nginx64));
        return {
          goal: `flat from 1 to 1,000 connections: growth from 64 to ${count(connections)}, beside nginx's`,
          bound: 'most',
          limit: 1.3,
          value: voidReason(rounds) === undefined ? median(ratios) : Number.NaN,
          unit: 'x',
          spread: `ours ${us(growth('ringmain journal', connections).median)} x, nginx ${us(growth('nginx', connections).median)} x`,
        };
      };
      return {
        tables: [
          { head: ['connections', 'nginx us', 'ringmain us', 'ratio', 'nginx events/s', 'ringmain events/s'], rows },
        ],
        plots: [{ name: 'connections', alt: 'CPU per event by connections', svg }],
        notes: [
          'With one connection each event waits for the answer before it: every wake-up, write and system call serves one event alone, in nginx as well.',
        ],
        goals: [1, 1000].map(flatGoal),
        raw: rawOf(results),
      };
    });
  },
};
