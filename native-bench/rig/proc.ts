/**
 * What a process costs, read from /proc: CPU of all its threads and children, memory, handles; and what the whole
 * machine was busy with meanwhile. The kernel keeps utime + stime exact to the tick (10 ms) per process, exited threads
 * included; so a round must be long against a tick, and a thread that comes and goes cannot hide its cost.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Ticks of user and system time of all threads of the process, ended ones included. */
  readonly ticks: number;
  /** The same of its children that ended and were waited for. */
  readonly childTicks: number;
  readonly threads: number;
}

let ticksPerSecond = 0;
export function usPerTick(): number {
  ticksPerSecond ||= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return 1_000_000 / ticksPerSecond;
}

/** One line of /proc/PID/stat. The name stands in parentheses and may itself hold spaces and parentheses. */
export function parseStat(line: string): Stat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]); // proc(5) counts from 1; two stand before ')'
  return {
    pid: Number.parseInt(line, 10),
    parent: field(4),
    ticks: field(14) + field(15),
    childTicks: field(16) + field(17),
    threads: field(20),
  };
}

function readStat(pid: number | 'self'): Stat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined; // It ended between the listing and the read.
  }
}

/** The process and all that descend from it: nginx is a master and its workers. */
export function processTree(root: number): Stat[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((stat) => stat !== undefined);
  const tree = all.filter((stat) => stat.pid === root);
  for (const member of tree) tree.push(...all.filter((stat) => stat.parent === member.pid)); // grows while it is walked
  return tree;
}

export function treeCpuUs(root: number): number {
  return processTree(root).reduce((sum, stat) => sum + stat.ticks + stat.childTicks, 0) * usPerTick();
}

/** What this process and its ended children used: the difference over a load run is the load generator's own cost. */
export function ownCpuUs(): number {
  const stat = readStat('self')!;
  return (stat.ticks + stat.childTicks) * usPerTick();
}

export function treeRssMiB(root: number): number {
  return processTree(root).reduce((sum, { pid }) => sum + statusKiB(pid, 'VmRSS'), 0) / 1024;
}

function statusKiB(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  try {
    return Number(
      new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
    );
  } catch {
    return 0;
  }
}

export function openHandles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export interface MachineTime {
  readonly busyUs: number;
  readonly idleUs: number;
  /** Time the hypervisor gave to somebody else; a run with much of it is worth nothing. */
  readonly stealUs: number;
}

/** The first line of /proc/stat: user nice system idle iowait irq softirq steal (guest time is part of user). */
export function parseMachine(text: string): MachineTime {
  const [user, nice, system, idle, iowait, irq, softirq, steal] = text
    .split('\n', 1)[0]!
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return {
    busyUs: (user! + nice! + system! + irq! + softirq!) * usPerTick(),
    idleUs: (idle! + iowait!) * usPerTick(),
    stealUs: steal! * usPerTick(),
  };
}

export const machineTime = (): MachineTime => parseMachine(readFileSync('/proc/stat', 'utf8'));

/** Shares of the whole machine between two readings. */
export function between(before: MachineTime, after: MachineTime): { busy: number; steal: number } {
  const busy = after.busyUs - before.busyUs;
  const steal = after.stealUs - before.stealUs;
  const all = busy + steal + after.idleUs - before.idleUs;
  return { busy: busy / all, steal: steal / all };
}
