/** What does the server cost when nothing happens, how long does it take to start, and how much memory does it hold? */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { layBacklog } from '../rig/backlog.ts';
import type { Bench, Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { statusKiB, treeCpuUs, treeRssMiB } from '../rig/proc.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { metric } from '../rig/scrape.ts';
import { median, spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, percent, withSpread } from '../rig/table.ts';

/** Share of one core that a subject uses while nobody asks it anything. */
async function idleShare(subject: Subject, seconds: number): Promise<number> {
  await sleep(Math.min(1000, seconds * 250)); // what the load has left behind is over
  const before = treeCpuUs(subject.pid);
  const start = performance.now();
  await sleep(seconds * 1000);
  return (treeCpuUs(subject.pid) - before) / ((performance.now() - start) * 1000);
}

interface Drained {
  readonly readyMs: number;
  readonly eventsPerSecond: number;
  readonly rssMiB: number;
  readonly bytes: number;
}

/** Starts on a journal with so many undelivered bytes, and watches how they go to the file. */
async function withBacklog(bench: Bench, bytes: number): Promise<Drained> {
  const place = bench.place();
  // The backlog, the file that it becomes, and space for everybody else.
  const needed = 3 * bytes;
  if (bench.freeBytes() < needed)
    throw new Error(`disk must have space for a backlog: free=${bench.freeBytes()}, needed=${needed}, see BENCH_DIR`);
  const backlog = layBacklog(join(place.dir, 'journal'), bytes);
  const env = { JOURNAL_MAX_BYTES: String(2 * bytes + 2 ** 30) };
  return bench.with([() => startRingmain(bench.tree, place, { env })], async ([server]) => {
    const start = performance.now();
    const delivered = async (): Promise<number> => metric(await server!.metrics(), 'ringmain_sink_delivered_total');
    const before = await delivered();
    for (const deadline = start + 180_000; (await delivered()) < backlog.events && performance.now() < deadline; )
      await sleep(50);
    const seconds = (performance.now() - start) / 1000;
    const events = await delivered();
    if (events !== backlog.events)
      throw new Error(`the backlog must be delivered: events=${backlog.events}, delivered=${events}`);
    return {
      readyMs: server!.readyMs,
      eventsPerSecond: (events - before) / seconds,
      rssMiB: statusKiB(server!.pid, 'VmHWM') / 1024,
      bytes: backlog.bytes,
    };
  });
}

export const idle: Question = {
  name: 'idle',
  asks: 'Start, memory and idle cost; ACK=journal, file sink, default rings.',
  async answer(bench) {
    const starts = bench.short ? 2 : 7;
    const readyMs: number[] = [];
    for (let i = 0; i < starts; i++) {
      await bench.with([() => startRingmain(bench.tree, bench.place())], async ([server]) =>
        readyMs.push(server!.readyMs),
      );
    }
    const seconds = bench.short ? 2 : 15;
    const idleOf = (start: () => Promise<Subject>) =>
      bench.with([start], async ([server]) => {
        const rssFresh = treeRssMiB(server!.pid);
        const fresh = await idleShare(server!, seconds);
        await wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 5 }).run(server!.url); // touches the whole ring
        const share = await idleShare(server!, seconds);
        return { fresh, share, rssFresh, rss: treeRssMiB(server!.pid) };
      });
    const ours = await idleOf(() => startRingmain(bench.tree, bench.place()));
    const nginx = await idleOf(() => startNginx(bench.place()));
    const backlog = await withBacklog(bench, bench.short ? 2e8 : 5e9);
    const ready = spread(readyMs);
    return {
      tables: [
        {
          head: ['', 'ringmain', 'nginx'],
          rows: [
            ['start to the first 200 of /readyz, ms', withSpread(ready, count), ''],
            ['idle, share of a core, fresh', percent(ours.fresh), percent(nginx.fresh)],
            ['idle, share of a core, after load', percent(ours.share), percent(nginx.share)],
            ['RSS fresh, MiB', count(ours.rssFresh), count(nginx.rssFresh)],
            ['RSS after load (ring touched), MiB', count(ours.rss), count(nginx.rss)],
            [`start to ready with ${(backlog.bytes / 1e9).toFixed(1)} GB undelivered, ms`, count(backlog.readyMs), ''],
            ['delivery of that backlog to the file, events/s', count(backlog.eventsPerSecond), ''],
            ['largest RSS meanwhile, MiB', count(backlog.rssMiB), ''],
          ],
        },
      ],
      goals: [
        { goal: 'idle', bound: 'most', limit: 1, value: Math.max(ours.fresh, ours.share) * 100, unit: '% of a core' },
        {
          goal: 'RSS with the default rings touched',
          bound: 'most',
          limit: 150e6 / 2 ** 20,
          value: ours.rss,
          unit: 'MiB',
        },
        {
          goal: 'start to ready',
          bound: 'most',
          limit: 500,
          value: median(readyMs),
          unit: 'ms',
          spread: `${count(ready.min)}..${count(ready.max)}`,
        },
        {
          goal: `start to ready with ${(backlog.bytes / 1e9).toFixed(1)} GB undelivered`,
          bound: 'most',
          limit: 2000,
          value: backlog.readyMs,
          unit: 'ms',
        },
        {
          goal: 'RSS with gigabytes of journal behind: the most while it is delivered, beside the touched rings',
          bound: 'most',
          limit: 1.1,
          value: backlog.rssMiB / ours.rss,
          unit: 'x',
          spread: `${count(backlog.rssMiB)} MiB`,
        },
      ],
      raw: { readyMs, ours, nginx, backlog },
    };
  },
};
