/** Puts the peers and load generators on a fresh Debian or Ubuntu machine, as root, and builds our own Go programs. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const packages: Record<string, string> = {
  nginx: 'nginx',
  wrk: 'wrk',
  go: 'golang-go',
  taskset: 'util-linux',
  openssl: 'openssl',
  perf: 'linux-perf',
};

function has(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Installs what is missing. Not root, or no apt-get: names what must be installed by hand. */
export function installTools(): void {
  process.env['PATH'] = `${process.env['PATH']}:/usr/local/go/bin:/usr/sbin`;
  const missing = Object.keys(packages).filter((command) => !has(command));
  if (missing.length === 0) return;
  const names = missing.map((command) => packages[command]!);
  if (process.getuid?.() !== 0 || !has('apt-get')) {
    throw new Error(`commands must be installed to measure: missing=${missing.join(',')}, packages=${names.join(',')}`);
  }
  console.error(`apt-get install ${names.join(' ')}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env: environment });
  // RUNLEVEL=1 keeps Debian's nginx package from starting its service on port 80.
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], {
    stdio: 'inherit',
    env: { ...environment, RUNLEVEL: '1' },
  });
}

/** Builds a Go program of this folder (standard library only, so no module proxy is asked); the go cache makes it quick. */
export function buildGo(source: string, into: string): string {
  mkdirSync(into, { recursive: true });
  const binary = join(into, source.split('/').at(-1)!);
  if (!existsSync(binary)) {
    execFileSync('go', ['build', '-o', binary, '.'], {
      cwd: join(import.meta.dirname, '..', source),
      stdio: 'inherit',
      env: { ...process.env, GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' },
    });
  }
  return binary;
}
