/** Puts the peers and load generators on a fresh Debian or Ubuntu machine, as root, and builds our own Go programs. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

export const nginxModules = '/usr/lib/nginx/modules';

/** Commands, and files where there is none, with the package that has them. */
const packages: Record<string, string> = {
  nginx: 'nginx',
  wrk: 'wrk',
  go: 'golang-go',
  taskset: 'util-linux',
  [`${nginxModules}/ngx_http_lua_module.so`]: 'libnginx-mod-http-lua',
  '/usr/share/lua/5.1/cjson/util.lua': 'lua-cjson',
};

function has(command: string): boolean {
  if (command.startsWith('/')) return existsSync(command);
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
  const missing = Object.keys(packages).filter((what) => !has(what));
  if (missing.length === 0) return;
  const names = missing.map((what) => packages[what]!);
  if (process.getuid?.() !== 0 || !has('apt-get')) {
    throw new Error(`these must be installed to measure: missing=${missing.join(',')}, packages=${names.join(',')}`);
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

/** Builds a Go program of this folder; the go cache makes it quick. Only Benthos needs modules. */
export function buildGo(source: string, into: string): string {
  mkdirSync(into, { recursive: true });
  const binary = join(into, source.split('/').at(-1)!);
  if (!existsSync(binary)) {
    execFileSync('go', ['build', '-o', binary, '.'], {
      cwd: join(import.meta.dirname, '..', source),
      stdio: 'inherit',
      env: { ...process.env, GOTOOLCHAIN: 'local', CGO_ENABLED: '0' },
    });
  }
  return binary;
}
