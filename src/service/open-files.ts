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
function ownFiles({ acceptors, threads, outputs }: Pick<FileNeeds, 'acceptors' | 'threads' | 'outputs'>): number {
  const seats = acceptors * (RESERVE_SEATS + ADMIN_CONNECTIONS_MAX);
  return PROCESS_FILES + threads * THREAD_FILES + outputs * OUTPUT_FILES + seats;
}

export interface FileNeeds {
  /** MAX_CONNECTIONS. */
  readonly wanted: number;
  /** It is somebody's wish, not the default. */
  readonly set: boolean;
  readonly acceptors: number;
  /** All but main. */
  readonly threads: number;
  readonly outputs: number;
}

/** What the limit of open files comes to. */
export interface FileRoom {
  readonly own: number;
  /** How many connections may be open at once. */
  readonly connections: number;
  /** A sentence when these are fewer than wanted, and whether an operator should act on it. */
  readonly shortage?: { readonly severity: 'note' | 'warning' | 'error'; readonly text: string };
}

/** error: the limit leaves no connections that are worth a start. */
export function fileRoom(needs: FileNeeds, limit: number): FileRoom {
  const { wanted, set } = needs;
  const own = ownFiles(needs);
  if (limit >= wanted + own) return { own, connections: wanted };
  const connections = limit - own;
  if (connections < CONNECTIONS_MIN) {
    const text = `the limit of open files must be at least ${own + CONNECTIONS_MIN}: found=${limit} (ulimit -n)`;
    return { own, connections, shortage: { severity: 'error', text } };
  }
  const text =
    `the limit of open files (${limit}) leaves room for ${connections} connections, ` +
    `fewer than MAX_CONNECTIONS (${wanted})`;
  return { own, connections, shortage: { severity: set || limit < TIGHT_FILES ? 'warning' : 'note', text } };
}

/** How many connections may be open at once; the log hears of a shortage. Throws CONFIG when the limit leaves none. */
export function connectionsWithin(needs: FileNeeds, log: Logger): number {
  const limit = openFileLimit();
  const { own, connections, shortage } = fileRoom(needs, limit);
  if (shortage === undefined) return connections;
  if (shortage.severity === 'error') throw errors.CONFIG({ problems: [shortage.text] });
  log[shortage.severity === 'warning' ? 'warn' : 'info'](
    { limit, own, connections, MAX_CONNECTIONS: needs.wanted },
    shortage.text,
  );
  return connections;
}

/** Of this process. Node has raised the soft limit to the hard one; more is the operator's to give. */
export function openFileLimit(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(limits())?.[1] ?? Number.POSITIVE_INFINITY);
}

function limits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
