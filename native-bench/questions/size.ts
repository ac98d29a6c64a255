/** Does the cost per byte stay flat from small events to 8 KB? */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import type { PixelOptions } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, type Results, voidReason } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, ratioOf, rawOf, us, withSpread } from '../rig/table.ts';

const kinds: readonly PixelOptions[] = [
  { bare: true },
  { forwarded: true },
  ...[1500, 3500, 7500].map((padding) => ({ forwarded: true, padding })),
];

export const size: Question = {
  name: 'size',
  asks: 'Pixel events of 100 bytes to 8 KB (as written to the file), ACK=journal, 64 connections; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      const ours = subjects[1]!;
      const measured: { bytes: number; results: Results }[] = [];
      for (const kind of bench.short ? [kinds[0]!, kinds.at(-1)!] : kinds) {
        const load = wrk(bench.pixels(kind), { connections: 64, seconds: bench.seconds });
        const results = await contest(
          subjects.map((subject) => ({ name: subject.name, subject, load })),
          bench.rounds,
        );
        measured.push({ bytes: lineBytes(ours.logs[0]!), results });
      }
      const cost = ({ results }: { results: Results }, name: string): number =>
        median(column(results.get(name)!, 'cpuUsPerEvent'));
      const rows = measured.map((m, i) => {
        const [nginx, rounds] = [m.results.get('nginx')!, m.results.get(ours.name)!];
        const reason = voidReason([...nginx, ...rounds]);
        if (reason) return [count(m.bytes), `void: ${reason}`, '', '', ''];
        const previous = measured[i - 1];
        const perKB = previous
          ? us(((cost(m, ours.name) - cost(previous, ours.name)) / (m.bytes - previous.bytes)) * 1024)
          : '';
        return [
          count(m.bytes),
          us(cost(m, 'nginx')),
          us(cost(m, ours.name)),
          withSpread(ratioOf(rounds, nginx)),
          perKB,
        ];
      });
      const lines = subjects.map(({ name }) => ({
        label: name,
        points: measured.map((m) => [m.bytes, cost(m, name)] as const),
      }));
      const svg = linePlot(
        'CPU per event by size',
        { x: 'bytes of the line', y: 'us per event', linearX: true, linearY: true },
        lines,
      );
      return {
        tables: [{ head: ['bytes per line, about', 'nginx us', 'ringmain us', 'ratio', 'us per further KB'], rows }],
        plots: [{ name: 'size', alt: 'CPU per event by size', svg }],
        raw: measured.map((m) => ({ bytes: m.bytes, results: rawOf(m.results) })),
      };
    });
  },
};

/** The mean length of the last lines of a file, newline included. */
function lineBytes(path: string): number {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(256 * 1024);
  const length = readSync(file, buffer, 0, buffer.length, Math.max(0, fstatSync(file).size - buffer.length));
  closeSync(file);
  const text = buffer.subarray(0, length).toString('latin1');
  const whole = text.slice(text.indexOf('\n') + 1, text.lastIndexOf('\n') + 1);
  return whole.length / (whole.split('\n').length - 1);
}
