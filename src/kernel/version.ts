/** Version: identifies this build. The version comes from package.json, the commit from the builder or from git. */
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

/** Reads version and commit. RINGMAIN_COMMIT wins over the file COMMIT beside package.json (containers), then git. */
export function readVersion(): Version {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return { version, commit: commitOf(environment()['RINGMAIN_COMMIT'], root) };
}

/** The commit of a package folder. */
export function commitOf(told: string | undefined, folder: string): string {
  if (told) return told;
  const file = join(folder, 'COMMIT');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  // Without its own .git the folder lies in another repository, whose commit says nothing about this build.
  if (!existsSync(join(folder, '.git'))) return 'unknown';
  try {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    return execFileSync('git', ['-C', folder, 'rev-parse', '--short=12', 'HEAD'], { encoding: 'utf8', stdio }).trim();
  } catch {
    return 'unknown';
  }
}
