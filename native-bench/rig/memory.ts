/**
 * Memory for the page cache that is really there. Many virtual machines give free memory back to their host (free page
 * reporting, ballooning); the next write to a file then takes a fault in the hypervisor for every page. Measured on such a
 * machine: 1.0 to 2.0 ms per MiB written instead of 0.17. A logger that writes 1 KiB per event would pay more for that than
 * for all its code, and on a host whose memory is in use, as it is everywhere after a day, nobody pays it. So before each
 * round a file is written and deleted again on the file system that is measured: what is free then is warm, for every
 * subject alike. It must be such a file: memory that a tmpfs has freed is not what the page cache takes first (tried).
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';

/** With less free memory than this the kernel would take back pages while a round runs, and a round would pay for the ones before. */
const FREE_MIN = 6 * 2 ** 30;

const piece = Buffer.alloc(4 * 2 ** 20, 1);

/** A short run does without: it shows that everything works, not what it costs. `places`: the folder with what the subjects have written. */
export const warmth: { on: boolean; places: string | undefined } = { on: true, places: undefined };

/** Bytes that are free and not only the kernel's to take back. */
function unusedBytes(): number {
  return 1024 * Number(/^MemFree:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
}

/** Takes the files of the rounds before out of the page cache: nobody reads them any more. dd with nothing to copy does that for a whole file. */
function forgetFiles(folder: string): void {
  const forget = ['dd', 'of={}', 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'];
  execFileSync('find', [folder, '-type', 'f', '-size', '+1M', '-exec', ...forget, ';'], { stdio: 'ignore' });
}

export function warmFreeMemory(bytes: number, folder = process.env['BENCH_DIR'] ?? tmpdir()): void {
  if (!warmth.on) return;
  if (warmth.places !== undefined && unusedBytes() < FREE_MIN) forgetFiles(warmth.places);
  const path = join(folder, `ringmain-bench-warm-${process.pid}`);
  const file = openSync(path, 'w');
  try {
    const end = Math.min(bytes, freemem() / 4);
    for (let at = 0; at < end; at += piece.length) writeSync(file, piece, 0, piece.length, at);
  } finally {
    closeSync(file);
    rmSync(path); // before the kernel has begun to write it out
  }
}
