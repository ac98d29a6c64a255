/** Does the cost per byte stay flat from small events to 8 KB? */
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { linePlot } from '../rig/plot.ts';
import type { Goal } from '../rig/report.ts';
import type { PixelOptions } from '../rig/request.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, type Round, voidReason, warmUp } from '../rig/rounds.ts';
import { median, spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, ratioOf, rawOf, us, withSpread } from '../rig/table.ts';
import { lastLines } from '../rig/tail.ts';

const kinds: readonly PixelOptions[] = [
  { bare: true },
  { forwarded: true },
  ...[1500, 3500, 7500].map((padding) => ({ forwarded: true, padding })),
];

/**
 * As after the first JOURNAL_RETAIN_MS. While segments are still made, the keeper fills them with zeros; on one core that it shares with the
 * acceptor it falls behind more than 100 MB/s of events, and they are refused (429): a fresh server under a load that none has.
 */
const reused = { JOURNAL_RETAIN_MS: '0' };

interface Size {
  readonly bytes: number;
  readonly nginx: readonly Round[];
  readonly ours: readonly Round[];
}

export const size: Question = {
  name: 'size',
  asks: 'Pixel events from the smallest line there is (about 190 bytes) to 8 KB, as written to the file, ACK=journal over reused segments, 64 connections; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startRingmain(bench.tree, bench.place(), { env: reused }),
    ];
    return bench.with(starts, async (subjects) => {
      const [nginx, ours] = subjects as [Subject, Subject];
      const loads = (bench.short ? [kinds[0]!, kinds[2]!, kinds.at(-1)!] : kinds).map((kind) =>
        wrk(bench.pixels(kind), { connections: 64, seconds: 1 }),
      );
      // Warm in a short run too: a fresh lane begins with small segments, and who fills them faster than they grow is refused.
      const bytes: number[] = [];
      for (const load of loads) {
        await warmUp(ours, load);
        bytes.push(lineBytes(ours.logs[0]!));
      }
      const row = (subject: Subject, i: number): string => `${subject.name}, ${count(bytes[i]!)} bytes`;
      const entries = loads.flatMap((load, i) => subjects.map((subject) => ({ name: row(subject, i), subject, load })));
      const results = await contest(entries, bench.rounds);
      const sizes = loads.map(
        (_, i): Size => ({
          bytes: bytes[i]!,
          nginx: results.get(row(nginx, i))!,
          ours: results.get(row(ours, i))!,
        }),
      );
      const cost = (rounds: readonly Round[]): number => median(column(rounds, 'cpuUsPerEvent'));
      const rows = sizes.map((one, i) => {
        const reason = voidReason([...one.nginx, ...one.ours]);
        if (reason) return [count(one.bytes), `void: ${reason}`, '', '', ''];
        const previous = sizes[i - 1];
        const perKB = previous
          ? us(((cost(one.ours) - cost(previous.ours)) / (one.bytes - previous.bytes)) * 1024)
          : '';
        return [
          count(one.bytes),
          us(cost(one.nginx)),
          us(cost(one.ours)),
          withSpread(ratioOf(one.ours, one.nginx)),
          perKB,
        ];
      });
      const lines = [
        { label: nginx.name, points: sizes.map((one) => [one.bytes, cost(one.nginx)] as const) },
        { label: ours.name, points: sizes.map((one) => [one.bytes, cost(one.ours)] as const) },
      ];
      const svg = linePlot(
        'CPU per event by size',
        { x: 'bytes of the line', y: 'us per event', linearX: true, linearY: true },
        lines,
      );
      return {
        tables: [{ head: ['bytes per line, about', 'nginx us', 'ringmain us', 'ratio', 'us per further KB'], rows }],
        plots: [{ name: 'size', alt: 'CPU per event by size', svg }],
        goals: [flatGoal(sizes)],
        raw: rawOf(results),
      };
    });
  },
};

/** What a byte costs from the second largest size to the largest, beside what it costs from the smallest to the largest. */
function flatGoal(sizes: readonly Size[]): Goal {
  const cost = ({ ours }: Size, round: number): number => ours[round]!.cpuUsPerEvent;
  const slope = (from: Size, to: Size, round: number): number =>
    (cost(to, round) - cost(from, round)) / (to.bytes - from.bytes);
  const [first, beforeLast, last] = [sizes[0]!, sizes.at(-2)!, sizes.at(-1)!];
  const isVoid = voidReason(sizes.flatMap(({ ours }) => ours)) !== undefined;
  const s = spread(
    isVoid ? [] : last.ours.map((_, round) => slope(beforeLast, last, round) / slope(first, last, round)),
  );
  return {
    goal: 'cost per byte flat from 190 B (the smallest line) to 8 KB: the last step beside the whole',
    bound: 'most',
    limit: 1.3,
    value: s.median,
    unit: 'x',
    spread: `${us(s.min)}..${us(s.max)}`,
  };
}

/** The mean length of the last lines of a file, newline included. */
function lineBytes(path: string): number {
  const lines = lastLines(path, 256 * 1024);
  return lines.reduce((sum, line) => sum + line.length + 1, 0) / lines.length;
}
