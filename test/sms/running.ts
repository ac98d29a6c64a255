/** The built SMS gateway as a process, for tests: started from dist/, ended with its test. */
import { spawn } from 'node:child_process';
import { main } from '../servers/collector.ts';
import { leaveIdleConnections, ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';

export const PEPPER = '0123456789abcdef0123456789abcdef';
export const ADMIN_KEY = 'admin-key-for-tests-admin-key-for-tests';

export interface RunningSms {
  readonly url: string;
  /** Its working folder, the journal in it. */
  readonly folder: string;
  readonly process: ServerProcess;
  /** Ends it in order. */
  end(): Promise<void>;
}

export interface SmsWishes {
  readonly port: number;
  readonly dsn: string;
  /** Default: all. */
  readonly role?: string;
  /** Its working folder; a new one when left out. */
  readonly folder?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** false: returns as soon as it runs, ready or not. */
  readonly wait?: boolean;
}

/** Starts a process and waits until it is ready. */
export async function startSms(t: TestScope, wishes: SmsWishes): Promise<RunningSms> {
  const { port, role = 'all', folder = temporaryFolder('ringmain-sms-').folder } = wishes;
  const env = {
    PATH: process.env['PATH'] ?? '',
    SERVER_ADDR: `127.0.0.1:${port}`,
    ACCEPTORS: '1',
    SEGMENT_BYTES: '8MiB',
    JOURNAL_MAX_BYTES: '256MiB',
    PG_DSN: wishes.dsn,
    KEY_PEPPER: PEPPER,
    ADMIN_KEY,
    // Whoever tests reports says where chdb is.
    REPORTS: 'off',
    REPORTING_ADDR: `127.0.0.1:${port + 5000}`,
    ...wishes.env,
  };
  const server = new ServerProcess(process.execPath, [main, 'sms', role], { cwd: folder, env }, folder);
  t.onTestFinished(() => server.end('SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  const status = async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status;
  // Bounds what hangs: fifteen threads start slowly on a machine that is busy.
  if (wishes.wait !== false) await server.until(async () => (await status()) === 200, 180_000);
  return {
    url,
    folder,
    process: server,
    async end() {
      leaveIdleConnections();
      await server.end('SIGTERM');
    },
  };
}

/** Runs `ringmain sms <words>` as an operator does, with nothing but the database. */
export function runTool(
  dsn: string,
  ...words: readonly string[]
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const child = spawn(process.execPath, [main, 'sms', ...words], {
    env: { PATH: process.env['PATH'] ?? '', PG_DSN: dsn },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
}
