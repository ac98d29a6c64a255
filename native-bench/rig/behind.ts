/**
 * The same load on a server with gigabytes of undelivered journal behind it and on one without: what the backlog does to memory, open
 * handles and the pauses of the garbage collector. Both are fresh, both are watched for as long as the delivery of the backlog takes, and
 * figures are those of the soak: samples of memory and handles, pauses out of --trace-gc, the first quarter left out, for it still fills
 * rings, pools and the young generation.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Backlog, layBacklog } from './backlog.ts';
import type { Bench } from './bench.ts';
import { gcPauses } from './gc.ts';
import type { Place } from './peers.ts';
import { openHandles, statusKiB, treeRssMiB } from './proc.ts';
import { type Ringmain, startRingmain } from './ringmain.ts';
import { metric } from './scrape.ts';
import { LineCounter } from './subject.ts';

/** Pixels a second, as in the soak. */
export const intakeRate = 20_000;
const waitSecondsMax = 120;

export interface Watched {
  readonly seconds: number;
  readonly rssMiB: readonly number[];
  readonly rssMostMiB: number;
  readonly handles: readonly number[];
  readonly pausesMs: readonly number[];
  /** p99 of each slice of the load. */
  readonly p99Us: readonly number[];
  readonly deliveredPerSecond: number;
}

export interface Behind {
  readonly backlog: Backlog;
  /** From spawn to ready, with the backlog. */
  readonly readyMs: number;
  readonly loaded: Watched;
  readonly plain: Watched;
}

const delivered = (metrics: string): number => metric(metrics, 'ringmain_sink_delivered_total');

/** Loads a fresh server until `ended` says so, and checks that every event, `owed` ones included, came to the file exactly once. */
async function watch(
  bench: Bench,
  server: Ringmain,
  owed: number,
  ended: (metrics: string, seconds: number) => boolean,
): Promise<Watched> {
  const born = performance.now() - server.readyMs; // about: /readyz was asked a moment ago
  const [rssMiB, handles, p99Us] = [[], [], []] as number[][];
  const load = bench.openLoop(bench.pixels(), { connections: 64, rate: intakeRate, seconds: bench.short ? 1 : 3 });
  const start = performance.now();
  const before = delivered(await server.metrics());
  let answered = 0;
  let end: Pick<Watched, 'seconds' | 'rssMostMiB' | 'deliveredPerSecond'> | undefined;
  while (end === undefined) {
    let running = true;
    const reply = load.run(server.url).finally(() => {
      running = false;
    });
    while (running) {
      const metrics = await server.metrics();
      const seconds = (performance.now() - start) / 1000;
      if (seconds > waitSecondsMax) throw new Error(`the backlog must be delivered: seconds=${seconds}`);
      if (end === undefined && handles.length > 0 && ended(metrics, seconds)) {
        const deliveredPerSecond = (delivered(metrics) - before) / seconds;
        end = { seconds, rssMostMiB: statusKiB(server.pid, 'VmHWM') / 1024, deliveredPerSecond };
      }
      if (end === undefined) {
        rssMiB.push(treeRssMiB(server.pid));
        handles.push(openHandles(server.pid));
      }
      await Promise.race([sleep(bench.short ? 50 : 250), reply]);
    }
    const slice = await reply;
    if (slice.refused + slice.failed > 0)
      throw new Error(`pixels must be taken: refused=${slice.refused}, failed=${slice.failed}`);
    answered += slice.answered;
    p99Us.push(slice.p99Us);
  }
  await server.stop(); // writes out what it owes, and the trace
  const lines = new LineCounter().count(server.logs);
  if (lines !== owed + answered)
    throw new Error(`every event must be in the file once: lines=${lines}, owed=${owed}, answered=${answered}`);
  const [from, to] = [0.25, 1].map((share) => (start - born) / 1000 + share * end.seconds) as [number, number];
  const pausesMs = gcPauses(readFileSync(join(server.dir, 'ringmain.out'), 'utf8'))
    .filter(({ seconds }) => seconds >= from && seconds <= to)
    .map(({ ms }) => ms);
  const settled = (samples: readonly number[]): number[] => samples.slice(Math.floor(samples.length / 4));
  return { ...end, rssMiB: settled(rssMiB), handles: settled(handles), pausesMs, p99Us };
}

/** Starts on a journal with so many undelivered bytes, watches how they go to the file, then the same without them. */
export async function behind(bench: Bench, bytes: number): Promise<Behind> {
  const place = bench.place();
  // The backlog, the file that it becomes, and space for everybody else.
  const needed = 3 * bytes;
  if (bench.freeBytes() < needed)
    throw new Error(`disk must have space for a backlog: free=${bench.freeBytes()}, needed=${needed}, see BENCH_DIR`);
  const backlog = layBacklog(join(place.dir, 'journal'), bytes);
  const env = { JOURNAL_MAX_BYTES: String(2 * bytes + 2 ** 30) };
  const start = (where: Place) => () => startRingmain(bench.tree, where, { env, nodeFlags: ['--trace-gc'] });
  const { readyMs, loaded } = await bench.with([start(place)], async ([server]) => ({
    readyMs: server!.readyMs,
    // Delivered but for half a second of what comes in.
    loaded: await watch(bench, server!, backlog.events, (text) => metric(text, 'queue_depth') < intakeRate / 2),
  }));
  const plain = await bench.with([start(bench.place())], ([server]) =>
    watch(bench, server!, 0, (_, seconds) => seconds >= loaded.seconds),
  );
  return { backlog, readyMs, loaded, plain };
}
