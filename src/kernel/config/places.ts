/**
 * Places: whether a path of the configuration can be used as what it is for, asked before anything is touched. Each function
 * gives the line to show, or undefined when all is well. A service calls them for what is really in use: the directory of a
 * sink that is off may be missing.
 */
import { accessSync, constants, type Stats, statfsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

type Code = NodeJS.ErrnoException['code'];

function look(path: string): Stats | Code {
  try {
    return statSync(path);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

function denied(path: string, mode: number): Code {
  try {
    accessSync(path, mode);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

/** Types of file systems of the kernel's own (proc, sysfs): root may write to their directories, access() says, but nobody makes a file there. */
const KERNEL_OWN = new Set([0x9fa0, 0x6265_6572]);

/** A directory that exists and can be written to, or can be made. */
export function directoryProblem(name: string, path: string): string | undefined {
  const must = `${name} must be a directory that can be written to: path=${path}`;
  let at = resolve(path);
  for (;;) {
    const found = look(at);
    if (typeof found === 'object') {
      if (!found.isDirectory()) return `${must}, found=${at === resolve(path) ? 'a file' : `a file at ${at}`}`;
      if (KERNEL_OWN.has(statfsSync(at).type)) return `${must}, found=a file system of the kernel at ${at}`;
      const code = denied(at, constants.W_OK | constants.X_OK);
      return code && `${must}, found=${code}${at === resolve(path) ? '' : ` at ${at}`}`;
    }
    // This ends at the latest at the root, which always is.
    if (found !== 'ENOENT') return `${must}, found=${found}`;
    at = dirname(at);
  }
}

/** A file that can be written to, or made in its directory, which may have to be made as well. */
export function writableFileProblem(name: string, path: string): string | undefined {
  const must = `${name} must be a file that can be written to: path=${path}`;
  if (path.endsWith('/')) return `${must}, found=a directory`;
  const found = look(path);
  if (typeof found === 'object') {
    if (found.isDirectory()) return `${must}, found=a directory`;
    if (!found.isFile()) return `${must}, found=a device, pipe or socket`;
    const code = denied(path, constants.W_OK);
    return code && `${must}, found=${code}`;
  }
  if (found !== 'ENOENT') return `${must}, found=${found}`;
  return directoryProblem(name, dirname(path));
}

/** A file that is there and can be read. */
export function readableFileProblem(name: string, path: string): string | undefined {
  const must = `${name} must be a file that can be read: path=${path}`;
  const found = look(path);
  if (typeof found !== 'object') return `${must}, found=${found}`;
  if (found.isDirectory()) return `${must}, found=a directory`;
  const code = denied(path, constants.R_OK);
  return code && `${must}, found=${code}`;
}
