/**
 * A TCP proxy whose faults are commanded by methods: what a test cannot get from a real server on demand.
 *
 *   pass     (the state at the start, and after heal()) moves bytes both ways
 *   cutAfter ends a connection after exactly n more bytes one way (end for who received them, reset for who sent); once
 *   silence  accepts, takes in whatever comes, passes nothing on, answers nothing
 *   freeze   stops reading on both sides, so the kernel's buffers fill as with a stopped process or a lost network
 *   refuse   closes the listening socket (ECONNREFUSED) and resets what is open
 *   delay    every chunk is passed on after so many milliseconds, in order
 *
 * Always true: no fault happens at a random moment; bytes are counted over all connections since the command was given.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { onExit, type TestScope } from './process.ts';

export interface ProxyOptions {
  readonly target: { readonly host?: string; readonly port: number };
  /** Port to listen on, 127.0.0.1; 0 picks one, which refuse() and heal() keep. */
  readonly port?: number;
}

type Direction = 'toTarget' | 'toClient';
type Mode = 'pass' | 'silence' | 'freeze' | 'refuse';

interface Pair {
  readonly client: Socket;
  readonly target: Socket;
  /** Set by a cut: nothing of this connection is passed on any more. */
  cut: boolean;
}

export class FaultProxy {
  /** Bytes passed on since the start. */
  readonly passed: Record<Direction, number> = { toTarget: 0, toClient: 0 };
  /** Connections accepted since the start. */
  accepted = 0;
  /** Cuts made by cutAfter since the start. */
  cuts = 0;
  #options: ProxyOptions;
  #server: Server | undefined;
  #port = 0;
  #mode: Mode = 'pass';
  #delayMs = 0;
  #pairs = new Set<Pair>();
  #waiting = new Set<Socket>();
  #cut: { direction: Direction; left: number; done: () => void } | undefined;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#port = options.port ?? 0;
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Connections open now. */
  get open(): number {
    return this.#pairs.size + this.#waiting.size;
  }

  async listen(): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#server = server;
    this.#port = (server.address() as { port: number }).port;
  }

  /** Ends the connection on which the `bytes`-th byte from now is passed on that way; resolves when it has happened. */
  cutAfter(direction: Direction, bytes: number): Promise<void> {
    return new Promise((done) => {
      this.#cut = { direction, left: bytes, done };
    });
  }

  /** Resets all open connections now. */
  cutNow(): void {
    for (const pair of this.#pairs) reset(pair);
    for (const client of this.#waiting) client.resetAndDestroy();
  }

  /** From now on takes in bytes from clients and passes nothing on, in either direction; new connections are accepted. */
  silence(): void {
    this.#setMode('silence');
  }

  /** From now on reads nothing from either side: senders run into full kernel buffers. Nothing is lost; heal() goes on. */
  freeze(): void {
    this.#setMode('freeze');
  }

  /** Closes the listening socket and resets what is open: nobody is there. */
  async refuse(): Promise<void> {
    this.#setMode('refuse');
    const server = this.#server;
    this.#server = undefined;
    this.cutNow();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  /** Each chunk from now on is passed on `ms` later, in order. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /**
   * Takes every fault away. Connections that were frozen go on; those that were silenced have lost bytes and are
   * reset, as a middle box does that forgot them.
   */
  async heal(): Promise<void> {
    const before = this.#mode;
    this.#cut = undefined;
    this.#delayMs = 0;
    if (before === 'silence') this.cutNow();
    this.#setMode('pass');
    if (!this.#server) await this.listen();
    for (const client of this.#waiting) {
      this.#waiting.delete(client);
      this.#join(client);
    }
  }

  async close(): Promise<void> {
    await this.refuse();
  }

  #setMode(mode: Mode): void {
    this.#mode = mode;
    for (const { client, target } of this.#pairs) {
      for (const socket of [client, target]) {
        if (mode === 'freeze') socket.pause();
        else socket.resume();
      }
    }
    if (mode === 'silence') for (const client of this.#waiting) client.resume();
  }

  #accept(client: Socket): void {
    this.accepted += 1;
    client.on('error', () => {});
    if (this.#mode === 'pass') {
      this.#join(client);
      return;
    }
    this.#waiting.add(client);
    client.once('close', () => this.#waiting.delete(client));
    if (this.#mode === 'silence') client.on('data', () => {});
    else client.pause();
  }

  #join(client: Socket): void {
    if (client.destroyed) return;
    const { host = '127.0.0.1', port } = this.#options.target;
    const target = createConnection({ host, port, noDelay: true, allowHalfOpen: true });
    const pair: Pair = { client, target, cut: false };
    this.#pairs.add(pair);
    target.on('error', () => reset(pair));
    client.on('error', () => reset(pair));
    for (const socket of [client, target]) {
      socket.once('close', (hadError) => {
        if (hadError) reset(pair);
        if (client.destroyed && target.destroyed) this.#pairs.delete(pair);
      });
    }
    this.#pipe(pair, client, target, 'toTarget');
    this.#pipe(pair, target, client, 'toClient');
  }

  #pipe(pair: Pair, from: Socket, to: Socket, direction: Direction): void {
    // 'data' rather than pipe(): the cut must fall between two bytes, and a chunk in hand must stop when frozen.
    from.on('data', (chunk: Buffer) => {
      if (this.#mode === 'silence') return;
      if (this.#delayMs > 0) setTimeout(() => this.#pass(pair, from, to, chunk, direction), this.#delayMs);
      else this.#pass(pair, from, to, chunk, direction);
    });
    from.on('end', () => {
      if (this.#delayMs > 0) setTimeout(() => to.end(), this.#delayMs);
      else if (this.#mode !== 'silence') to.end();
    });
    // A socket that waited was paused by hand: a listener alone does not start it again.
    if (this.#mode === 'freeze') from.pause();
    else from.resume();
  }

  #pass(pair: Pair, from: Socket, to: Socket, chunk: Buffer, direction: Direction): void {
    if (to.destroyed || to.writableEnded || pair.cut) return;
    const cut = this.#cut;
    if (cut?.direction === direction) {
      if (chunk.length >= cut.left) {
        this.#cut = undefined;
        this.cuts += 1;
        this.passed[direction] += cut.left;
        pair.cut = true;
        from.resetAndDestroy();
        // The receiver gets every byte and then the end: a reset could throw away what it has not read yet.
        to.end(chunk.subarray(0, cut.left), () => {
          to.destroy();
          cut.done();
        });
        return;
      }
      cut.left -= chunk.length;
    }
    this.passed[direction] += chunk.length;
    if (!to.write(chunk)) {
      from.pause();
      to.once('drain', () => this.#mode !== 'freeze' && from.resume());
    }
  }
}

function reset({ client, target }: Pair): void {
  if (!client.destroyed) client.resetAndDestroy();
  if (!target.destroyed) target.resetAndDestroy();
}

/** Starts a proxy before `target`; it closes with the test. */
export async function faultProxy(t: TestScope | undefined, options: ProxyOptions): Promise<FaultProxy> {
  const proxy = new FaultProxy(options);
  await proxy.listen();
  const forget = onExit(() => proxy.cutNow());
  t?.onTestFinished(async () => {
    forget();
    await proxy.close();
  });
  return proxy;
}
