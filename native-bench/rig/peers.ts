/**
 * The peers: what Ringmain is compared with. Each answers GET /px.gif with the same GIF and is pinned to the same core.
 *
 *   nginx      empty_gif and a JSON access-log line, one worker; takes the client's address from a trusted proxy's header
 *              (real-IP module); parses no parameter, makes no id, its log is not durable
 *   uws        bare uWebSockets.js: reads query and three headers, answers; writes nothing. The floor of our platform
 *   node-http  node:http, URLSearchParams, JSON.stringify, buffered file: what one writes in an afternoon
 *   go-pixel   Go net/http doing the same work as node-http (peers/go-pixel)
 *   gotrack    when GOTRACK_BIN names a binary: its log sink syncs every event, so it is a peer of ACK=sync
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildGo } from './install.ts';
import { type Start, type Subject, startPinned, stopChild, untilListening } from './subject.ts';

export interface Place {
  /** A directory of its own, on the disk that is measured. */
  readonly dir: string;
  readonly port: number;
  readonly tls?: { readonly cert: string; readonly key: string };
}

const here = join(import.meta.dirname, '..');

async function startPeer(
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
    url: `${place.tls ? 'https' : 'http'}://127.0.0.1:${place.port}`,
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

function nginxConfig({ dir, port, tls }: Place, trust: NginxTrust): string {
  return `
daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/error.log crit; worker_rlimit_nofile 65535;
events { worker_connections 16384; }
http {
  log_format event escape=json '{"ts":"$time_iso8601","query":"$args","ref":"$http_referer","ua":"$http_user_agent",'
    '"ip":"$remote_addr","sid":"$cookie_sid"}';
  ${realIp(trust)}
  access_log ${dir}/access.log event buffer=64k;
  client_body_temp_path ${dir}/tmp; proxy_temp_path ${dir}/tmp; fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp; scgi_temp_path ${dir}/tmp;
  keepalive_requests 1000000000; tcp_nodelay on; large_client_header_buffers 4 32k;
  server {
    listen 127.0.0.1:${port} ${tls ? 'ssl' : ''} backlog=4096;
    ${tls ? `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key}; ssl_protocols TLSv1.3;` : ''}
    location = /px.gif { empty_gif; add_header Cache-Control "no-store, no-cache, must-revalidate, max-age=0"; }
  }
}`;
}

export async function startNginx(place: Place, trust: NginxTrust = 'proxy'): Promise<Subject> {
  mkdirSync(join(place.dir, 'tmp'), { recursive: true });
  const config = join(place.dir, 'nginx.conf');
  writeFileSync(config, nginxConfig(place, trust));
  const peer = await startPeer('nginx', place, { command: 'nginx', args: ['-c', config, '-p', place.dir] }, [
    join(place.dir, 'access.log'),
  ]);
  // Reopening its log makes a worker write out its 64k buffer; there is no other way to count every line.
  return { ...peer, flush: () => peer.child.kill('SIGUSR1') };
}

export function startUws(place: Place, options: Record<string, string> = {}): Promise<Subject> {
  const program = join(here, 'peers', 'uws.ts');
  const env = { PORT: String(place.port), TLS_CERT: place.tls?.cert, TLS_KEY: place.tls?.key, ...options };
  return startPeer('uws', place, { command: process.execPath, args: [program], env }, []);
}

export async function startNodeHttp(place: Place): Promise<Subject> {
  const log = join(place.dir, 'node-http.ndjson');
  const how = {
    command: process.execPath,
    args: [join(here, 'peers', 'node-http.ts')],
    env: { PORT: String(place.port), LOG_PATH: log },
  };
  return startPeer('node-http', place, how, [log]);
}

export async function startGoPixel(place: Place, binaries: string): Promise<Subject> {
  const log = join(place.dir, 'go-pixel.ndjson');
  const how = { command: buildGo('peers/go-pixel', binaries), args: ['-addr', `127.0.0.1:${place.port}`, '-log', log] };
  return startPeer('go-pixel', place, how, [log]);
}

export const hasGotrack = (): boolean => Boolean(process.env['GOTRACK_BIN']);

export async function startGotrack(place: Place): Promise<Subject> {
  const log = join(place.dir, 'gotrack.ndjson');
  const env = { SERVER_ADDR: `127.0.0.1:${place.port}`, OUTPUTS: 'log', LOG_PATH: log, TRUST_PROXY: 'true' };
  return startPeer('gotrack', place, { command: process.env['GOTRACK_BIN']!, args: [], env, cwd: place.dir }, [log]);
}
