/** Do memory, handles, GC pauses and latency stay flat? */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Question } from '../rig/bench.ts';
import { gcPauses } from '../rig/gc.ts';
import { openHandles, treeRssMiB } from '../rig/proc.ts';
import type { Goal } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { metric } from '../rig/scrape.ts';
import { median, percentile } from '../rig/stats.ts';
import { count, us } from '../rig/table.ts';

const rate = 20_000;

interface Sample {
  readonly seconds: number;
  readonly rssMiB: number;
  readonly handles: number;
  readonly journalBytes: number;
}

export const soak: Question = {
  name: 'soak',
  asks: `${rate.toLocaleString('en')} pixels/s over 64 connections, ACK=journal, delivered segments kept for ten minutes (the default), log rotated at 512 MiB with two kept.`,
  async answer(bench) {
    const seconds = bench.short ? 4 : bench.long ? 3600 : 600;
    const env = { LOG_ROTATE_MB: '512MiB', LOG_BACKUPS: '2' };
    return bench.with(
      [() => startRingmain(bench.tree, bench.place(), { env, nodeFlags: ['--trace-gc'] })],
      async ([server]) => {
        const samples: Sample[] = [];
        const load = bench.openLoop(bench.pixels(), { connections: 64, rate, seconds, timelineMs: 1000 });
        let running = true;
        const reply = load.run(server!.url).finally(() => {
          running = false;
        });
        const start = performance.now();
        while (running) {
          const text = await server!.metrics();
          samples.push({
            seconds: (performance.now() - start) / 1000,
            rssMiB: treeRssMiB(server!.pid),
            handles: openHandles(server!.pid),
            journalBytes: metric(text, 'ringmain_journal_bytes'),
          });
          await Promise.race([sleep(bench.short ? 500 : 5000), reply]);
        }
        const { timeline = [], answered, sent, refused, failed } = await reply;
        const deadline = performance.now() + 60_000;
        let metrics = await server!.metrics();
        for (; metric(metrics, 'queue_depth') > 0 && performance.now() < deadline; metrics = await server!.metrics())
          await sleep(50);
        const pauses = gcPauses(readFileSync(join(server!.dir, 'ringmain.out'), 'utf8'));
        const within = <T extends { seconds: number }>(all: readonly T[], [from, to]: readonly [number, number]): T[] =>
          all.filter((one) => one.seconds >= from * seconds && one.seconds <= to * seconds);
        const quarter = (from: number, to: number): string[] => {
          const [s, p] = [within(samples, [from, to]), within(pauses, [from, to]).map(({ ms }) => ms)];
          const t = timeline.filter(({ ms }) => ms > from * seconds * 1000 && ms <= to * seconds * 1000);
          return [
            `${Math.round(from * seconds)}..${Math.round(to * seconds)} s`,
            count(median(s.map((x) => x.rssMiB))),
            count(Math.max(...s.map((x) => x.handles))),
            (Math.max(...s.map((x) => x.journalBytes)) / 2 ** 30).toFixed(1),
            count(median(t.map((slice) => slice.p99Us))),
            count(Math.max(...t.map((slice) => slice.maxUs))),
            `${p.length} / ${percentile(p, 0.5).toFixed(2)} / ${percentile(p, 0.99).toFixed(2)} / ${Math.max(...p).toFixed(2)}`,
          ];
        };
        const rows = [0, 1, 2, 3].map((i) => quarter(i / 4, (i + 1) / 4));
        /** The last quarter beside the second: the first still fills rings, pools and the young generation. */
        const growth = (figure: (part: readonly [number, number]) => number): number =>
          figure([0.75, 1]) / figure([0.25, 0.5]);
        const flat = (goal: string, limit: number, figure: (part: readonly [number, number]) => number): Goal => ({
          goal: `${goal}, last quarter of ${seconds} s beside the second`,
          bound: 'most',
          limit,
          value: delivered === answered ? growth(figure) : Number.NaN,
          unit: 'x',
          spread: `${us(figure([0.25, 0.5]))}, then ${us(figure([0.75, 1]))}`,
        });
        const delivered = metric(metrics, 'ringmain_sink_delivered_total');
        return {
          tables: [
            {
              head: [
                '',
                'RSS MiB, median',
                'handles, most',
                'journal GiB',
                'p99 us, median second',
                'max us',
                'GC pauses: count / p50 / p99 / max ms',
              ],
              rows,
            },
          ],
          notes: [
            `${count(answered)} of ${count(sent)} requests answered, ${refused} refused, ${failed} failed; ${count(delivered)} events delivered${delivered === answered ? '' : ' (**differs**)'}.`,
          ],
          goals: [
            flat('RSS', 1.1, (part) => median(within(samples, part).map(({ rssMiB }) => rssMiB))),
            flat('open handles', 1.1, (part) => median(within(samples, part).map(({ handles }) => handles))),
            flat('GC pauses, p99', 1.3, (part) =>
              percentile(
                within(pauses, part).map(({ ms }) => ms),
                0.99,
              ),
            ),
          ],
          raw: { samples, pauses: pauses.length, timeline },
        };
      },
    );
  },
};
