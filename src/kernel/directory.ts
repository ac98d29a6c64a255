/**
 * Directory: makes one, with those above it. Node's own recursive mkdir never returns where a name below a directory that is there cannot
 * be made because "it does not exist" (/proc): it makes the parent, which is there, and tries again, for ever.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Makes what is missing of `path`, each part tried once; returns the topmost part that was made, or undefined. */
export function makeDirectory(path: string, mode = 0o777): string | undefined {
  const missing: string[] = [];
  // This ends at the latest at the root, which always is.
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const part of missing.length > 0 ? missing : [resolve(path)])
    try {
      mkdirSync(part, { mode });
    } catch (error) {
      // There already, or somebody else was first.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !statSync(part).isDirectory()) throw error;
    }
  return missing[0];
}
