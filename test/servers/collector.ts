/** The built collector as a process, for every test that needs one: started from dist/, asked over HTTP, ended with its test. */
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { leaveIdleConnections, ServerProcess, type TestScope } from './process.ts';

/** What `npm run build` has made; `npm test` builds first. */
export const main: string = join(import.meta.dirname, '..', '..', 'dist', 'main.js');

export interface CollectorOptions {
  readonly port: number;
  /** Its options. PATH, SERVER_ADDR and ACCEPTORS=1 (one lane, so the file has the order of the answers) come with it. */
  readonly env?: Readonly<Record<string, string>>;
  /** A command that runs it, e.g. strace with its options. */
  readonly under?: readonly string[];
  /** Its working folder; a new one, gone with the test, when left out. */
  readonly folder?: string;
  /** The path that answers 200 when it is up; '' waits for its log line instead. */
  readonly ready?: string;
}

/** A folder that is gone with the test. */
export function temporary(t: TestScope): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-collector-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

export class Collector {
  readonly folder: string;
  readonly port: number;
  readonly url: string;
  /** What the last batch that was not acknowledged met. */
  refused = '';
  readonly #options: CollectorOptions;
  #process: ServerProcess | undefined;
  #earlierLog = '';
  readonly #file: LineFile;

  constructor(t: TestScope, options: CollectorOptions) {
    this.#options = options;
    this.port = options.port;
    this.url = `http://127.0.0.1:${options.port}`;
    this.folder = options.folder ?? temporary(t);
    this.#file = new LineFile(resolve(this.folder, options.env?.['LOG_PATH'] ?? 'events.ndjson'));
    t.onTestFinished(async () => {
      await this.kill();
      this.#file.close();
    });
  }

  static async start(t: TestScope, options: CollectorOptions): Promise<Collector> {
    const collector = new Collector(t, options);
    await collector.start();
    return collector;
  }

  /** Starts it, or starts it again in its folder; resolves when it is up. */
  async start(): Promise<void> {
    const { port, env, under = [], ready = '/healthz' } = this.#options;
    await assertFree(port);
    this.#earlierLog = this.log;
    const [command, ...args] = [...under, process.execPath, main, 'pixel'];
    const all = { PATH: process.env['PATH'], SERVER_ADDR: `127.0.0.1:${port}`, ACCEPTORS: '1', ...env };
    const server = new ServerProcess(command!, args, { cwd: this.folder, env: all }, '');
    this.#process = server;
    const isUp = () => (ready === '' ? server.log.includes('"msg":"ready"') : answersOk(`${this.url}${ready}`));
    await server.until(isUp, 180_000);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get running(): boolean {
    return this.#process?.running ?? false;
  }

  /** The newest output of all its lives. */
  get log(): string {
    return (this.#earlierLog + (this.#process?.log ?? '')).slice(-100_000);
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.signal(name);
  }

  /** Sends a signal and waits for the end: the exit code, or the name of the signal that ended it. */
  async kill(name: NodeJS.Signals = 'SIGKILL'): Promise<number | string> {
    if (name !== 'SIGKILL') leaveIdleConnections();
    this.signal(name);
    return endOf(this.#process);
  }

  /** Asks for an end in order and insists on it when it does not come in time. */
  async stop(waitMsMax = 30_000): Promise<number | string> {
    await this.#process?.end('SIGTERM', waitMsMax);
    return endOf(this.#process);
  }

  /** Sends one batch; true when it was acknowledged. */
  async send(events: readonly object[]): Promise<boolean> {
    try {
      const answer = await fetch(`${this.url}/collect`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(events),
      });
      const text = await answer.text();
      if (!answer.ok) this.refused = `${answer.status} ${text}`;
      return answer.ok;
    } catch (error) {
      this.refused = String((error as Error).cause ?? error);
      return false;
    }
  }

  /** Sends one batch until it is acknowledged, as a good client does: 429 says that nothing was stored. */
  async deliver(events: readonly object[], waitMsMax = 20_000): Promise<void> {
    for (const end = Date.now() + waitMsMax; !(await this.send(events)); await sleep(20)) {
      if (!this.refused.startsWith('429') || Date.now() > end)
        throw new Error(`the batch must be taken or refused: ${this.refused}`);
    }
  }

  /** The value of one sink's metric; without a sink the sum of all lines of /metrics that begin with `name`. */
  async metric(name: string, sink?: string): Promise<number> {
    const begin = sink === undefined ? name : `${name}{sink="${sink}"`;
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith(begin));
    if (sink !== undefined && lines.length === 0) return Number.NaN;
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  async ready(query = ''): Promise<{ status: number; text: string }> {
    const answer = await fetch(`${this.url}/readyz${query}`);
    return { status: answer.status, text: await answer.text() };
  }

  /** All whole lines of its file so far. */
  lines(): string[] {
    return this.#file.read();
  }

  /** Resident memory, bytes. */
  rss(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'latin1'))![1]) * 1024;
  }
}

async function endOf(process: ServerProcess | undefined): Promise<number | string> {
  const end = (await process?.exited) ?? '';
  return /^\d+$/.test(end) ? Number(end) : end;
}

/** Throws when something listens on the port: what another run has started there would pass for ours. */
export async function assertFree(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((listening, reject) => {
    probe.once('error', reject);
    probe.listen(port, '127.0.0.1', listening);
  });
  await new Promise((closed) => probe.close(closed));
}

/** Whether a GET is answered 200. On a connection of its own: one that stays open would count as a client's. */
export function answersOk(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 2000 }, (answer) => {
      answer.resume().once('close', () => resolve(answer.statusCode === 200));
    });
    request.once('timeout', () => request.destroy()).once('error', () => resolve(false));
  });
}

/** A growing file of lines: each read() takes in what is new. */
class LineFile {
  readonly #path: string;
  readonly #lines: string[] = [];
  #fd = -1;
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  read(): string[] {
    try {
      if (this.#fd < 0) this.#fd = openSync(this.#path, 'r');
    } catch {
      return this.#lines; // not there yet
    }
    const chunk = Buffer.alloc(1024 * 1024);
    for (let bytes = readSync(this.#fd, chunk); bytes > 0; bytes = readSync(this.#fd, chunk)) {
      const text = Buffer.concat([this.#rest, chunk.subarray(0, bytes)]);
      const end = text.lastIndexOf(10);
      this.#rest = Buffer.from(text.subarray(end + 1));
      if (end >= 0) this.#lines.push(...text.toString('utf8', 0, end).split('\n'));
    }
    return this.#lines;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
