/**
 * Self times by function, out of the profiles that `node --cpu-prof` writes for every thread when the process ends. The sampler knows functions
 * that were inlined, which perf does not; but it looks at the clock, not at the CPU, so it is for a thread that never sleeps in a function of
 * ours. It sees no frames of an addon: a function that calls one carries its time, and that of the system calls it makes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Table } from './report.ts';
import { percent, us } from './table.ts';

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  /** us of CLOCK_MONOTONIC, which is process.hrtime() in every process. */
  readonly startTime: number;
  readonly samples: readonly number[];
  /** us to each sample from the one before it. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  /** Below dist/; `native`: a function of Node without a frame in JavaScript; a module of Node by its own name. */
  readonly file: string;
  readonly share: number;
}

export const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);

export const readProfiles = (folder: string): CpuProfile[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile);

/**
 * No function of JavaScript runs. V8 calls it idle from when the event loop polls until it has polled; the addon receives and parses within that,
 * so under a load that the server cannot keep up with it is work like the other.
 */
const OUTSIDE = ['(program)', '(idle)'];
const ROOT = '(root)';
export const LOOP = 'event loop, and the addon before it calls us';

function fileOf(url: string): string {
  if (url === '') return 'native';
  const dist = url.lastIndexOf('/dist/');
  if (url.startsWith('node:') || dist === -1) return url.replace(/^.*\/node_modules\//, '');
  return url.slice(dist + '/dist/'.length);
}

/** Shares of the samples between two moments, largest first. */
export function selfTimes(profile: CpuProfile, fromUs: number, toUs: number): SelfTime[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const counts = new Map<string, { name: string; file: string; count: number }>();
  let all = 0;
  let at = profile.startTime;
  for (const [i, id] of profile.samples.entries()) {
    at += profile.timeDeltas[i] ?? 0;
    const { functionName, url } = frames.get(id)!;
    if (at < fromUs || at > toUs || functionName === ROOT) continue;
    all += 1;
    const [name, file] = OUTSIDE.includes(functionName) ? [LOOP, ''] : [functionName || '(anonymous)', fileOf(url)];
    const seen = counts.get(`${name} ${file}`) ?? { name, file, count: 0 };
    counts.set(`${name} ${file}`, seen);
    seen.count += 1;
  }
  return [...counts.values()]
    .map(({ name, file, count }) => ({ name, file, share: count / all }))
    .sort((a, b) => b.share - a.share);
}

/** The thread that answers requests: no other one is ever seen in its folder. */
export function acceptorProfile(profiles: readonly CpuProfile[]): CpuProfile {
  const found = profiles.find(({ nodes }) =>
    nodes.some(({ callFrame }) => callFrame.url.endsWith('/dist/pixel/routes-pixel.js')),
  );
  if (found === undefined)
    throw new Error(`a profile of the acceptor must have been written: found=${profiles.length}`);
  return found;
}

const TOP = 12;
const COLLECTOR = '(garbage collector)';

/** The dearest functions, what is left of the others, and what is no function; `costUs`: of the whole thread per event. */
export function functionsTable(title: string, times: readonly SelfTime[], costUs: number): Table {
  const apart = [COLLECTOR, LOOP];
  const functions = times.filter(({ name }) => !apart.includes(name));
  const rest = functions.slice(TOP).reduce((sum, { share }) => sum + share, 0);
  const row = (name: string, file: string, share: number): string[] => [name, file, percent(share), us(share * costUs)];
  return {
    title,
    head: ['function', 'file', 'of the samples', 'us/event'],
    rows: [
      ...functions.slice(0, TOP).map(({ name, file, share }) => row(name, file, share)),
      row(`${functions.length - Math.min(TOP, functions.length)} others`, '', rest),
      ...apart.map((name) => row(name, '', times.find((time) => time.name === name)?.share ?? 0)),
      row('all', '', 1),
    ],
  };
}
