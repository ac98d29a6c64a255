/** The built analytics service as a process, for tests: started from dist/, ended with its test. */
import { freePort } from '../http/raw.ts';
import { main } from '../servers/collector.ts';
import { ServerProcess, type TestScope, temporaryFolder } from '../servers/process.ts';

/** Paths that options give, as they are without options. */
export const givenPaths = { tracker: '/js/ringmain.js', events: '/events' } as const;

/** Programs that load pages are bots; Node's own name is one. */
const BROWSER = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';

export interface Running {
  readonly url: string;
  readonly folder: string;
  readonly process: ServerProcess;
  /** As a browser does. */
  get(path: string): Promise<Response>;
  post(path: string, body: unknown): Promise<Response>;
}

export interface Wishes {
  /** Role and flags. */
  readonly words?: readonly string[];
  /** Its working folder; a new one when left out. */
  readonly folder?: string;
  /** First port to try. */
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
  /** The path that answers 200 when it is up. */
  readonly ready?: string;
}

/** Starts it and waits until it is ready. */
export async function startAnalytics(t: TestScope, wishes: Wishes): Promise<Running> {
  const { words = [], folder = temporaryFolder('ringmain-analytics-').folder, ready = '/readyz' } = wishes;
  const port = await freePort(wishes.port);
  const env = {
    PATH: process.env['PATH'] ?? '',
    SERVER_ADDR: `127.0.0.1:${port}`,
    ACCEPTORS: '1',
    SEGMENT_BYTES: '8MiB',
    JOURNAL_MAX_BYTES: '256MiB',
    ...wishes.env,
  };
  const server = new ServerProcess(process.execPath, [main, 'analytics', ...words], { cwd: folder, env }, folder);
  t.onTestFinished(() => server.end('SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  const status = async () => (await fetch(`${url}${ready}`).catch(() => undefined))?.status;
  await server.until(async () => (await status()) === 200, 180_000);
  return {
    url,
    folder,
    process: server,
    get: (path) => fetch(`${url}${path}`, { headers: { 'user-agent': BROWSER } }),
    post: (path, body) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': BROWSER },
        body: JSON.stringify(body),
      }),
  };
}
