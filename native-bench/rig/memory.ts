/**
 * Memory for the page cache that is really there. Many virtual machines give free memory back to their host (free page
 * reporting, ballooning); the next write to a file then takes a fault in the hypervisor for every page. Measured on such a
 * machine: 1.0 to 2.0 ms per MiB written instead of 0.17. A logger that writes 1 KiB per event would pay more for that than
 * for all its code, and on a host whose memory is in use, as it is everywhere after a day, nobody pays it. So before each
 * round a file is written and deleted again on the file system that is measured: what is free then is warm, for every
 * subject alike. It must be such a file: memory that a tmpfs has freed is not what the page cache takes first (tried).
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';

const piece = Buffer.alloc(4 * 2 ** 20, 1);

/** A short run does without: it shows that everything works, not what it costs. */
export const warmth = { on: true };

export function warmFreeMemory(bytes: number, folder = process.env['BENCH_DIR'] ?? tmpdir()): void {
  if (!warmth.on) return;
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
