/**
 * Paths: checks whether a path of the configuration can serve its purpose, without changing anything. Each function
 * returns the line to show, or undefined when the path is fine. A service checks only the paths that it will use: the
 * directory of a sink that is off may be missing.
 */
import { accessSync, constants, existsSync, type Stats, statfsSync, statSync } from 'node:fs';
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

/**
 * File systems that the kernel makes up (proc, sysfs). access() allows root to write to their directories, but creating
 * a file there fails.
 */
const KERNEL_OWN = new Set([0x9fa0, 0x6265_6572]);

/** The path must be a writable directory, or one that can be created. */
export function directoryProblem(name: string, path: string): string | undefined {
  const must = `${name} must be a writable directory: path=${path}`;
  let at = resolve(path);
  for (;;) {
    const found = look(at);
    if (typeof found === 'object') {
      if (!found.isDirectory()) return `${must}, found=${at === resolve(path) ? 'a file' : `a file at ${at}`}`;
      if (KERNEL_OWN.has(statfsSync(at).type)) return `${must}, found=a file system of the kernel at ${at}`;
      const code = denied(at, constants.W_OK | constants.X_OK);
      return code && `${must}, found=${code}${at === resolve(path) ? '' : ` at ${at}`}`;
    }
    // The loop ends at the root at the latest, because the root always exists.
    if (found !== 'ENOENT') return `${must}, found=${found}`;
    at = dirname(at);
  }
}

/** The path must be a writable file, or one that can be created; its directory may have to be created, too. */
export function writableFileProblem(name: string, path: string): string | undefined {
  const must = `${name} must be a writable file: path=${path}`;
  if (path.endsWith('/')) return `${must}, found=a directory`;
  const found = look(path);
  if (typeof found === 'object') {
    if (found.isDirectory()) return `${must}, found=a directory`;
    if (!found.isFile()) return `${must}, found=a device, pipe or socket`;
    const code = denied(path, constants.W_OK);
    return code && `${must}, found=${code}`;
  }
  if (found !== 'ENOENT') return `${must}, found=${found}`;
  return directoryProblem(`the folder of ${name}`, dirname(path));
}

/** The path must be a readable file. */
export function readableFileProblem(name: string, path: string): string | undefined {
  const must = `${name} must be a readable file: path=${path}`;
  const found = look(path);
  if (typeof found !== 'object') return `${must}, found=${found}`;
  if (found.isDirectory()) return `${must}, found=a directory`;
  const code = denied(path, constants.R_OK);
  return code && `${must}, found=${code}`;
}

/** The nearest folder on the way to `path` that is there: its disk is the disk that `path` will be on. */
export function existingFolder(path: string): string {
  let at = resolve(path);
  while (!existsSync(at)) at = dirname(at);
  return at;
}
