/** The example proxies as processes, with the addresses of a test in place of those of the example and nothing else changed. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCommand } from '../servers/apt.ts';
import { assertFree } from '../servers/collector.ts';
import { ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';
import { deployFolder } from './local-postgres.ts';

export interface ProxyOptions {
  readonly port: number;
  /** In place of collector-1 and collector-2. */
  readonly collectors: readonly [number, number];
}

export async function startHaproxy(t: TestScope, options: ProxyOptions): Promise<ServerProcess> {
  await ensureCommand('haproxy', 'haproxy');
  await assertFree(options.port);
  const text = edited('haproxy/haproxy.cfg', {
    'bind :80\n': `bind 127.0.0.1:${options.port}\n`,
    // What the machine's limit of open files allows a test.
    'maxconn 100000\n': 'maxconn 2000\n',
    ...addresses(options),
  });
  const { folder, remove } = temporaryFolder('ringmain-haproxy-');
  writeFileSync(join(folder, 'haproxy.cfg'), text);
  return started(
    t,
    new ServerProcess('haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], {}, folder),
    options.port,
    remove,
  );
}

export async function startNginx(t: TestScope, options: ProxyOptions): Promise<ServerProcess> {
  await ensureCommand('nginx', 'nginx');
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
    ...addresses(options),
  });
  writeFileSync(join(folder, 'nginx.conf'), text);
  const flags = ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')];
  return started(t, new ServerProcess('nginx', flags, {}, folder), options.port, remove);
}

const addresses = ({ collectors: [first, second] }: ProxyOptions) => ({
  'collector-1:19890': `127.0.0.1:${first}`,
  'collector-2:19890': `127.0.0.1:${second}`,
});

function edited(file: string, changes: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(deployFolder, file), 'utf8');
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`the example must hold what the test replaces: ${file}: ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

async function started(t: TestScope, server: ServerProcess, port: number, remove: () => void): Promise<ServerProcess> {
  t.onTestFinished(async () => {
    await server.end('SIGTERM');
    remove();
  });
  await server.until(async () => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/robots.txt`, { signal: AbortSignal.timeout(2000) });
      await response.arrayBuffer();
      return response.ok;
    } catch {
      return false;
    }
  }, 20_000);
  return server;
}
