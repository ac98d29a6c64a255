/** A real Redis for tests: Debian's, in a process of its own that a test may kill. It keeps nothing on disk. */
import { connect } from 'node:net';
import { ensureCommand } from './apt.ts';
import { ServerProcess, type TestScope, temporaryFolder } from './process.ts';

export interface RedisWishes {
  /** Port to listen on, 127.0.0.1 only. */
  readonly port: number;
  /** Lines of redis.conf: { requirepass: 'secret' }. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

export interface RedisServer {
  /** host:port */
  readonly address: string;
  readonly port: number;
  readonly pid: number;
  /** Waits until it says so, and no longer than it lives. */
  until(ready: () => Promise<boolean>): Promise<void>;
  kill9(): Promise<void>;
  /** Ends it in order. */
  stop(): Promise<void>;
  /** Starts it again, empty. */
  restart(): Promise<void>;
  /** SIGSTOP: connections are accepted by the kernel, and nothing is answered. */
  freeze(): void;
  thaw(): void;
}

/** Starts a server; it ends with the test. */
export async function startRedis(t: TestScope, { port, settings = {} }: RedisWishes): Promise<RedisServer> {
  await ensureCommand('redis-server', 'redis-server');
  const { folder, remove } = temporaryFolder('ringmain-redis-');
  const given = { bind: '127.0.0.1', port, save: '', appendonly: 'no', dir: folder, ...settings };
  const args = Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)]);
  let server: ServerProcess;
  const start = async () => {
    server = new ServerProcess('redis-server', args, { cwd: folder }, folder);
    await server.until(() => answers(port), 180_000);
  };
  await start();
  t.onTestFinished(async () => {
    await server.end('SIGTERM');
    remove();
  });
  return {
    address: `127.0.0.1:${port}`,
    port,
    get pid() {
      return server.pid;
    },
    until: (ready) => server.until(ready, 180_000),
    async kill9() {
      server.signal('SIGKILL');
      await server.exited;
    },
    stop: () => server.end('SIGTERM'),
    restart: start,
    freeze: () => server.signal('SIGSTOP'),
    thaw: () => server.signal('SIGCONT'),
  };
}

const SLOTS = 16_384;

/** Servers in cluster mode that share the slots evenly; each has its bus 100 ports further on. */
export async function startRedisCluster(t: TestScope, ports: readonly number[]): Promise<readonly RedisServer[]> {
  const nodes = await Promise.all(
    ports.map((port) =>
      startRedis(t, {
        port,
        settings: { 'cluster-enabled': 'yes', 'cluster-port': port + 100, 'cluster-node-timeout': 2000 },
      }),
    ),
  );
  const share = SLOTS / ports.length;
  for (const [i, port] of ports.entries()) {
    const slots = `${Math.ceil(i * share)} ${Math.ceil((i + 1) * share) - 1}`;
    const said = await tell(port, `CLUSTER ADDSLOTSRANGE ${slots}`);
    if (!said.startsWith('+OK')) throw new Error(`a node must take its slots: found=${said}`);
    if (i > 0) await tell(port, `CLUSTER MEET 127.0.0.1 ${ports[0]} ${ports[0]! + 100}`);
  }
  const whole = new RegExp(`cluster_state:ok[^]*cluster_size:${ports.length}\\r`);
  for (const node of nodes) await node.until(async () => whole.test(await tell(node.port, 'CLUSTER INFO')));
  return nodes;
}

/** What a server answers at once to a command. */
function tell(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`));
    socket.once('error', reject).once('data', (bytes) => {
      socket.destroy();
      resolve(bytes.toString());
    });
  });
}

/** Any answer to PING counts: a server with a password asks for it. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const end = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(1000, () => end(false));
    socket.once('data', () => end(true)).once('error', () => end(false));
  });
}
