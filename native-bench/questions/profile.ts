/**
 * Where do the microseconds of one event go? By perf, beside nginx and bare uWebSockets.js under the same load: each sample is a call stack,
 * so it belongs to a thread, and there to a system call or to a part of the program. How much a thread costs is perf's to say, how much an
 * event costs is taken from rounds without it, for sampling itself costs. Then the system calls that an event takes, and the functions of our
 * own JavaScript, each by the means that tells them best (rig/syscalls.ts, rig/cpu-profile.ts).
 */
import { join } from 'node:path';
import type { Bench, Question } from '../rig/bench.ts';
import {
  acceptorProfile,
  functionsTable,
  monotonicUs,
  readProfiles,
  type SelfTime,
  selfTimes,
} from '../rig/cpu-profile.ts';
import { type Load, wrk } from '../rig/load.ts';
import { versionBehind } from '../rig/machine.ts';
import { warmFreeMemory } from '../rig/memory.ts';
import { startNginx, startUws } from '../rig/peers.ts';
import { added, type Costs, cell, parts, roles, scaled, sharesOf, sum } from '../rig/perf.ts';
import type { Table } from '../rig/report.ts';
import { startRingmain } from '../rig/ringmain.ts';
import { column, contest, warmUp } from '../rig/rounds.ts';
import { median } from '../rig/stats.ts';
import { freeze, type Subject, thaw } from '../rig/subject.ts';
import { callsPerEvent, callsTable, canCount } from '../rig/syscalls.ts';
import { us } from '../rig/table.ts';

interface Case {
  readonly title: string;
  readonly load: (seconds: number) => Load;
  readonly peers: readonly Subject[];
  readonly eventsPerRequest?: number;
}

/** Our functions under the load of pixels, from a server of its own: a profile is written when a process ends. */
async function functions(bench: Bench, load: (seconds: number) => Load): Promise<SelfTime[]> {
  const place = bench.place();
  const folder = join(place.dir, 'profiles');
  const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=500'];
  const server = await startRingmain(bench.tree, place, { nodeFlags: flags });
  let window = { from: 0, to: 0 };
  try {
    await warmUp(server, load(bench.short ? 1 : 3));
    warmFreeMemory(400 * 2 ** 20);
    thaw(server);
    const begin = monotonicUs();
    const seconds = bench.short ? 1 : 2; // as long as memory stays warm, see rig/memory.ts
    await load(seconds).run(server.url);
    // The generator reads its requests first.
    window = { from: begin + 500_000, to: begin + seconds * 1e6 };
  } finally {
    await server.stop();
  }
  return selfTimes(acceptorProfile(readProfiles(folder)), window.from, window.to);
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
      let acceptorUs = Number.NaN; // of the first case, which the tables below belong to
      for (const { title, load, peers, eventsPerRequest = 1 } of bench.short ? all.slice(0, 1) : all) {
        const subjects = [...peers, ours!];
        const entries = subjects.map((subject) => ({ name: subject.name, subject, load: load(1), eventsPerRequest }));
        const results = await contest(entries, bench.rounds);
        const cost = ({ name }: Subject): number => median(column(results.get(name)!, 'cpuUsPerEvent'));
        const profiles: Costs[][] = [];
        for (const subject of subjects) {
          const { threads } = await sharesOf(subject, load(seconds + 1), bench.file(`${subject.name}.perf`), {
            seconds,
            eventsPerRequest,
          });
          profiles.push(threads.map((shares) => scaled(shares, cost(subject))));
        }
        const { acceptor, sink, keeper, others } = roles(profiles.at(-1)!);
        if (tables.length === 0) acceptorUs = sum(acceptor);
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
      const pixel = all[0]!.load;
      if (canCount()) {
        const calls = new Map<string, Map<string, number>>();
        for (const subject of [nginx!, bare!, ours!])
          calls.set(subject.name, await callsPerEvent(subject, pixel(bench.short ? 1 : 2), bench.file('calls')));
        tables.push(callsTable('System calls per pixel event, 64 connections', calls));
        raw['system calls'] = Object.fromEntries(
          [...calls].map(([name, counts]) => [name, Object.fromEntries(counts)]),
        );
      }
      for (const subject of [nginx!, bare!, ours!]) freeze(subject);
      const times = await functions(bench, pixel);
      tables.push(functionsTable("The acceptor's functions, pixel, 64 connections", times, acceptorUs));
      raw['functions of the acceptor'] = times.slice(0, 100);
      return {
        tables,
        notes: [
          'uws reads and writes what a pixel needs (nine headers, five headers of the answer, answers gathered per turn of the loop) and logs nothing: what the platform costs before a line of ours runs. Of a body it only takes the bytes.',
          'ringmain is the sum of the four columns behind it.',
          canCount()
            ? 'System calls are counted by tracepoints of the kernel, over all threads, in a run of their own; strace would stop the server at each of them and show another server.'
            : 'No table of system calls: this kernel has no tracepoints at /sys/kernel/tracing.',
          "Functions: self time by --cpu-prof (a sample each 0.5 ms), in shares of the acceptor's cost above. It samples by the clock, so a function that waits or is interrupted is charged with that; read the shares, not the microseconds, beside perf's. The sampler sees neither the addon nor the kernel: a function that calls them carries their time, so the one that answers holds the send. `native`: a function of Node itself, its system call included.",
        ],
        versions: [`perf ${versionBehind('version', 'perf', '--version')}`],
        raw,
      };
    });
  },
};
