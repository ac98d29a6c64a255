/**
 * Directory: creates a directory and its missing parents. Node's own recursive mkdir can loop for ever below /proc:
 * creating a name there fails with ENOENT although the parent exists, so Node creates the parent, which is there, and
 * tries again.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Creates the missing parts of `path`, trying each once. Returns the topmost part that it created, or undefined. */
export function makeDirectory(path: string, mode = 0o777): string | undefined {
  const missing: string[] = [];
  // The loop ends at the root at the latest, because the root always exists.
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const part of missing.length > 0 ? missing : [resolve(path)])
    try {
      mkdirSync(part, { mode });
    } catch (error) {
      // It exists, or another process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !statSync(part).isDirectory()) throw error;
    }
  return missing[0];
}
