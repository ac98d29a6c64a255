/** A real collector process for the tests of sinks: started from dist/, asked over HTTP, killed by its id. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestScope } from '../servers/process.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'main.js');

export interface CollectorOptions {
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
  /** A command that runs it, e.g. strace with its options. */
  readonly under?: readonly string[];
  /** Its working folder; a new one when left out. */
  readonly folder?: string;
}

export function temporary(t: TestScope): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-collector-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

export class Collector {
  readonly folder: string;
  readonly #options: CollectorOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<number | null> = Promise.resolve(null);
  log = '';
  /** What the last batch that was not acknowledged met. */
  refused = '';

  constructor(t: TestScope, options: CollectorOptions) {
    this.#options = options;
    this.folder = options.folder ?? temporary(t);
    t.onTestFinished(() => this.kill());
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#options.port}`;
  }

  async start(): Promise<void> {
    const env = {
      PATH: process.env['PATH'],
      SERVER_ADDR: `127.0.0.1:${this.#options.port}`,
      ACCEPTORS: '1',
      ...this.#options.env,
    };
    const [command, ...args] = [...(this.#options.under ?? []), process.execPath, MAIN, 'pixel'];
    const child = spawn(command as string, args, {
      cwd: this.folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log = (this.log + text).slice(-100_000);
      });
    }
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    await until(`the collector answers\n${this.log}`, async () => {
      if (child.exitCode !== null) throw new Error(`the collector has ended: ${this.log}`);
      return fetch(`${this.url}/healthz`).then(
        (answer) => answer.ok,
        () => false,
      );
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.#child?.kill(signal);
    return this.#exited;
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
  async deliver(events: readonly object[]): Promise<void> {
    await until(`the batch is taken`, async () => {
      if (await this.send(events)) return true;
      if (!this.refused.startsWith('429')) throw new Error(`the batch must be taken or refused: ${this.refused}`);
      return false;
    });
  }

  /** The value of a metric of one sink. */
  async metric(name: string, sink = 'postgres'): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split('\n').find((found) => found.startsWith(`${name}{sink="${sink}"`));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  }

  async ready(query = ''): Promise<{ status: number; text: string }> {
    const answer = await fetch(`${this.url}/readyz${query}`);
    return { status: answer.status, text: await answer.text() };
  }
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  for (const end = Date.now() + withinMs; Date.now() < end; ) {
    if (await holds()) return;
    await sleep(20);
  }
  throw new Error(`it must come to this: ${what}`);
}
