/**
 * What do bytes cost on their way to a file: how large should a write be, what does a sync take on this disk, and how far from both is the
 * file sink? It is the sink's own target, opened and called as the runner does: batches as they come out of the ring, lines gathered,
 * the length of the file looked up, one write, and with a journal a sync of every 8 MiB; settled and rotated when it asks for it.
 */
import { closeSync, fdatasyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createLog } from '../../src/kernel/log.ts';
import { fileSink } from '../../src/sinks/file/sink.ts';
import { preallocated, scratch } from '../rig/lane-rig.ts';
import { type Case, micro } from '../rig/micro.ts';
import { sinkBatch } from '../rig/sink-events.ts';

const KiB = 1024;
const limit = 64 * 2 ** 20;
const memory = Buffer.alloc(KiB * KiB, 'w');
const lineBytes = 480;
const head =
  '{"event_id":"00000000-0000-7000-8000-000000000000","ts":"2026-11-21T08:00:00.123Z","e":"pageview","props":{"x":"';
const line = Buffer.from(`${head}${'x'.repeat(lineBytes - head.length - '"}}\n'.length)}"}}`);
/** What the file sink syncs at once, with a journal. */
const syncBytes = 8 * 2 ** 20;

/** Appends to a file that is cut now and then, as a rotated log is. */
function appending(bytes: number, syncEvery = Number.POSITIVE_INFINITY): () => number {
  const fd = openSync(join(scratch, `append-${bytes}-${syncEvery}`), 'w');
  process.on('exit', () => closeSync(fd));
  let at = 0;
  let unsynced = 0;
  return () => {
    for (let done = 0; done < memory.length; done += bytes) {
      writeSync(fd, memory, 0, bytes, at);
      at += bytes;
      unsynced += bytes;
      if (unsynced < syncEvery) continue;
      fdatasyncSync(fd);
      unsynced = 0;
    }
    if (at >= limit) {
      ftruncateSync(fd, 0);
      at = 0;
    }
    return memory.length / lineBytes;
  };
}

const file = preallocated('in-place', limit);
let place = 0;
const overwriting = (bytes: number, sync: boolean) => (): number => {
  place = (place + bytes) % limit;
  writeSync(file, memory, 0, bytes, place);
  if (sync) fdatasyncSync(file);
  return bytes / lineBytes;
};

/** The file sink, `bytes` of lines per batch; it rotates where the files above are cut, and keeps one rotated file. */
async function sinking(bytes: number, journal: boolean): Promise<() => Promise<number>> {
  const config = {
    logPath: join(scratch, `sink-${bytes}-${journal}.ndjson`),
    logRotateBytes: limit,
    logBackups: 1,
    logMaxAgeDays: 0,
    logCompress: false,
    batchSize: 5000,
    flushIntervalMs: 20,
  };
  const target = await fileSink.open(config, {
    name: 'log',
    logId: '',
    journal,
    state: undefined,
    log: createLog({ level: 'silent', destination: 2, name: 'bench' }),
    signal: new AbortController().signal,
    ended: () => false,
  });
  const batch = sinkBatch(Array.from({ length: Math.floor(bytes / lineBytes) }, () => line));
  const landed = Promise.resolve();
  // What the runner does between two batches, without the checkpoint of its own, which is one write a second.
  const settle = async (): Promise<void> => {
    if (!target.settleDue) return;
    await target.settle?.();
    await target.settled?.();
  };
  return async () => {
    let events = 0;
    for (; events * lineBytes < memory.length; events += batch.count) {
      await settle();
      await target.write(batch, landed);
    }
    return events;
  };
}

const cases: Case[] = [
  ...[4, 64, 256, 1024].map(
    (size): Case => ({ name: `append, ${size} KiB at once`, kind: 'limit', run: appending(size * KiB) }),
  ),
  {
    name: 'append, 256 KiB at once, fdatasync after every 8 MiB',
    kind: 'limit',
    run: appending(256 * KiB, syncBytes),
  },
  { name: 'overwrite of a preallocated file, 256 KiB at once', kind: 'limit', run: overwriting(256 * KiB, false) },
  ...[4, 64, 256].map(
    (size): Case => ({
      name: `the same with fdatasync after every ${size} KiB`,
      kind: 'limit',
      run: overwriting(size * KiB, true),
    }),
  ),
];
for (const journal of [false, true]) {
  const policy = journal ? 'with a journal (fdatasync after every 8 MiB)' : 'without a journal (no sync)';
  for (const size of journal ? [64, 256] : [4, 64, 256]) {
    cases.push({
      name: `file sink ${policy}, batches of ${size} KiB of lines`,
      run: await sinking(size * KiB, journal),
    });
  }
}
await micro({
  asks: 'What do the bytes of an event cost on the way to a file?',
  unit: 'event of 480 bytes',
  cases,
  rounds: 6,
});
