/** Version: what this build is. The version is package.json's; the commit is told by who built it, or asked from git. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { environment } from './config/environment.ts';

/** The package's folder, from src/kernel/ and from dist/kernel/ alike. */
const root = join(import.meta.dirname, '..', '..');

export interface Version {
  readonly version: string;
  /** Commit of the build, or 'unknown'. */
  readonly commit: string;
}

/** Reads version and commit. RINGMAIN_COMMIT beats a file COMMIT beside package.json (containers) beats git. */
export function readVersion(): Version {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return { version, commit: commitOf(environment()['RINGMAIN_COMMIT'], root) };
}

/** The commit of a package folder. */
export function commitOf(told: string | undefined, folder: string): string {
  if (told) return told;
  const file = join(folder, 'COMMIT');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  // Without a .git of its own the folder lies in someone else's repository, whose commit says nothing about us.
  if (!existsSync(join(folder, '.git'))) return 'unknown';
  try {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    return execFileSync('git', ['-C', folder, 'rev-parse', '--short=12', 'HEAD'], { encoding: 'utf8', stdio }).trim();
  } catch {
    return 'unknown';
  }
}
