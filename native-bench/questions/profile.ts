/**
 * Where do the microseconds of one pixel event go? By perf, beside bare uWebSockets.js under the same load: each sample is a call stack, so
 * it belongs to a thread, and there to a system call or to a part of the program.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Question } from '../rig/bench.ts';
import { wrk } from '../rig/load.ts';
import { startUws } from '../rig/peers.ts';
import { treeCpuUs } from '../rig/proc.ts';
import { startRingmain } from '../rig/ringmain.ts';
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
  'libc and others',
] as const;
type Part = (typeof parts)[number];

const partOfCall: Readonly<Record<string, Part>> = {
  sendto: 'send',
  sendmsg: 'send',
  recvfrom: 'receive',
  epoll_pwait: 'wait (epoll, futex)',
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
  }
  const object = stack[0]?.object ?? '';
  if (/^\[kernel|^\[guest|\[vdso\]/.test(object)) return 'kernel, other';
  if (/uws.*\.node$/.test(object)) return 'uWebSockets.js (C++)';
  if (/(^|\/)node$/.test(object)) return 'V8 and Node (C++)';
  if (/^\[JIT\]|perf-\d+\.map$|^\[?anon|^\/\/anon|memfd/.test(object)) return 'JavaScript';
  return 'libc and others';
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

async function profileOne(subject: Subject, requestFile: string, data: string, seconds: number): Promise<Costs[]> {
  thaw(subject);
  const load = wrk(requestFile, { connections: 64, seconds: seconds + 1 });
  const running = load.run(subject.url);
  await sleep(500);
  const record = ['record', '-q', '-g', '-F', '1999', '-p', String(subject.pid), '-o', data];
  const perf = spawn('taskset', ['-c', String(loadCore), 'perf', ...record, '--', 'sleep', String(seconds)], {
    stdio: 'ignore',
  });
  await once(perf, 'exit');
  await running;
  // Sampling itself costs: the cost per event is taken from a run without perf.
  const before = treeCpuUs(subject.pid);
  const { answered } = await wrk(requestFile, { connections: 64, seconds }).run(subject.url);
  const cpuUs = (treeCpuUs(subject.pid) - before) / answered;
  freeze(subject);
  const script = execFileSync('perf', ['script', '-i', data, '-F', 'tid,ip,sym,dso'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 29,
  });
  const threads = [...countSamples(script).values()];
  const samples = threads.reduce((all, counts) => all + [...counts.values()].reduce((n, count) => n + count, 0), 0);
  return threads
    .map((counts) => new Map([...counts].map(([part, count]) => [part, (cpuUs * count) / samples])))
    .sort((a, b) => sum(b) - sum(a));
}

export const profile: Question = {
  name: 'profile',
  asks: 'CPU us of one pixel event by thread and part of the program (perf, 2 kHz), c=64; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startUws(bench.place(), { READS: '9', HEADERS: 'joined', TEXTS: 'bytes', DEFER: '1' }),
      () => startRingmain(bench.tree, bench.place()),
    ];
    return bench.with(starts, async (subjects) => {
      const profiles = [];
      for (const subject of subjects) {
        await wrk(bench.pixels(), { connections: 64, seconds: bench.short ? 1 : 3 }).run(subject.url);
        profiles.push(
          await profileOne(subject, bench.pixels(), bench.file(`${subject.name}.perf`), bench.short ? 1 : 4),
        );
      }
      const [floor, ours] = profiles as [Costs[], Costs[]];
      const [acceptor, second, third, ...others] = ours as [Costs, Costs, Costs, ...Costs[]];
      const synced = (costs: Costs): number => (costs.get('fdatasync') ?? 0) / sum(costs);
      // Both sync, the keeper much oftener.
      const [sink, keeper] = synced(second) < synced(third) ? [second, third] : [third, second];
      const columns = [added(floor), added(ours), acceptor, sink, keeper, added(others)];
      const cell = (cost: number): string => (cost < 0.005 ? '' : us(cost));
      return {
        tables: [
          {
            head: ['', 'bare uWebSockets.js', 'ringmain', 'acceptor', 'file sink', 'keeper', 'other threads'],
            rows: [
              ...parts.map((part) => [part, ...columns.map((costs) => cell(costs.get(part) ?? 0))]),
              ['all', ...columns.map((costs) => us(sum(costs)))],
            ],
          },
        ],
        notes: [
          'The first column reads and writes what a pixel needs (nine headers, five headers of the answer, answers gathered per turn of the loop) and logs nothing: what the platform costs before a line of ours runs. The second is the sum of those behind it.',
        ],
        raw: profiles.map((threads) => threads.map((costs) => Object.fromEntries(costs))),
      };
    });
  },
};
