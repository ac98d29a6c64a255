/** What do bytes cost on their way to a file: how large should a write be, and what does a sync take on this disk? */
import { closeSync, fdatasyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { preallocated, scratch } from '../rig/lane-rig.ts';
import { type Case, micro } from '../rig/micro.ts';

const KiB = 1024;
const limit = 64 * 2 ** 20;
const memory = Buffer.alloc(KiB * KiB, 'w');
const lineBytes = 480;

/** Appends to a file that is cut now and then, as a rotated log is. */
function appending(bytes: number): () => number {
  const fd = openSync(join(scratch, `append-${bytes}`), 'w');
  process.on('exit', () => closeSync(fd));
  let at = 0;
  return () => {
    for (let done = 0; done < memory.length; done += bytes) {
      writeSync(fd, memory, 0, bytes, at);
      at += bytes;
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

const cases: Case[] = [
  ...[4, 64, 256, 1024].map(
    (size): Case => ({ name: `append, ${size} KiB at once`, kind: 'limit', run: appending(size * KiB) }),
  ),
  { name: 'overwrite of a preallocated file, 256 KiB at once', kind: 'limit', run: overwriting(256 * KiB, false) },
  ...[4, 64, 256].map((size): Case => ({
    name: `the same with fdatasync after every ${size} KiB`,
    kind: 'limit',
    run: overwriting(size * KiB, true),
  })),
];
await micro({
  asks: 'What do the bytes of an event cost on the way to a file?',
  unit: 'event of 480 bytes',
  cases,
  rounds: 6,
});
