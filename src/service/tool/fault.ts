/**
 * Faults: what the system refuses a tool (a folder of another user, a full disk) as one line that says what to do. What
 * is left without a line is a defect, and shows its stack.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { serviceErrors } from '../errors.ts';

const denied = new Set(['EACCES', 'EPERM', 'EROFS']);
const full = new Set(['ENOSPC', 'EDQUOT']);
/** The path is not what it should be. */
const wrong = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENAMETOOLONG']);

/** Runs a tool; errors of the system become errors of the table. */
export async function withFaults(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    throw faultOf(error);
  }
}

/** The error as a row of the table when the system's refusal of a file is behind it; else the error itself. */
export function faultOf(error: unknown): unknown {
  const { code, path, syscall, message } = error as NodeJS.ErrnoException;
  if (!(error instanceof Error) || code === undefined || syscall === undefined) return error;
  // Reads and writes of an open file name no path, and neither do sockets; only files meet these two.
  if (path === undefined) {
    if (full.has(code)) return serviceErrors.DISK_FULL({ path: 'unknown' });
    return code === 'EIO' ? serviceErrors.FILE_BROKEN({ path: 'unknown', reason: message }) : error;
  }
  if (denied.has(code)) return serviceErrors.FILE_DENIED({ path, code, advice: adviceFor(path) });
  if (full.has(code)) return serviceErrors.DISK_FULL({ path });
  const unusable = wrong.has(code) ? serviceErrors.FILE_WRONG : serviceErrors.FILE_BROKEN;
  return unusable({ path, reason: message });
}

function adviceFor(path: string): string {
  const uid = process.geteuid?.();
  const owner = ownerOf(path);
  if (owner === undefined || owner === uid) return `run it as the user of the collector (now uid ${uid})`;
  return `run it as the user of the collector: the owner is uid ${owner}, this is uid ${uid}`;
}

/** Owner of the path, or of the nearest folder above it that can be looked at. */
function ownerOf(path: string): number | undefined {
  for (let at = path; ; at = dirname(at)) {
    try {
      return statSync(at).uid;
    } catch {
      if (at === dirname(at)) return undefined;
    }
  }
}
