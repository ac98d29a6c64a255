/** The example proxies as processes, with the addresses of a test in place of those of the example and nothing else changed. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCommand } from '../servers/apt.ts';
import { assertFree } from '../servers/collector.ts';
import { ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';
import { deployFolder } from './local-postgres.ts';
import { newNginx } from './tools.ts';

export interface ProxyOptions {
  readonly port: number;
  /** In place of collector-1:19890 and collector-2:19890: ports of this machine, or names with ports. */
  readonly collectors: readonly [number | string, number | string];
  /** Port of the name server in place of the machine's. */
  readonly names?: number;
  /** Wait for an answer of a collector: yes when left out. */
  readonly ready?: boolean;
}

/** A proxy as it is tried: the tests of one have ports of their own. */
export interface ProxyKind {
  readonly name: string;
  readonly port: number;
  /** What a client sees of a collector that dies over its request, the first on a connection or a later one. */
  readonly ways: Readonly<Record<'first' | 'kept', 502 | 'closed'>>;
  start(t: TestScope, options: ProxyOptions): Promise<ServerProcess>;
}
export const proxies: readonly ProxyKind[] = [
  { name: 'HAProxy', port: 21880, ways: { first: 502, kept: 'closed' }, start: startHaproxy },
  { name: 'nginx', port: 21890, ways: { first: 502, kept: 502 }, start: startNginx },
];

export async function startHaproxy(t: TestScope, options: ProxyOptions): Promise<ServerProcess> {
  await ensureCommand('haproxy', 'haproxy');
  await assertFree(options.port);
  const text = edited('haproxy/haproxy.cfg', {
    'bind :80\n': `bind 127.0.0.1:${options.port}\n`,
    // What the machine's limit of open files allows a test.
    'maxconn 100000\n': 'maxconn 2000\n',
    ...(options.names !== undefined && { 'parse-resolv-conf': `nameserver test 127.0.0.1:${options.names}` }),
    ...addresses(options),
  });
  const { folder, remove } = temporaryFolder('ringmain-haproxy-');
  writeFileSync(join(folder, 'haproxy.cfg'), text);
  const server = new ServerProcess('haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], {}, folder);
  return started(t, server, options, remove);
}

export async function startNginx(t: TestScope, options: ProxyOptions): Promise<ServerProcess> {
  const nginx = await newNginx();
  await assertFree(options.port);
  const { folder, remove } = temporaryFolder('ringmain-nginx-');
  mkdirSync(join(folder, 'logs'));
  const outside = [
    'daemon off;',
    `pid ${folder}/nginx.pid;`,
    'error_log stderr warn;',
    'worker_processes 1;',
    ...(process.getuid?.() === 0 ? ['user root;'] : []),
  ];
  // The folders of Debian's build belong to the machine's own nginx.
  const inside = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const text = edited('nginx/nginx.conf', {
    'worker_processes auto;': outside.join('\n'),
    'http {\n': `http {\n${inside.join('\n')}\n`,
    'listen 80;': `listen 127.0.0.1:${options.port};`,
    ...(options.names !== undefined && { 'resolver 127.0.0.11 ': `resolver 127.0.0.1:${options.names} ` }),
    ...addresses(options),
  });
  writeFileSync(join(folder, 'nginx.conf'), text);
  const flags = ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')];
  return started(t, new ServerProcess(nginx, flags, {}, folder), options, remove);
}

const addresses = ({ collectors: [first, second] }: ProxyOptions) => ({
  'collector-1:19890': typeof first === 'number' ? `127.0.0.1:${first}` : first,
  'collector-2:19890': typeof second === 'number' ? `127.0.0.1:${second}` : second,
});

function edited(file: string, changes: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(deployFolder, file), 'utf8');
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`the example must hold what the test replaces: ${file}: ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

async function started(
  t: TestScope,
  server: ServerProcess,
  { port, ready = true }: ProxyOptions,
  remove: () => void,
): Promise<ServerProcess> {
  t.onTestFinished(async () => {
    await server.end('SIGTERM');
    remove();
  });
  await server.until(async () => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/robots.txt`, { signal: AbortSignal.timeout(2000) });
      await response.arrayBuffer();
      return response.ok || !ready;
    } catch {
      return false;
    }
  }, 60_000);
  return server;
}
