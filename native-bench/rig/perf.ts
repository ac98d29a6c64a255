/**
 * Shares of a subject's CPU, by perf: each sample is a call stack, so it belongs to a thread, and there to a system call or to a part of the
 * program. Sampling itself costs; what an event costs is to be taken from rounds without it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Load } from './load.ts';
import { warmFreeMemory } from './memory.ts';
import { processTree, treeCpuUs } from './proc.ts';
import { freeze, loadCore, type Subject, thaw } from './subject.ts';
import { us } from './table.ts';

export const parts = [
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
export type Part = (typeof parts)[number];

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
export type Costs = ReadonlyMap<Part, number>;

export const sum = (costs: Costs): number => [...costs.values()].reduce((all, cost) => all + cost, 0);

export function added(all: readonly Costs[]): Costs {
  return new Map(parts.map((part) => [part, all.reduce((cost, one) => cost + (one.get(part) ?? 0), 0)]));
}

export interface SharesOptions {
  readonly seconds: number;
  readonly eventsPerRequest?: number;
}

export interface Shares {
  /** Of the subject's CPU by part, largest thread first. */
  readonly threads: readonly Costs[];
  /** CPU us of the subject while perf looked, and for how long it did. */
  readonly cpuUs: number;
  readonly seconds: number;
}

/** From the first request until perf looks, ms. */
const SETTLE_MS = 500;

/** Where the subject's CPU goes. The load must last for `seconds` and one more. */
export async function sharesOf(
  subject: Subject,
  load: Load,
  data: string,
  { seconds, eventsPerRequest = 1 }: SharesOptions,
): Promise<Shares> {
  // As before a round: memory that is new to the machine is no part of the server.
  warmFreeMemory((eventsPerRequest > 1 ? 2048 : 400) * 2 ** 20);
  thaw(subject);
  const opened = Promise.withResolvers<void>();
  const running = load.run(subject.url, { opened: () => opened.resolve() });
  await Promise.race([opened.promise, running]); // it may fail before
  await sleep(SETTLE_MS);
  const pids = processTree(subject.pid).map(({ pid }) => pid);
  const record = ['record', '-q', '-g', '-F', '1999', '-p', pids.join(','), '-o', data];
  const [before, begin] = [treeCpuUs(subject.pid), performance.now()];
  const perf = spawn('taskset', ['-c', String(loadCore), 'perf', ...record, '--', 'sleep', String(seconds)], {
    stdio: 'ignore',
  });
  await once(perf, 'exit');
  const looked = { cpuUs: treeCpuUs(subject.pid) - before, seconds: (performance.now() - begin) / 1000 };
  await running;
  freeze(subject);
  const script = execFileSync('perf', ['script', '-i', data, '-F', 'tid,ip,sym,dso'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 29,
  });
  const threads = [...countSamples(script).values()];
  const samples = threads.reduce((all, counts) => all + sum(counts), 0);
  return {
    ...looked,
    threads: threads
      .map((counts): Costs => new Map([...counts].map(([part, count]) => [part, count / samples])))
      .sort((a, b) => sum(b) - sum(a)),
  };
}

/** The acceptor is the largest thread; of the others the keeper syncs most, and the sink is who writes most of the rest. */
export function roles(threads: readonly Costs[]): { acceptor: Costs; sink: Costs; keeper: Costs; others: Costs } {
  const [acceptor, ...rest] = threads as [Costs, ...Costs[]];
  const take = (part: Part): Costs => {
    rest.sort((a, b) => (b.get(part) ?? 0) - (a.get(part) ?? 0));
    return rest.shift() ?? new Map();
  };
  const keeper = take('fdatasync');
  return { acceptor, keeper, sink: take('write'), others: added(rest) };
}

export const scaled = (costs: Costs, factor: number): Costs =>
  new Map([...costs].map(([part, cost]) => [part, cost * factor]));

export const cell = (cost: number): string => (cost < 0.005 ? '' : us(cost));
