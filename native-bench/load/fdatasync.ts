/**
 * The physical limit of ACK=sync: writes so many bytes over a preallocated file and calls fdatasync, again and again.
 *   node fdatasync.ts <folder> <bytes> <seconds>
 *
 * Also computed from these syncs: median and p99 of a request under an ideal group commit. Requests come evenly; each waits for the end of the
 * first sync that begins after it came, and a sync begins when the last one has ended. That is what a server without any cost would answer in.
 */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { percentile } from '../rig/stats.ts';

/** Latencies of requests that come evenly, twenty per sync of median length; what one waits is the rest of the running sync and all of the next. */
function groupCommit(syncs: readonly number[]): number[] {
  const step = percentile(syncs, 0.5) / 20;
  const waits: number[] = [];
  let begin = 0;
  let came = 0;
  for (let i = 0; i + 1 < syncs.length; i += 1) {
    const end = begin + syncs[i]!;
    for (; came < end; came += step) waits.push(end - came + syncs[i + 1]!);
    begin = end;
  }
  return waits;
}

const [folder, bytesText, secondsText] = process.argv.slice(2) as [string, string, string];
const bytes = Math.ceil(Number(bytesText) / 4096) * 4096;
const size = Math.max(64 * 2 ** 20, bytes * 4);
const path = join(folder, 'fdatasync.limit');
const file = openSync(path, 'w');
const zeros = Buffer.alloc(2 ** 20);
for (let at = 0; at < size; at += zeros.length) writeSync(file, zeros, 0, zeros.length, at);
fdatasyncSync(file);
const data = Buffer.alloc(bytes, 'x');
const us: number[] = [];
const start = performance.now();
for (let at = 0; performance.now() - start < Number(secondsText) * 1000; at = (at + bytes) % (size - bytes)) {
  at -= at % 4096;
  writeSync(file, data, 0, bytes, at);
  const before = performance.now();
  fdatasyncSync(file);
  us.push((performance.now() - before) * 1000);
}
closeSync(file);
rmSync(path);
const waits = groupCommit(us);
console.log(
  JSON.stringify({
    bytes,
    count: us.length,
    p50Us: percentile(us, 0.5),
    p99Us: percentile(us, 0.99),
    p999Us: percentile(us, 0.999),
    groupP50Us: percentile(waits, 0.5),
    groupP99Us: percentile(waits, 0.99),
  }),
);
