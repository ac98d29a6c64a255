/**
 * The experiments of the matrix: one fault each, on the real server, with a client that keeps the ledger of what it was told.
 * All end alike: restart or recovery, delivery of everything that is owed, an audit of the file, a fresh event that gets through.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { buildGo } from './install.ts';
import { type Audit, audit, LedgerClient, type Told } from './ledger.ts';
import { runPinned } from './load.ts';
import type { Place } from './peers.ts';
import { receiver } from './receiver.ts';
import { type Ack, type Ringmain, startRingmain } from './ringmain.ts';
import { metric } from './scrape.ts';

export interface Trial extends Audit {
  /** Events with a 2xx before the fault. */
  readonly stored: number;
  readonly remark: string;
}

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

async function untilDelivered(server: Ringmain, waitMsMax = 30_000): Promise<void> {
  for (const deadline = Date.now() + waitMsMax; ; await sleep(20)) {
    const text = await server.metrics();
    if (metric(text, 'queue_depth') === 0 && metric(text, 'ringmain_sink_up') > 0) return;
    if (Date.now() > deadline) throw new Error(`events must be delivered: queue_depth=${metric(text, 'queue_depth')}`);
  }
}

/** Starts the server again, lets it deliver what it owes, proves that it still works, and looks into the file. */
async function recover(bench: Bench, place: Place, ack: Ack, told: Told): Promise<Audit> {
  return bench.with([() => startRingmain(bench.tree, place, { ack })], async ([server]) => {
    await untilDelivered(server!);
    const fresh = new LedgerClient(place.port, 1);
    while (fresh.stored < 1) await sleep(5);
    const freshTold = await fresh.end();
    for (const id of freshTold.sent) told.sent.add(id);
    await sleep(100);
    await untilDelivered(server!);
    return audit(told, server!.logs);
  });
}

const anyMoment = (): number => 300 + Math.random() * 700;

/** SIGKILL at a random moment under load. */
export async function killed(bench: Bench, ack: Ack): Promise<Trial> {
  const place = bench.place();
  const told = await bench.with([() => startRingmain(bench.tree, place, { ack })], async ([server]) => {
    const client = new LedgerClient(place.port);
    await sleep(anyMoment());
    await server!.kill();
    return client.end();
  });
  const stored = told.stored.size;
  return {
    stored,
    ...(await recover(bench, place, ack, told)),
    remark: '',
  };
}

/** The disk stops taking anything; what only the page cache knows is gone. Needs root, ext4 and loop devices. */
export async function powerCut(bench: Bench, ack: Ack): Promise<Trial> {
  const place = bench.place();
  const image = join(place.dir, 'disk.img');
  const mounted = join(place.dir, 'disk');
  const cut = buildGo('load/cut-power', bench.binaries);
  mkdirSync(mounted);
  run('truncate', '-s', '1G', image);
  run('mkfs.ext4', '-q', '-F', image);
  const mount = (): string => run('mount', '-o', 'loop', image, mounted);
  const inner: Place = { dir: mounted, port: place.port };
  mount();
  try {
    const env = { JOURNAL_MAX_BYTES: '600MiB' };
    const told = await bench.with([() => startRingmain(bench.tree, inner, { ack, env })], async ([server]) => {
      const client = new LedgerClient(inner.port);
      await sleep(anyMoment());
      // The client goes on meanwhile: what it is told until the last moment counts.
      await runPinned(cut, [mounted, String(server!.pid)]);
      return client.end();
    });
    run('umount', mounted);
    mount();
    return { stored: told.stored.size, ...(await recover(bench, inner, ack, told)), remark: '' };
  } finally {
    run('umount', mounted);
  }
}

/** The receiver of the HTTP sink is away at first, then back; intake must not notice. */
export async function sinkAway(bench: Bench, ack: Ack): Promise<Trial> {
  const place = bench.place();
  const target = receiver(bench.place().port, join(place.dir, 'received.ndjson'));
  const options = { ack, env: target.env, sinksIgnored: true };
  try {
    return await bench.with([() => startRingmain(bench.tree, place, options)], async ([server]) => {
      const client = new LedgerClient(place.port);
      await sleep(1500);
      const owed = metric(await server!.metrics(), 'queue_depth');
      const told = await client.end();
      await target.open();
      const start = performance.now();
      await untilDelivered(server!, 60_000);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const remark = `${told.refused + told.unknown} refused; ${owed > 0 ? `delivered ${seconds} s after it was back` : '**it was not away**'}`;
      return { stored: told.stored.size, ...(await audit(told, [target.log])), remark };
    });
  } finally {
    await target.close();
  }
}

/** LOG_PATH on a tmpfs that fills up, then the journal reaches its quota, then there is space again. */
export async function logDiskFull(bench: Bench, ack: Ack): Promise<Trial> {
  const place = bench.place();
  const small = join(place.dir, 'small');
  mkdirSync(small);
  run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', small);
  try {
    const ballast = join(small, 'ballast');
    writeFileSync(ballast, Buffer.alloc(7 * 2 ** 20));
    const log = join(small, 'events.ndjson');
    const env = { LOG_PATH: log, JOURNAL_MAX_BYTES: '32MiB', SEGMENT_BYTES: '8MiB', RING_BYTES: '4MiB' };
    return await bench.with([() => startRingmain(bench.tree, place, { ack, env })], async ([server]) => {
      const client = new LedgerClient(place.port, 16, 2000);
      for (const deadline = Date.now() + 15_000; client.told.refused < 100 && Date.now() < deadline; ) await sleep(20);
      const { refused } = client.told;
      const full = client.stored;
      rmSync(ballast);
      run('mount', '-o', 'remount,size=512m', small);
      const start = performance.now();
      while (client.stored < full + 100 && performance.now() - start < 60_000) await sleep(20);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const told = await client.end();
      await untilDelivered(server!, 60_000);
      const files = readdirSync(small).map((name) => join(small, name));
      const remark =
        refused > 0 ? `429 at the quota; takes events again ${seconds} s after there is space` : '**never refused**';
      return { stored: told.stored.size, ...(await audit(told, files)), remark };
    });
  } finally {
    run('umount', small);
  }
}
