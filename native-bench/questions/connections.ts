/** Does the cost of an event depend on the number of connections? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, type Results, voidReason } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { count, ratioOf, rawOf, us, withSpread } from '../rig/table.ts';

export const connections: Question = {
  name: 'connections',
  asks: 'A pixel event over 1 to 1,000 connections, ACK=journal; wrk.',
  async answer(bench) {
    return bench.with<Awaited<ReturnType<typeof startNginx>>, Awaited<ReturnType<Question['answer']>>>(
      [() => startNginx(bench.place()), () => startRingmain(bench.tree, bench.place())],
      async (subjects) => {
        const measured: { connections: number; results: Results }[] = [];
        for (const connections of bench.short ? [1, 256] : [1, 8, 64, 256, 1000]) {
          const load = wrk(bench.pixels(), { connections, seconds: bench.seconds });
          const entries = subjects.map((subject) => ({ name: subject.name, subject, load }));
          measured.push({ connections, results: await contest(entries, bench.rounds) });
        }
        const rows = measured.map(({ connections, results }) => {
          const [nginx, ours] = [results.get('nginx')!, results.get('ringmain journal')!];
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
          points: measured.map((m) => [m.connections, median(column(m.results.get(name)!, 'cpuUsPerEvent'))] as const),
        }));
        const svg = linePlot(
          'CPU per event by connections',
          { x: 'connections', y: 'us per event', linearY: true },
          lines,
        );
        return {
          tables: [
            { head: ['connections', 'nginx us', 'ringmain us', 'ratio', 'nginx events/s', 'ringmain events/s'], rows },
          ],
          plots: [{ name: 'connections', alt: 'CPU per event by connections', svg }],
          raw: measured.map((m) => ({ connections: m.connections, results: rawOf(m.results) })),
        };
      },
    );
  },
};
