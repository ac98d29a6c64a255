/** The built gateway as a process, for tests: started from dist/, ended with its test. */
import { join } from 'node:path';
import { main } from '../servers/collector.ts';
import { leaveIdleConnections, ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';
import { PEPPER } from './database.ts';

export const ADMIN_KEY = 'admin-key-for-tests-admin-key-for-tests';

export interface RunningGateway {
  readonly url: string;
  readonly folder: string;
  readonly process: ServerProcess;
  /** Ends it in order. */
  end(): Promise<void>;
}

export interface GatewayWishes {
  readonly port: number;
  readonly dsn: string;
  /** Its working folder; a new one when left out. */
  readonly folder?: string;
  /** Flags. */
  readonly words?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts it and waits until it is ready. */
export async function startGateway(t: TestScope, wishes: GatewayWishes): Promise<RunningGateway> {
  const { port, words = [], folder = temporaryFolder('ringmain-gateway-').folder } = wishes;
  const env = {
    PATH: process.env['PATH'] ?? '',
    SERVER_ADDR: `127.0.0.1:${port}`,
    ACCEPTORS: '1',
    SEGMENT_BYTES: '8MiB',
    JOURNAL_MAX_BYTES: '256MiB',
    DB_DSN: wishes.dsn,
    KEY_PEPPER: PEPPER,
    ADMIN_KEY,
    UPLOAD_DIR: join(folder, 'uploads'),
    ...wishes.env,
  };
  const server = new ServerProcess(process.execPath, [main, 'gateway', ...words], { cwd: folder, env }, folder);
  t.onTestFinished(() => server.end('SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  const status = async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status;
  await server.until(async () => (await status()) === 200, 180_000);
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
