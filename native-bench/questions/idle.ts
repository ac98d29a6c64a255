/** What does the server cost when nothing happens, how long does it take to start, and what does a backlog do to it? */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Behind, behind, intakeRate, type Watched } from '../rig/behind.ts';
import type { Bench, Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startNginx } from '../rig/peers.ts';
import { treeCpuUs, treeRssMiB } from '../rig/proc.ts';
import type { Goal, Table } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { median, pairedRatios, percentile, type Spread, spread } from '../rig/stats.ts';
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
  const seconds = bench.short ? 2 : 8;
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

const p99 = ({ pausesMs }: Watched): number => percentile(pausesMs, 0.99);

function behindTable(rounds: readonly Behind[], title: string): Table {
  const row = (what: string, figure: (side: Watched) => number, text: (value: number) => string): string[] => [
    what,
    withSpread(spread(rounds.map(({ loaded }) => figure(loaded))), text),
    withSpread(spread(rounds.map(({ plain }) => figure(plain))), text),
  ];
  return {
    title,
    head: ['', 'backlog behind', 'none'],
    rows: [
      row('seconds', ({ seconds }) => seconds, us),
      row('delivered to the file, events/s', ({ deliveredPerSecond }) => deliveredPerSecond, count),
      row('RSS MiB, median', ({ rssMiB }) => median(rssMiB), count),
      row('RSS MiB, most', ({ rssMostMiB }) => rssMostMiB, count),
      row('open handles, median', ({ handles }) => median(handles), count),
      row('GC pauses', ({ pausesMs }) => pausesMs.length, count),
      row('GC pauses, p50 ms', ({ pausesMs }) => percentile(pausesMs, 0.5), us),
      row('GC pauses, p99 ms', p99, us),
      row('pixels, p99 us', ({ p99Us }) => median(p99Us), count),
    ],
  };
}

/** As in the soak, where the last quarter stands beside the second: here the backlog beside none, round by round. */
function flat(goal: string, limit: number, rounds: readonly Behind[], figure: (side: Watched) => number): Goal {
  const [loaded, plain] = [rounds.map((round) => figure(round.loaded)), rounds.map((round) => figure(round.plain))];
  const ratio = spread(pairedRatios(loaded, plain));
  return {
    goal,
    bound: 'most',
    limit,
    value: ratio.median,
    unit: 'x none',
    spread: `${us(ratio.min)}..${us(ratio.max)}: ${us(median(loaded))} beside ${us(median(plain))}`,
  };
}

const rangeOf = (s: Spread, text: (value: number) => string): string => `${text(s.min)}..${text(s.max)}`;

export const idle: Question = {
  name: 'idle',
  asks: `Start, memory and idle cost; ACK=journal, file sink, default rings. Backlog: two fresh servers, one with it, under ${intakeRate.toLocaleString('en')} pixels/s until it is delivered.`,
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
    const backlogs: Behind[] = [];
    for (let i = 0; i < rounds; i++) {
      bench.clearPlaces(); // each leaves more than ten gigabytes
      const one = await behind(bench, bench.short ? 1e9 : 5e9);
      backlogs.push(one);
      console.error(`  ${i + 1}/${rounds} backlog: ready after ${count(one.readyMs)} ms, ${us(one.loaded.seconds)} s`);
    }

    const of = (side: 'ours' | 'nginx', figure: keyof Still): Spread => spread(still[side].map((one) => one[figure]));
    const pair = (what: string, figure: keyof Still, text: (value: number) => string): string[] => [
      what,
      withSpread(of('ours', figure), text),
      withSpread(of('nginx', figure), text),
    ];
    const ready = spread(readyMs);
    const readyBehind = spread(backlogs.map((one) => one.readyMs));
    const size = `${(backlogs[0]!.backlog.bytes / 1e9).toFixed(1)} GB`;
    const dearer = of('ours', 'fresh').median > of('ours', 'after').median ? of('ours', 'fresh') : of('ours', 'after');
    const touched = of('ours', 'rssAfter');
    const most = spread(backlogs.map(({ loaded }) => loaded.rssMostMiB));
    return {
      notes: [
        'Backlog: samples and pauses of the first quarter are left out, as in the soak: it still fills rings, pools and the young generation.',
      ],
      tables: [
        {
          head: ['', 'ringmain', 'nginx'],
          rows: [
            ['start to the first 200 of /readyz, ms', withSpread(ready, count), ''],
            pair('idle, share of a core, fresh', 'fresh', percent),
            pair('idle, share of a core, after load', 'after', percent),
            pair('RSS fresh, MiB', 'rssFresh', count),
            pair('RSS after load (ring touched), MiB', 'rssAfter', count),
            [`start to ready with ${size} undelivered, ms`, withSpread(readyBehind, count), ''],
          ],
        },
        behindTable(backlogs, `${size} of journal behind, ${count(intakeRate)} pixels/s coming in`),
      ],
      goals: [
        {
          goal: 'idle',
          bound: 'most',
          limit: 1,
          value: dearer.median * 100,
          unit: '% of a core',
          spread: rangeOf(dearer, (share) => us(share * 100)),
        },
        {
          goal: 'RSS with the default rings touched',
          bound: 'most',
          limit: 150e6 / 2 ** 20,
          value: touched.median,
          unit: 'MiB',
          spread: rangeOf(touched, count),
        },
        {
          goal: 'start to ready',
          bound: 'most',
          limit: 500,
          value: ready.median,
          unit: 'ms',
          spread: rangeOf(ready, count),
        },
        {
          goal: `start to ready with ${size} undelivered`,
          bound: 'most',
          limit: 2000,
          value: readyBehind.median,
          unit: 'ms',
          spread: rangeOf(readyBehind, count),
        },
        {
          goal: 'RSS with gigabytes of journal behind: the most while it is delivered, beside the touched rings',
          bound: 'most',
          limit: 1.1,
          value: most.median / touched.median,
          unit: 'x',
          spread: `${rangeOf(most, count)} MiB`,
        },
        flat(`RSS with ${size} of journal behind, beside none at the same load`, 1.1, backlogs, ({ rssMiB }) =>
          median(rssMiB),
        ),
        flat(`open handles with ${size} of journal behind`, 1.1, backlogs, ({ handles }) => median(handles)),
        flat(`GC pauses, p99, with ${size} of journal behind`, 1.3, backlogs, p99),
      ],
      raw: { readyMs, still, backlogs },
    };
  },
};
