/** What does the server cost when nothing happens, how long does it take to start, and how much memory does it hold? */
import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { statusKiB, treeCpuUs, treeRssMiB } from '../rig/proc.ts';
import { type RingmainOptions, startRingmain } from '../rig/ringmain.ts';
import { metric } from '../rig/scrape.ts';
import { median, spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, percent, withSpread } from '../rig/table.ts';

/** Share of one core that a subject uses while nobody asks it anything. */
async function idleShare(subject: Subject, seconds: number): Promise<number> {
  await sleep(1000);
  const before = treeCpuUs(subject.pid);
  const start = performance.now();
  await sleep(seconds * 1000);
  return (treeCpuUs(subject.pid) - before) / ((performance.now() - start) * 1000);
}

/** Leaves a journal with so many undelivered bytes, restarts on it with a sink that works, and watches. */
async function withBacklog(
  bench: Bench,
  gigabytes: number,
): Promise<{ readyMs: number; drainSeconds: number; events: number; rssMiB: number; bytes: number }> {
  const place = bench.place();
  const quota = { JOURNAL_MAX_BYTES: `${Math.ceil(gigabytes) + 4}GiB` };
  const stalled: RingmainOptions = { env: { LOG_PATH: '/dev/full', ...quota }, sinksIgnored: true };
  const load = wrk(bench.collects(20), { connections: 64, seconds: 1, path: '/collect' });
  let bytes = 0;
  await bench.with([() => startRingmain(bench.tree, place, stalled)], async ([server]) => {
    while (bytes < gigabytes * 2 ** 30) {
      await load.run(server!.url);
      bytes = metric(await server!.metrics(), 'ringmain_journal_bytes');
    }
  });
  return bench.with([() => startRingmain(bench.tree, place, { env: quota })], async ([server]) => {
    const start = performance.now();
    const log = server!.log;
    const before = existsSync(log) ? statSync(log).size : 0;
    while (metric(await server!.metrics(), 'queue_depth') > 0) await sleep(50);
    const drainSeconds = (performance.now() - start) / 1000;
    const events = metric(await server!.metrics(), 'ringmain_sink_delivered_total');
    return {
      readyMs: server!.readyMs,
      drainSeconds,
      events,
      rssMiB: statusKiB(server!.pid, 'VmHWM') / 1024,
      bytes: bytes - before,
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
    const seconds = bench.short ? 2 : 20;
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
    const backlog = await withBacklog(bench, bench.short ? 0.2 : 5);
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
            [
              `start to ready with ${(backlog.bytes / 2 ** 30).toFixed(1)} GiB undelivered, ms`,
              count(backlog.readyMs),
              '',
            ],
            ['delivery of that backlog to the file, events/s', count(backlog.events / backlog.drainSeconds), ''],
            ['largest RSS meanwhile, MiB', count(backlog.rssMiB), ''],
          ],
        },
      ],
      goals: [
        { goal: 'idle', bound: 'most', limit: 1, value: Math.max(ours.fresh, ours.share) * 100, unit: '% of a core' },
        { goal: 'RSS with the default rings touched', bound: 'most', limit: 150, value: ours.rss, unit: 'MiB' },
        {
          goal: 'start to ready',
          bound: 'most',
          limit: 500,
          value: median(readyMs),
          unit: 'ms',
          spread: `${count(ready.min)}..${count(ready.max)}`,
        },
        {
          goal: 'start to ready with 5 GB undelivered',
          bound: 'most',
          limit: 2000,
          value: backlog.readyMs,
          unit: 'ms',
        },
      ],
      raw: { readyMs, ours, nginx, backlog },
    };
  },
};
