/**
 * The collector as a process, for tests of its HTTP side: started on a free port with a folder of its own, and read by its NDJSON file.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, request } from '../http/raw.ts';
import type { Options } from '../pixel/contract.ts';
import { onExit, temporaryFolder } from '../servers/process.ts';

const defaults: Options = {
  // One acceptor: one lane, so the file has the order of the answers.
  ACCEPTORS: '1',
  RING_BYTES: '4MiB',
  SEGMENT_BYTES: '4MiB',
  JOURNAL_MAX_BYTES: '256MiB',
  FLUSH_INTERVAL_MS: '5',
  DRAIN_TIMEOUT_MS: '5000',
};

export class PixelProcess {
  readonly port: number;
  readonly folder: string;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #remove: () => void;
  readonly #forget: () => void;
  readonly #exited: Promise<number | string>;
  #running = true;
  #output = '';
  #lines: string[] = [];
  #fd = -1;
  #rest = Buffer.alloc(0);

  private constructor(port: number, options: Options, folderOf: string | undefined) {
    this.port = port;
    const { folder, remove } =
      folderOf === undefined ? temporaryFolder('ringmain-http-') : { folder: folderOf, remove: () => {} };
    this.folder = folder;
    this.#remove = remove;
    const env = { PATH: process.env['PATH'] ?? '', SERVER_ADDR: `:${port}`, ...defaults, ...options };
    this.#child = spawn(process.execPath, [join(process.cwd(), 'dist/main.js'), 'pixel'], { cwd: folder, env });
    this.pid = this.#child.pid!;
    this.#forget = onExit(() => this.#child.kill('SIGKILL'));
    const keep = (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-64 * 1024);
    };
    this.#child.stdout!.on('data', keep);
    this.#child.stderr!.on('data', keep);
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#running = false;
        this.#forget();
        resolve(code ?? signal ?? 'unknown');
      });
    });
  }

  /** Resolves when the collector is ready. `from`: where to look for a free port. `folder`: one to go on in; it is not removed. */
  static async start(from: number, options: Options = {}, folder?: string): Promise<PixelProcess> {
    for (let attempt = 0; ; attempt++) {
      const started = new PixelProcess(await freePort(from + 2 * attempt), options, folder);
      if (await started.#ready(options)) return started;
      started.signal('SIGKILL');
      await started.#exited;
      started.#remove();
      // Another run of the tests on this machine may have been faster; its server would answer, so only our own word counts.
      const taken = started.#output.includes('port must be free') || started.#output.includes('PORT_IN_USE');
      if (!taken || attempt === 5) throw new Error(`the collector did not start:\n${started.#output}`);
    }
  }

  /** Whether it says so itself within the time. */
  async #ready(options: Options): Promise<boolean> {
    const until = performance.now() + 30_000;
    while (!this.#output.includes('"msg":"ready"')) {
      if (!this.#running || performance.now() > until) return false;
      await sleep(20);
    }
    // Its /readyz is elsewhere, or not in the clear.
    if (options['TLS_CERT'] !== undefined || options['ADMIN_ADDR'] !== undefined) return true;
    while ((await request(this.port, '/readyz')).status !== 200) {
      if (performance.now() > until) return false;
      await sleep(20);
    }
    return true;
  }

  get running(): boolean {
    return this.#running;
  }

  get output(): string {
    return this.#output;
  }

  /** All whole lines of the file so far. */
  lines(): string[] {
    try {
      if (this.#fd < 0) this.#fd = openSync(join(this.folder, 'events.ndjson'), 'r');
    } catch {
      return this.#lines;
    }
    const chunk = Buffer.alloc(1024 * 1024);
    for (;;) {
      const bytes = readSync(this.#fd, chunk, 0, chunk.length, null);
      if (bytes === 0) return this.#lines;
      const text = Buffer.concat([this.#rest, chunk.subarray(0, bytes)]);
      const end = text.lastIndexOf(10);
      this.#rest = Buffer.from(text.subarray(end + 1));
      if (end < 0) continue;
      for (const line of text.toString('utf8', 0, end).split('\n')) this.#lines.push(line);
    }
  }

  /** A value of /metrics; the sum over all lines that begin with `name`. */
  async metric(name: string): Promise<number> {
    const text = (await request(this.port, '/metrics')).text();
    let sum = 0;
    for (const line of text.split('\n'))
      if (line.startsWith(name)) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    return sum;
  }

  /** Resident memory, bytes. */
  rss(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'latin1'))![1]) * 1024;
  }

  signal(name: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(name);
  }

  /** Ends it in order and returns the exit code; its files are gone then. */
  async stop(): Promise<number | string> {
    this.signal('SIGTERM');
    const late = setTimeout(() => this.signal('SIGKILL'), 15_000);
    const code = await this.#exited;
    clearTimeout(late);
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#remove();
    return code;
  }
}
