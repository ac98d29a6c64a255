/** Does the cost of an event depend on the number of connections? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, voidReason } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, ratioGoal, ratioOf, rawOf, us, withSpread } from '../rig/table.ts';

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
      const growth = (subject: string, connections: number): string =>
        ratioOf(of(subject, connections), of(subject, 64)).median.toFixed(2);
      return {
        tables: [
          { head: ['connections', 'nginx us', 'ringmain us', 'ratio', 'nginx events/s', 'ringmain events/s'], rows },
        ],
        plots: [{ name: 'connections', alt: 'CPU per event by connections', svg }],
        notes: [
          `Beside its own cost at 64 connections nginx needs ${growth('nginx', 1)} x with one and ${growth('nginx', 1000)} x with 1,000. With one, each event waits for the answer before it: every wake-up, write and system call serves one event alone.`,
        ],
        goals: [1, 1000].map((connections) =>
          ratioGoal(
            `flat from 1 to 1,000 connections: ${connections.toLocaleString('en')} beside 64`,
            1.3,
            results,
            row('ringmain journal', connections),
            row('ringmain journal', 64),
          ),
        ),
        raw: rawOf(results),
      };
    });
  },
};
