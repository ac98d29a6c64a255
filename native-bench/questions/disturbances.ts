/** What do rotation, segment changes, syncs and garbage collection do to the latency, each shown apart? */
import type { Question } from '../rig/bench.ts';
import { type OpenReply, wrk } from '../rig/load.ts';
import { linePlot } from '../rig/plot.ts';
import { type RingmainOptions, startRingmain } from '../rig/ringmain.ts';
import { invalidReason, runIn } from '../rig/rounds.ts';
import { median, spread } from '../rig/stats.ts';
import { freeze, LineCounter, thaw, untilWritten } from '../rig/subject.ts';
import { count } from '../rig/table.ts';

const allVariants: readonly (RingmainOptions & { name: string })[] = [
  { name: 'as delivered (sync every 10 ms)' },
  { name: 'log file rotated about every second', env: { LOG_ROTATE_MB: '16MiB', LOG_BACKUPS: '0' } },
  { name: 'segments of 8 MiB: a new one twice a second', env: { SEGMENT_BYTES: '8MiB' } },
  { name: 'sync every 1 ms', env: { SYNC_INTERVAL_MS: '1' } },
  { name: 'sync every 100 ms', env: { SYNC_INTERVAL_MS: '100' } },
  { name: 'young generation of 1 MiB: many small GCs', nodeFlags: ['--max-semi-space-size=1'] },
  { name: 'journal off (no disk on the way of an answer)', ack: 'memory', env: { JOURNAL_DIR: 'off' } },
];
const rate = 30_000;

export const disturbances: Question = {
  name: 'disturbances',
  asks: `${rate.toLocaleString('en')} pixels/s over 64 connections, ACK=journal, fixed-rate generator; one thing changed per row.`,
  async answer(bench) {
    const variants = bench.short ? allVariants.slice(0, 3) : allVariants;
    return bench.with(
      variants.map((variant) => () => startRingmain(bench.tree, bench.place(), variant)),
      async (subjects) => {
        const seconds = bench.short ? 1 : 3;
        await runIn(subjects, wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 4 }));
        const load = bench.openLoop(bench.pixels(), { connections: 64, rate, seconds, timelineMs: 100 });
        const counter = new LineCounter();
        const replies = subjects.map((): OpenReply[] => []);
        const reasons = subjects.map((): (string | undefined)[] => []);
        for (let round = bench.short ? 0 : -1; round < (bench.short ? 1 : 4); round++) {
          for (const turn of subjects.keys()) {
            // Nobody is always the first.
            const i = (turn + Math.max(0, round)) % subjects.length;
            const subject = subjects[i]!;
            thaw(subject);
            const before = counter.count(subject.logs);
            const reply = await load.run(subject.url);
            await untilWritten([subject.log]);
            freeze(subject);
            if (round < 0) continue; // warm-up
            replies[i]!.push(reply);
            reasons[i]!.push(
              invalidReason(reply, counter.count(subject.logs) - before, { eventsPerRequest: 1, inFlightMax: 0 }),
            );
          }
        }
        const middle = (i: number, figure: 'p50Us' | 'p99Us' | 'p999Us' | 'p9999Us' | 'maxUs'): string =>
          count(median(replies[i]!.map((reply) => reply[figure])));
        const rows = variants.map(({ name }, i) => {
          const reason = reasons[i]!.find((text) => text !== undefined);
          if (reason) return [name, `void: ${reason}`, '', '', '', ''];
          return [
            name,
            middle(i, 'p50Us'),
            middle(i, 'p99Us'),
            middle(i, 'p999Us'),
            middle(i, 'p9999Us'),
            count(spread(replies[i]!.map((r) => r.maxUs)).max),
          ];
        });
        const lines = [0, 1, 2].map((i) => ({
          label: ['as delivered', 'rotation', 'small segments'][i]!,
          points: replies[i]!.at(-1)!.timeline!.map((slice) => [slice.ms / 1000, slice.maxUs] as const),
        }));
        const svg = linePlot('Largest latency per 100 ms', { x: 'seconds', y: 'us', linearX: true }, lines);
        return {
          tables: [{ head: ['', 'p50 us', 'p99 us', 'p99.9 us', 'p99.99 us', 'max us of all rounds'], rows }],
          plots: [{ name: 'disturbances', alt: 'Largest latency per 100 ms', svg }],
          goals: variants.map(({ name }, i) => ({
            goal: `latency at 30 k/s, ${name.split(/[:(]/)[0]!.trim()}: p99.9`,
            bound: 'most',
            value: reasons[i]!.some((text) => text !== undefined)
              ? Number.NaN
              : median(replies[i]!.map((reply) => reply.p999Us)),
            unit: 'us',
          })),
          raw: Object.fromEntries(
            variants.map(({ name }, i) => [name, replies[i]!.map(({ timeline: _, ...reply }) => reply)]),
          ),
        };
      },
    );
  },
};
