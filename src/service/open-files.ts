/** Open files: whether the process may open as many as MAX_CONNECTIONS promises. */
import { readFileSync } from 'node:fs';
import type { Logger } from '../kernel/log.ts';

/** Files beside connections: segments, sinks, the runtime. */
const OTHER_FILES = 256;
/**
 * MAX_CONNECTIONS is by default what the server can hold, not what everybody needs: only a limit below this is worth a
 * warning.
 */
const TIGHT_FILES = 10_000;

export function checkOpenFiles(maxConnections: number, log: Logger): void {
  // Node has raised the soft limit to the hard one; more is the operator's to give.
  const limit = Number(/^Max open files\s+(\d+)/m.exec(limits())?.[1] ?? Number.POSITIVE_INFINITY);
  const wanted = maxConnections + OTHER_FILES;
  if (limit >= wanted) return;
  log[limit < TIGHT_FILES ? 'warn' : 'info'](
    { limit, wanted },
    'the limit of open files is below MAX_CONNECTIONS; connections beyond it will fail',
  );
}

function limits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
