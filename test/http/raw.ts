/**
 * Raw HTTP over a socket, for tests: bytes go out as they are, and what comes back is kept and read as answers.
 */
import { createSocket, type Socket as DgramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';

export interface Answer {
  readonly status: number;
  /** Names in lower case; several of a name are joined by newlines. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  text(): string;
  json(): unknown;
}

/** Ports that this process has claimed, each by a UDP socket of the same number. */
const claims = new Map<number, DgramSocket>();

/**
 * The first port of [from, from + 50) that nobody listens on and no other run of the tests has claimed. The claim is a UDP socket that is kept:
 * our servers share their ports (SO_REUSEPORT), so two runs that found the same port free would answer each other's requests. Below
 * 32768, so that no outgoing connection has it by chance.
 */
export async function freePort(from: number): Promise<number> {
  for (let port = from; port < from + 50; port++) {
    if ((claims.has(port) || (await claim(port))) && (await nobodyListens(port))) return port;
  }
  throw new Error(`no port is free: from=${from}`);
}

function claim(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  socket.unref();
  return new Promise((resolve) => {
    socket.once('error', () => resolve(false));
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
      claims.set(port, socket);
      resolve(true);
    });
  });
}

function nobodyListens(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

export class RawConnection {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  /** The server has closed its side. */
  ended = false;
  #changed: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#changed();
    });
    const ended = () => {
      this.ended = true;
      this.#changed();
    };
    socket.on('end', ended).on('close', ended).on('error', ended);
  }

  static async open(port: number, host = '127.0.0.1', tls?: ConnectionOptions): Promise<RawConnection> {
    // Half-open allowed: the client may end its side first, as `nc -N` does.
    const socket = tls
      ? connectTls({ port, host, ...tls })
      : connect({ port, host, allowHalfOpen: true, noDelay: true });
    const connection = new RawConnection(socket);
    await once(socket, tls ? 'secureConnect' : 'connect');
    return connection;
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Everything received that no answer has taken. */
  get rest(): string {
    return this.#bytes.toString('latin1');
  }

  /** The next answer; undefined when the server closed before it was whole. `head`: it has no body. */
  async answer(timeoutMs = 5000, head = false): Promise<Answer | undefined> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const answer = this.#take(head);
      if (answer !== undefined) return answer;
      if (this.ended) return undefined;
      await this.#change(until, 'no answer');
    }
  }

  /** Resolves when the server has closed its side. */
  async closed(timeoutMs = 15_000): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (!this.ended) await this.#change(until, 'not closed');
  }

  close(): void {
    this.socket.destroy();
  }

  async #change(until: number, what: string): Promise<void> {
    const left = until - performance.now();
    if (left <= 0) throw new Error(`${what} in time: received=${JSON.stringify(this.rest.slice(0, 200))}`);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, left);
      this.#changed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #take(head: boolean): Answer | undefined {
    const end = this.#bytes.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const lines = this.#bytes.toString('latin1', 0, end).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(lines[0]!)?.[1]);
    const headers: Record<string, string> = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = name in headers ? `${headers[name]}\n${value}` : value;
    }
    const from = end + 4;
    let length = Number(headers['content-length'] ?? 0);
    if (head || status === 204 || status < 200) length = 0;
    // What the addon answers by itself has no length: it closes behind it.
    else if (headers['content-length'] === undefined && headers['connection'] === 'close') {
      if (!this.ended) return undefined;
      length = this.#bytes.length - from;
    }
    if (this.#bytes.length < from + length) return undefined;
    const body = Buffer.from(this.#bytes.subarray(from, from + length));
    this.#bytes = this.#bytes.subarray(from + length);
    return { status, headers, body, text: () => body.toString(), json: () => JSON.parse(body.toString()) as unknown };
  }
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: readonly string[];
  readonly body?: string | Uint8Array;
  readonly host?: string;
}

/** The bytes of one request; Content-Length is added when there is a body. */
export function requestBytes(
  target: string,
  { method = 'GET', headers = [], body, host = 'test' }: RequestOptions = {},
): Buffer {
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...headers];
  const payload = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
  if (body !== undefined) lines.push(`Content-Length: ${payload.length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), payload]);
}

/** One request on a connection of its own. */
export async function request(port: number, target: string, options: RequestOptions = {}): Promise<Answer> {
  const answer = await exchange(port, requestBytes(target, options), options.method === 'HEAD');
  if (answer === undefined) throw new Error(`the server closed without an answer: target=${target}`);
  return answer;
}

/** Sends bytes on a connection of their own; undefined: closed without an answer. */
export async function exchange(port: number, bytes: string | Uint8Array, head = false): Promise<Answer | undefined> {
  const connection = await RawConnection.open(port);
  try {
    connection.send(bytes);
    return await connection.answer(15_000, head);
  } finally {
    connection.close();
  }
}

const MiB = 1 << 20;
const PIECE = Buffer.alloc(MiB, 'x');

export interface Sent {
  readonly target: string;
  readonly method?: string;
  readonly headers?: readonly string[];
  readonly mib: number;
  readonly chunked?: boolean;
}

/**
 * Sends all of a request before it reads, more than the buffers of both sockets hold. Undefined: the connection broke before the answer was
 * read.
 */
export async function sendThenRead(
  port: number,
  { target, method = 'POST', headers = [], mib, chunked = false }: Sent,
): Promise<(Answer & { readonly closed: boolean }) | undefined> {
  const connection = await RawConnection.open(port);
  const { socket } = connection;
  try {
    socket.pause();
    const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${mib * MiB}`;
    connection.send(`${[`${method} ${target} HTTP/1.1`, 'Host: a', framing, ...headers].join('\r\n')}\r\n\r\n`);
    try {
      for (let sent = 0; sent < mib; sent++) {
        if (chunked) socket.write(`${MiB.toString(16)}\r\n`);
        if (!socket.write(PIECE)) await once(socket, 'drain');
        if (chunked) socket.write('\r\n');
      }
      if (chunked) socket.write('0\r\n\r\n');
      // What the other side does with the end comes before it is read here.
      await delay(50);
    } catch {
      return undefined;
    }
    socket.resume();
    const answer = await connection.answer();
    await connection.closed(answer?.headers['connection'] === 'close' ? 5000 : 0).catch(() => undefined);
    return answer === undefined ? undefined : { ...answer, closed: connection.ended };
  } finally {
    connection.close();
  }
}
