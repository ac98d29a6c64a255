/** Where do the microseconds of one pixel event go? By perf, beside bare uWebSockets.js under the same load. */
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

const places = ['kernel', 'V8 and Node (C++)', 'JavaScript', 'uWebSockets.js (C++)', 'libc and others'] as const;
type Place = (typeof places)[number];

/** Which part of the program a sample of perf belongs to, by its shared object. */
export function placeOf(object: string): Place {
  if (/^\[kernel|^\[guest|\[vdso\]/.test(object)) return 'kernel';
  if (/uws.*\.node$/.test(object)) return 'uWebSockets.js (C++)';
  if (/^node$/.test(object)) return 'V8 and Node (C++)';
  if (/^\[JIT\]|^perf-\d+\.map$|^\[?anon|^\/\/anon|memfd/.test(object)) return 'JavaScript';
  return 'libc and others';
}

/** Shares by place out of `perf report --sort dso` lines: "   61.20%  [kernel.kallsyms]". */
export function sharesOf(report: string): Map<Place, number> {
  const shares = new Map<Place, number>(places.map((place) => [place, 0]));
  for (const [, percent, object] of report.matchAll(/^\s*([\d.]+)%\s+(\S+)/gm)) {
    const place = placeOf(object!);
    shares.set(place, shares.get(place)! + Number(percent) / 100);
  }
  return shares;
}

async function profileOne(
  subject: Subject,
  requestFile: string,
  data: string,
  seconds: number,
): Promise<{ cpuUs: number; shares: Map<Place, number> }> {
  thaw(subject);
  const load = wrk(requestFile, { connections: 64, seconds: seconds + 1 });
  const running = load.run(subject.url);
  await sleep(500);
  const perf = spawn(
    'taskset',
    [
      '-c',
      String(loadCore),
      'perf',
      'record',
      '-q',
      '-F',
      '1999',
      '-p',
      String(subject.pid),
      '-o',
      data,
      '--',
      'sleep',
      String(seconds),
    ],
    { stdio: 'ignore' },
  );
  await once(perf, 'exit');
  await running;
  // Sampling itself costs: the cost per event is taken from a run without perf.
  const before = treeCpuUs(subject.pid);
  const { answered } = await wrk(requestFile, { connections: 64, seconds }).run(subject.url);
  const cpuUs = (treeCpuUs(subject.pid) - before) / answered;
  freeze(subject);
  const report = execFileSync('perf', ['report', '-i', data, '--sort', 'dso', '--stdio', '-q'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 26,
  });
  return { cpuUs, shares: sharesOf(report) };
}

export const profile: Question = {
  name: 'profile',
  asks: 'CPU of one pixel event by part of the program (perf, 2 kHz, all threads), c=64; wrk.',
  async answer(bench) {
    const starts: (() => Promise<Subject>)[] = [
      () => startUws(bench.place()),
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
      const [floor, ours] = profiles as [(typeof profiles)[0], (typeof profiles)[0]];
      const rows = places.map((place) => {
        const [a, b] = [floor.cpuUs * floor.shares.get(place)!, ours.cpuUs * ours.shares.get(place)!];
        return [place, us(a), us(b), us(b - a)];
      });
      return {
        tables: [
          {
            head: ['', 'bare uWebSockets.js, us', 'ringmain, us', 'difference'],
            rows: [...rows, ['all', us(floor.cpuUs), us(ours.cpuUs), us(ours.cpuUs - floor.cpuUs)]],
          },
        ],
        notes: [
          'The first column is what the platform costs before a line of ours runs; it includes reading query and four headers as strings. The difference is what parsing, ids, the journal, the ring and the file add.',
        ],
        raw: profiles.map(({ cpuUs, shares }) => ({ cpuUs, shares: Object.fromEntries(shares) })),
      };
    });
  },
};
