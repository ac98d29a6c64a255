/** What does the server cost when nothing happens, and how long does it take to start? */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { treeCpuUs, treeRssMiB } from '../rig/proc.ts';
import type { Goal } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { type Spread, spread } from '../rig/stats.ts';
import type { Subject } from '../rig/subject.ts';
import { count, percent, us, withSpread } from '../rig/table.ts';

interface Still {
  /** Shares of one core while nobody asks anything, before and after a load that touches the whole ring. */
  readonly fresh: number;
  readonly after: number;
  readonly rssFresh: number;
  readonly rssAfter: number;
}

/** Shares of one core that subjects use in the same seconds: none does anything that could disturb the others. */
async function idleShares(subjects: readonly Subject[], seconds: number): Promise<number[]> {
  await sleep(Math.min(1000, seconds * 250)); // what the load has left behind is over
  const before = subjects.map(({ pid }) => treeCpuUs(pid));
  const start = performance.now();
  await sleep(seconds * 1000);
  const us = (performance.now() - start) * 1000;
  return subjects.map(({ pid }, i) => (treeCpuUs(pid) - before[i]!) / us);
}

/** One round: fresh processes, a still time, a load for each, a still time. */
function stillRound(bench: Bench): Promise<Still[]> {
  const seconds = bench.short ? 2 : 5;
  const starts: (() => Promise<Subject>)[] = [
    () => startRingmain(bench.tree, bench.place()),
    () => startNginx(bench.place()),
  ];
  return bench.with(starts, async (subjects) => {
    const rss = (): number[] => subjects.map(({ pid }) => treeRssMiB(pid));
    const rssFresh = rss();
    const fresh = await idleShares(subjects, seconds);
    const load = wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 4 });
    for (const { url } of subjects) await load.run(url);
    const after = await idleShares(subjects, seconds);
    const rssAfter = rss();
    return subjects.map((_, i) => ({
      fresh: fresh[i]!,
      after: after[i]!,
      rssFresh: rssFresh[i]!,
      rssAfter: rssAfter[i]!,
    }));
  });
}

const rangeOf = (s: Spread, text: (value: number) => string): string => `${text(s.min)}..${text(s.max)}`;

export const idle: Question = {
  name: 'idle',
  asks: 'Start, memory and idle cost; ACK=journal, file sink, default rings.',
  async answer(bench) {
    const readyMs: number[] = [];
    for (let i = 0; i < (bench.short ? 2 : 7); i++) {
      await bench.with([() => startRingmain(bench.tree, bench.place())], async ([server]) =>
        readyMs.push(server!.readyMs),
      );
    }
    const rounds = bench.short ? 1 : 3;
    const still: { ours: Still[]; nginx: Still[] } = { ours: [], nginx: [] };
    for (let i = 0; i < rounds; i++) {
      const [ours, nginx] = await stillRound(bench);
      still.ours.push(ours!);
      still.nginx.push(nginx!);
      console.error(`  ${i + 1}/${rounds} still: ${JSON.stringify({ ours, nginx })}`);
    }
    const of = (side: 'ours' | 'nginx', figure: keyof Still): Spread => spread(still[side].map((one) => one[figure]));
    const pair = (what: string, figure: keyof Still, text: (value: number) => string): string[] => [
      what,
      withSpread(of('ours', figure), text),
      withSpread(of('nginx', figure), text),
    ];
    const ready = spread(readyMs);
    const dearer = of('ours', 'fresh').median > of('ours', 'after').median ? of('ours', 'fresh') : of('ours', 'after');
    const goal = (goal: string, limit: number, unit: string, s: Spread, text = count): Goal => ({
      goal,
      bound: 'most',
      limit,
      value: s.median,
      unit,
      spread: rangeOf(s, text),
      headline: true,
    });
    const hundredfold: Spread = {
      ...dearer,
      median: dearer.median * 100,
      min: dearer.min * 100,
      max: dearer.max * 100,
    };
    return {
      tables: [
        {
          head: ['', 'ringmain', 'nginx'],
          rows: [
            ['start to the first 200 of /readyz, ms', withSpread(ready, count), ''],
            pair('idle, share of a core, fresh', 'fresh', percent),
            pair('idle, share of a core, after load', 'after', percent),
            pair('RSS fresh, MiB', 'rssFresh', count),
            pair('RSS after load (ring touched), MiB', 'rssAfter', count),
          ],
        },
      ],
      goals: [
        goal('idle', 1, '% of a core', hundredfold, us),
        goal('RSS with the default rings touched', 150e6 / 2 ** 20, 'MiB', of('ours', 'rssAfter')),
        goal('start to ready', 500, 'ms', ready),
      ],
      raw: { readyMs, still },
    };
  },
};
