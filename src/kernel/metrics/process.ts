/**
 * Process metrics under the names that every Prometheus dashboard expects, read at each scrape. prom-client's own
 * collector would start an event-loop monitor and a GC observer in the thread that serves the scrape.
 */
import { readdirSync } from 'node:fs';
import type { Version } from '../version.ts';
import type { Collected, Collector } from './text.ts';

/** CPU, memory and open files of the whole process, whichever thread asks, and the build. */
export function processMetrics(version: Version): Collector {
  const startSeconds = Math.round((Date.now() - process.uptime() * 1000) / 1000);
  const one = (name: string, type: 'counter' | 'gauge', help: string, value: number, labels = {}): Collected => ({
    name,
    type,
    help,
    values: [{ labels, value }],
  });
  return () => {
    const { user, system } = process.cpuUsage();
    const cpu = 'CPU time of all threads, user and system.';
    const build = { version: version.version, commit: version.commit, node: process.version };
    return [
      one('process_cpu_seconds_total', 'counter', cpu, (user + system) / 1e6),
      one('process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss()),
      one('process_start_time_seconds', 'gauge', 'When the process started, in seconds since 1970.', startSeconds),
      one('process_open_fds', 'gauge', 'Open file descriptors.', openFiles()),
      one('ringmain_build_info', 'gauge', 'Always 1; the labels identify the build.', 1, build),
    ];
  };
}

/** Only Linux lists open files. Elsewhere the answer is NaN, which Prometheus reads as "no value". */
function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return Number.NaN;
  }
}
