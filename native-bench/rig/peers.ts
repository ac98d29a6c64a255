/**
 * The peers: what Ringmain is compared with. Each answers GET /px.gif with the same GIF and is pinned to the same core.
 *
 *   nginx           empty_gif and a JSON access-log line, one worker; takes the client's address from a trusted proxy's header
 *                   (real-IP module); parses no parameter, makes no id, its log is not durable
 *   nginx with Lua  the same, and the job of a collector: log_by_lua parses the arguments and makes our line (peers/event.lua);
 *                   buffered, no promise
 *   benthos         Go; http_server to file with a mapping that makes our line (peers/benthos); answers after the write
 *   uws             bare uWebSockets.js: reads query and headers, answers; writes nothing. The floor of our platform
 *   gotrack         when GOTRACK_BIN names a binary: its log sink syncs every event, so it is a peer of ACK=sync
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildGo, nginxModules } from './install.ts';
import { type Start, type Subject, startPinned, stopChild, untilListening } from './subject.ts';

export interface Place {
  /** A directory of its own, on the disk that is measured. */
  readonly dir: string;
  readonly port: number;
}

const here = join(import.meta.dirname, '..');

export async function startPeer(
  name: string,
  place: Place,
  how: Omit<Start, 'messages'>,
  logs: string[],
): Promise<Subject & { child: ReturnType<typeof startPinned> }> {
  const messages = join(place.dir, `${name}.out`);
  const child = startPinned({ ...how, messages });
  await untilListening(child, place.port, messages);
  return {
    name,
    child,
    pid: child.pid!,
    url: `http://127.0.0.1:${place.port}`,
    logs,
    stop: async () => {
      await stopChild(child);
    },
  };
}

/**
 * Whom nginx believes X-Forwarded-For, as TRUST_PROXY says it to ours: the one proxy that the socket is (its last entry), any chain of
 * listed ones (from the right, the first that is not listed), or nobody (the module stays off).
 */
export type NginxTrust = 'proxy' | 'list' | 'nobody';

/** What both are given for 'list': where the load comes from, in both families. */
export const trustedProxies = ['127.0.0.1', '::1'] as const;

/** A package without the module would not know the directives, and nginx says so instead of starting. */
function realIp(trust: NginxTrust): string {
  if (trust === 'nobody') return '';
  const from = trustedProxies.map((proxy) => `set_real_ip_from ${proxy};`).join(' ');
  return `${from} real_ip_header X-Forwarded-For; real_ip_recursive ${trust === 'list' ? 'on' : 'off'};`;
}

interface NginxOptions {
  readonly trust?: NginxTrust;
  /** Makes our line by Lua instead of naming variables. */
  readonly lua?: boolean;
}

const lineOf = {
  plain: `'{"ts":"$time_iso8601","query":"$args","ref":"$http_referer","ua":"$http_user_agent",'
    '"ip":"$remote_addr","sid":"$cookie_sid"}'`,
  lua: "'$event'",
};

function nginxConfig({ dir, port }: Place, { trust = 'proxy', lua = false }: NginxOptions): string {
  const modules = ['ndk_http_module', 'ngx_http_lua_module'].map((name) => `load_module ${nginxModules}/${name}.so;`);
  return `
${lua ? modules.join(' ') : ''}
daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/error.log crit; worker_rlimit_nofile 65535;
events { worker_connections 16384; }
http {
  log_format event escape=${lua ? 'none' : 'json'} ${lua ? lineOf.lua : lineOf.plain};
  ${realIp(trust)}
  access_log ${dir}/access.log event buffer=64k;
  client_body_temp_path ${dir}/tmp; proxy_temp_path ${dir}/tmp; fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp; scgi_temp_path ${dir}/tmp;
  keepalive_requests 1000000000; tcp_nodelay on; large_client_header_buffers 4 32k;
  ${lua ? `init_by_lua_file ${join(here, 'peers', 'event.lua')};` : ''}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    ${lua ? "set $event '';" : ''}
    location = /px.gif {
      ${lua ? 'log_by_lua_block { ngx.var.event = event() }' : ''}
      empty_gif; add_header Cache-Control "no-store, no-cache, must-revalidate, max-age=0";
    }
  }
}`;
}

export async function startNginx(place: Place, options: NginxOptions = {}): Promise<Subject> {
  mkdirSync(join(place.dir, 'tmp'), { recursive: true });
  const config = join(place.dir, 'nginx.conf');
  writeFileSync(config, nginxConfig(place, options));
  const name = options.lua ? 'nginx with Lua' : 'nginx';
  const peer = await startPeer(name, place, { command: 'nginx', args: ['-c', config, '-p', place.dir] }, [
    join(place.dir, 'access.log'),
  ]);
  // Reopening its log makes a worker write out its 64k buffer; there is no other way to count every line.
  return { ...peer, flush: () => peer.child.kill('SIGUSR1') };
}

export function startUws(place: Place): Promise<Subject> {
  const program = join(here, 'peers', 'uws.ts');
  return startPeer('uws', place, { command: process.execPath, args: [program], env: { PORT: String(place.port) } }, []);
}

/** Its module asks for a newer Go than Debian 12 has: undefined where it cannot be built, and the row is left out. */
export function benthosBinary(binaries: string): string | undefined {
  try {
    return buildGo('peers/benthos', binaries);
  } catch (error) {
    console.error(`no row of Benthos, it cannot be built here: ${String(error)}`);
    return undefined;
  }
}

export async function startBenthos(place: Place, binary: string): Promise<Subject> {
  const log = join(place.dir, 'benthos.ndjson');
  const how = { command: binary, args: ['-addr', `127.0.0.1:${place.port}`, '-log', log] };
  return startPeer('benthos', place, how, [log]);
}

export const hasGotrack = (): boolean => Boolean(process.env['GOTRACK_BIN']);

export async function startGotrack(place: Place): Promise<Subject> {
  const log = join(place.dir, 'gotrack.ndjson');
  const env = { SERVER_ADDR: `127.0.0.1:${place.port}`, OUTPUTS: 'log', LOG_PATH: log, TRUST_PROXY: 'true' };
  return startPeer('gotrack', place, { command: process.env['GOTRACK_BIN']!, args: [], env, cwd: place.dir }, [log]);
}
