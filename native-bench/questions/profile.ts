/**
 * Where do the microseconds of one event go? By perf, beside nginx and bare uWebSockets.js under the same load: each sample is a call stack,
 * so it belongs to a thread, and there to a system call or to a part of the program. How much a thread costs is perf's to say, how much an
 * event costs is taken from rounds without it, for sampling itself costs.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Question } from '../rig/bench.ts';
import { type Load, wrk } from '../rig/load.ts';
import { versionBehind } from '../rig/machine.ts';
import { warmFreeMemory } from '../rig/memory.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { processTree } from '../rig/proc.ts';
import type { Table } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { freeze, loadCore, type Subject, thaw } from '../rig/subject.ts';
import { us } from '../rig/table.ts';

const parts = [
  'send',
  'receive',
  'wait (epoll, futex)',
  'write',
  'fdatasync',
  'kernel, other',
  'V8 and Node (C++)',
  'JavaScript',
  'uWebSockets.js (C++)',
  'nginx, libc and others',
] as const;
type Part = (typeof parts)[number];

const partOfCall: Readonly<Record<string, Part>> = {
  sendto: 'send',
  sendmsg: 'send',
  writev: 'send', // nginx's answers; no other subject calls it
  recvfrom: 'receive',
  epoll_pwait: 'wait (epoll, futex)',
  epoll_wait: 'wait (epoll, futex)',
  futex: 'wait (epoll, futex)',
  pwrite64: 'write',
  write: 'write',
  fdatasync: 'fdatasync',
};

interface Frame {
  readonly name: string;
  /** The shared object, as perf names it. */
  readonly object: string;
}

/** Which part a sample belongs to, by its call stack, innermost frame first. */
export function partOf(stack: readonly Frame[]): Part {
  for (const { name } of stack) {
    const call = /^__(?:x64|arm64)_sys_(\w+)$/.exec(name)?.[1];
    if (call !== undefined) return partOfCall[call] ?? 'kernel, other';
    // Its entry jumps here and leaves no frame of its own.
    if (name === 'do_writev') return 'send';
  }
  const object = stack[0]?.object ?? '';
  if (/^\[kernel|^\[guest|\[vdso\]/.test(object)) return 'kernel, other';
  if (/uws.*\.node$/.test(object)) return 'uWebSockets.js (C++)';
  if (/(^|\/)node$/.test(object)) return 'V8 and Node (C++)';
  if (/^\[JIT\]|perf-\d+\.map$|^\[?anon|^\/\/anon|memfd/.test(object)) return 'JavaScript';
  return 'nginx, libc and others';
}

/** Samples per thread and part, out of `perf script -F tid,ip,sym,dso`: a line with the thread, then one per frame, then an empty one. */
export function countSamples(script: string): Map<number, Map<Part, number>> {
  const threads = new Map<number, Map<Part, number>>();
  for (const block of script.split('\n\n')) {
    const [first = '', ...lines] = block.replace(/^\n+/, '').split('\n');
    const thread = Number.parseInt(first, 10);
    const stack = lines.flatMap((line) => {
      const match = /^\s+[0-9a-f]+ (.+) \((.*)\)\s*$/.exec(line);
      return match ? [{ name: match[1]!, object: match[2]! }] : [];
    });
    if (Number.isNaN(thread) || stack.length === 0) continue;
    const counts = threads.get(thread) ?? new Map<Part, number>();
    threads.set(thread, counts);
    const part = partOf(stack);
    counts.set(part, (counts.get(part) ?? 0) + 1);
  }
  return threads;
}

/** CPU us per event by part, of one thread or of several. */
type Costs = ReadonlyMap<Part, number>;

const sum = (costs: Costs): number => [...costs.values()].reduce((all, cost) => all + cost, 0);

function added(all: readonly Costs[]): Costs {
  return new Map(parts.map((part) => [part, all.reduce((cost, one) => cost + (one.get(part) ?? 0), 0)]));
}

/** Shares of the subject's CPU by thread and part, largest thread first. */
async function sharesOf(
  subject: Subject,
  load: Load,
  data: string,
  { seconds, eventsPerRequest }: { seconds: number; eventsPerRequest: number },
): Promise<Costs[]> {
  // As before a round: memory that is new to the machine is no part of the server.
  warmFreeMemory((eventsPerRequest > 1 ? 2048 : 400) * 2 ** 20);
  thaw(subject);
  const running = load.run(subject.url);
  await sleep(500);
  const pids = processTree(subject.pid).map(({ pid }) => pid);
  const record = ['record', '-q', '-g', '-F', '1999', '-p', pids.join(','), '-o', data];
  const perf = spawn('taskset', ['-c', String(loadCore), 'perf', ...record, '--', 'sleep', String(seconds)], {
    stdio: 'ignore',
  });
  await once(perf, 'exit');
  await running;
  freeze(subject);
  const script = execFileSync('perf', ['script', '-i', data, '-F', 'tid,ip,sym,dso'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 29,
  });
  const threads = [...countSamples(script).values()];
  const samples = threads.reduce((all, counts) => all + sum(counts), 0);
  return threads
    .map((counts): Costs => new Map([...counts].map(([part, count]) => [part, count / samples])))
    .sort((a, b) => sum(b) - sum(a));
}

/** The acceptor is the largest thread; of the others the keeper syncs most, and the sink is who writes most of the rest. */
function roles(threads: readonly Costs[]): { acceptor: Costs; sink: Costs; keeper: Costs; others: Costs } {
  const [acceptor, ...rest] = threads as [Costs, ...Costs[]];
  const take = (part: Part): Costs => {
    rest.sort((a, b) => (b.get(part) ?? 0) - (a.get(part) ?? 0));
    return rest.shift() ?? new Map();
  };
  const keeper = take('fdatasync');
  return { acceptor, keeper, sink: take('write'), others: added(rest) };
}

const scaled = (costs: Costs, factor: number): Costs =>
  new Map([...costs].map(([part, cost]) => [part, cost * factor]));

interface Case {
  readonly title: string;
  readonly load: (seconds: number) => Load;
  readonly peers: readonly Subject[];
  readonly eventsPerRequest?: number;
}

export const profile: Question = {
  name: 'profile',
  asks: 'CPU us of one event by thread and part of the program (shares by perf, 2 kHz; cost from interleaved rounds without it), ACK=journal.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startNginx(bench.place()),
      () => startUws(bench.place(), { READS: '9', HEADERS: 'joined', TEXTS: 'bytes', DEFER: '1' }),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async ([nginx, bare, ours]) => {
      const pixels = bench.pixels();
      const all: Case[] = [
        {
          title: 'Pixel, 64 connections',
          load: (seconds) => wrk(pixels, { connections: 64, seconds }),
          peers: [nginx!, bare!],
        },
        {
          title: 'Pixel, 8 connections',
          load: (seconds) => wrk(pixels, { connections: 8, seconds }),
          peers: [nginx!, bare!],
        },
        {
          title: 'Pixel, 20,000 events/s',
          load: (seconds) => bench.openLoop(pixels, { connections: 64, rate: 20_000, seconds }),
          peers: [nginx!, bare!],
        },
        {
          title: 'POST /collect, 20 events per body',
          load: (seconds) => wrk(bench.collects(20), { connections: 64, seconds, path: '/collect' }),
          peers: [bare!],
          eventsPerRequest: 20,
        },
      ];
      const seconds = bench.short ? 1 : 3;
      const tables: Table[] = [];
      const raw: Record<string, unknown> = {};
      for (const { title, load, peers, eventsPerRequest = 1 } of bench.short ? all.slice(0, 1) : all) {
        const subjects = [...peers, ours!];
        const entries = subjects.map((subject) => ({ name: subject.name, subject, load: load(1), eventsPerRequest }));
        const results = await contest(entries, bench.rounds);
        const cost = ({ name }: Subject): number => median(column(results.get(name)!, 'cpuUsPerEvent'));
        const profiles: Costs[][] = [];
        for (const subject of subjects) {
          const threads = await sharesOf(subject, load(seconds + 1), bench.file(`${subject.name}.perf`), {
            seconds,
            eventsPerRequest,
          });
          profiles.push(threads.map((shares) => scaled(shares, cost(subject))));
        }
        const { acceptor, sink, keeper, others } = roles(profiles.at(-1)!);
        const columns = [...profiles.map(added), acceptor, sink, keeper, others];
        tables.push({
          title,
          head: ['', ...subjects.map(({ name }) => name), 'acceptor', 'file sink', 'keeper', 'other threads'],
          rows: [
            ...parts.map((part) => [part, ...columns.map((costs) => cell(costs.get(part) ?? 0))]),
            ['all', ...columns.map((costs) => us(sum(costs)))],
          ],
        });
        raw[title] = profiles.map((threads) => threads.map((costs) => Object.fromEntries(costs)));
      }
      return {
        tables,
        notes: [
          'uws reads and writes what a pixel needs (nine headers, five headers of the answer, answers gathered per turn of the loop) and logs nothing: what the platform costs before a line of ours runs. Of a body it only takes the bytes.',
          'ringmain is the sum of the four columns behind it.',
        ],
        versions: [`perf ${versionBehind('version', 'perf', '--version')}`],
        raw,
      };
    });
  },
};

const cell = (cost: number): string => (cost < 0.005 ? '' : us(cost));
