/**
 * Open files: connections are held to what our own files leave of the limit, so that a flood of connections never takes
 * the files of the journal and the outputs: a keeper that cannot open a segment stops everything.
 */
import { readFileSync } from 'node:fs';
import { ADMIN_CONNECTIONS_MAX, RESERVE_SEATS } from '../http/connection-room.ts';
import { errors } from '../kernel/errors.ts';
import type { Logger } from '../kernel/log.ts';

/** The runtime, the log, the journal's lock, listeners; connections to tracing and resolvers. */
const PROCESS_FILES = 64;
/** Nine for the loop and pipes of a thread; of a lane its segments and spares on both sides. */
const THREAD_FILES = 16;
/** Files that turn over, connections to every broker, database sessions, requests under way. */
const OUTPUT_FILES = 48;
/** With fewer connections it is no server. */
const CONNECTIONS_MIN = 16;
/**
 * MAX_CONNECTIONS is by default what the server can hold, not what everybody needs: unless somebody has set it, only a
 * limit below this is worth a warning.
 */
const TIGHT_FILES = 10_000;

/** Files that a process opens beside the connections of MAX_CONNECTIONS. */
export function ownFiles(acceptors: number, threads: number, outputs: number): number {
  const seats = acceptors * (RESERVE_SEATS + ADMIN_CONNECTIONS_MAX);
  return PROCESS_FILES + threads * THREAD_FILES + outputs * OUTPUT_FILES + seats;
}

/**
 * How many connections may be open at once. `set`: `wanted` is somebody's wish, not the default. Throws CONFIG when the
 * limit leaves none.
 */
export function connectionsWithin(
  wanted: number,
  set: boolean,
  acceptors: number,
  threads: number,
  outputs: number,
  log: Logger,
): number {
  // Node has raised the soft limit to the hard one; more is the operator's to give.
  const limit = Number(/^Max open files\s+(\d+)/m.exec(limits())?.[1] ?? Number.POSITIVE_INFINITY);
  const own = ownFiles(acceptors, threads, outputs);
  if (limit >= wanted + own) return wanted;
  const connections = limit - own;
  if (connections < CONNECTIONS_MIN)
    throw errors.CONFIG({
      problems: [`the limit of open files must be at least ${own + CONNECTIONS_MIN}: found=${limit} (ulimit -n)`],
    });
  log[set || limit < TIGHT_FILES ? 'warn' : 'info'](
    { limit, own, connections, MAX_CONNECTIONS: wanted },
    `the limit of open files (${limit}) leaves room for ${connections} connections, fewer than MAX_CONNECTIONS (${wanted})`,
  );
  return connections;
}

function limits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
