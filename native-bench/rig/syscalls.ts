/**
 * System calls of a subject, counted in the kernel (perf, tracepoints): nothing is stopped for it as strace would, so the server finds as many
 * requests per wake-up as without it; nothing is timed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Load } from './load.ts';
import { warmFreeMemory } from './memory.ts';
import { processTree } from './proc.ts';
import type { Table } from './report.ts';
import { freeze, loadCore, type Subject, thaw, untilWritten } from './subject.ts';

const events = '/sys/kernel/tracing/events';
/** Calls that any subject makes often; what else it makes is `all` less these. */
const names = [
  'sendto',
  'sendmsg',
  'writev',
  'recvfrom',
  'read',
  'epoll_wait',
  'epoll_pwait',
  'epoll_ctl',
  'futex',
  'pwrite64',
  'write',
  'fdatasync',
  'madvise',
  'mprotect',
  'sched_yield',
  'timerfd_settime',
  'clock_gettime',
  'fstat',
  'newfstatat',
  'statx',
  'fallocate',
] as const;
const ALL = 'raw_syscalls:sys_enter';
const PREFIX = 'syscalls:sys_enter_';

/** What must be there: the kernel's tracepoints, and the right to use them. */
export const canCount = (): boolean => existsSync(`${events}/raw_syscalls/sys_enter`);

/** Counts by call, `all` among them, out of `perf stat -x,`. */
export function parseCounts(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [count, , event] = line.split(',');
    if (event === ALL) counts.set('all', Number(count) || 0);
    else if (event?.startsWith(PREFIX)) counts.set(event.slice(PREFIX.length), Number(count) || 0);
  }
  return counts;
}

/** Calls per event of one load, until its files are written. */
export async function callsPerEvent(subject: Subject, load: Load, output: string): Promise<Map<string, number>> {
  warmFreeMemory(400 * 2 ** 20);
  const here = names.filter((name) => existsSync(`${events}/syscalls/sys_enter_${name}`));
  const wanted = [ALL, ...here.map((name) => `${PREFIX}${name}`)].flatMap((event) => ['-e', event]);
  const pids = processTree(subject.pid).map(({ pid }) => pid);
  const args = ['-c', String(loadCore), 'perf', 'stat', '-x,', '-o', output, ...wanted, '-p', pids.join(',')];
  const perf = spawn('taskset', args, { stdio: 'ignore' });
  const ended = once(perf, 'exit');
  await sleep(500); // it has attached to every thread by then; the subject is still stopped
  thaw(subject);
  const reply = await load.run(subject.url);
  subject.flush?.();
  await untilWritten(subject.logs);
  perf.kill('SIGINT');
  await ended;
  freeze(subject);
  const counts = parseCounts(readFileSync(output, 'utf8'));
  const named = here.reduce((sum, name) => sum + (counts.get(name) ?? 0), 0);
  counts.set('others', (counts.get('all') ?? 0) - named);
  return new Map([...counts].map(([name, count]) => [name, count / reply.answered]));
}

const perEvent = (calls: number): string => (calls < 0.0005 ? '' : calls.toFixed(3));

/** One row per call, the most frequent first; below, all of them. */
export function callsTable(title: string, counts: ReadonlyMap<string, ReadonlyMap<string, number>>): Table {
  const subjects = [...counts.keys()];
  const of = (subject: string, name: string): number => counts.get(subject)?.get(name) ?? 0;
  const most = (name: string): number => Math.max(...subjects.map((subject) => of(subject, name)));
  const row = (name: string): string[] => [name, ...subjects.map((subject) => perEvent(of(subject, name)))];
  const rows = names.filter((name) => most(name) >= 0.0005).sort((a, b) => most(b) - most(a));
  return { title, head: ['calls per event', ...subjects], rows: [...rows, 'others', 'all'].map(row) };
}
