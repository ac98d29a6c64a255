/**
 * Connection: one to a backend, kept alive, with one request at a time. It writes the request, reads the answer
 * strictly (answer-head.ts, chunked.ts) and frames nothing by guess: what is no whole answer fails, and behind it, as
 * behind bytes that belong to no answer, the connection is closed.
 *
 * Sockets read into one buffer of the thread, which nobody keeps: a piece of a body is copied out of it. Time-outs of
 * all connections share a timer for each length (http/deadlines.ts).
 *
 * Why not a client of the shelf: undici costs some 60 us of a request, and this a quarter of it.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Deadline, type Deadlines } from '../../http/deadlines.ts';
import { gatewayErrors } from '../errors.ts';
import { type AnswerHead, BadAnswer, parseAnswerHead } from './answer-head.ts';
import { ChunkedBody } from './chunked.ts';

/** Who reads an answer. Called until end() or failed(), of which one comes, unless it is abandoned. */
export interface AnswerReader {
  /** Whether answers have no body: HEAD. */
  readonly bodiless: boolean;
  head(head: AnswerHead): void;
  /** The bytes are the reader's. False: no more, until resume(). What has been read from the socket comes all the same. */
  chunk(bytes: Buffer): boolean;
  end(): void;
  failed(error: Error): void;
}

export interface ConnectionLimits {
  readonly connectMs: number;
  readonly headMs: number;
  readonly bodyMs: number;
}

/** What all connections of a thread share. */
export interface ConnectionShared {
  readonly limits: ConnectionLimits;
  readonly connecting: Deadlines;
  readonly waiting: Deadlines;
  readonly reading: Deadlines;
  readonly idling: Deadlines;
}

export interface ConnectionHooks {
  /** It may be used again. */
  idle(connection: Connection): void;
  /** It is no more. */
  closed(connection: Connection): void;
}

const HEAD_BYTES_MAX = 32 * 1024;
const READ_BYTES = 64 * 1024;
const readInto = Buffer.allocUnsafeSlow(READ_BYTES);
const HEAD_END = Buffer.from('\r\n\r\n');
const SWITCHING = 101;
/** A backend that says for how long it keeps an idle connection must not be asked on it in its last second. */
const CLOSING_S = 1;

const unfinished = (cause?: Error): Error =>
  gatewayErrors.BACKEND_FAILED({ reason: 'the backend closed the connection before its answer was whole' }, cause);

/** Clients read it: no address of the inside stands in it. */
function failureOf(error: Error): Error {
  const { code } = error as { readonly code?: string };
  if (error instanceof BadAnswer) return gatewayErrors.BACKEND_FAILED({ reason: error.message }, error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return unfinished(error);
  return gatewayErrors.BACKEND_FAILED({ reason: `the connection to the backend failed: ${code ?? error.name}` }, error);
}

export class Connection extends Deadline {
  readonly #shared: ConnectionShared;
  readonly #hooks: ConnectionHooks;
  readonly #socket: Socket;
  #state: 'connecting' | 'idle' | 'head' | 'body' | 'closed' = 'connecting';
  #reader: AnswerReader | undefined;
  /** What of a head has come. */
  #partial = '';
  #head: AnswerHead | undefined;
  #left = 0;
  #chunked: ChunkedBody | undefined;
  #paused = false;
  #retired = false;
  #freshUntilMs = Number.POSITIVE_INFINITY;
  #timed: Deadlines | undefined;
  #reads = 0;

  /** Connects to `origin` (http://host:port, https://host:port). */
  constructor(origin: URL, shared: ConnectionShared, hooks: ConnectionHooks) {
    super();
    this.#shared = shared;
    this.#hooks = hooks;
    const host = origin.hostname.replace(/^\[|\]$/g, '');
    if (origin.protocol === 'https:') {
      const port = Number(origin.port || 443);
      const servername = /^[\d.]+$|:/.test(host) ? undefined : host;
      const how = { host, port, ALPNProtocols: ['http/1.1'], ...(servername === undefined ? {} : { servername }) };
      this.#socket = connectTls(how, () => this.#connected());
      this.#socket.on('data', (bytes: Buffer) => this.#take(bytes, bytes.length));
    } else {
      const onread = {
        buffer: readInto,
        callback: (bytes: number) => {
          this.#take(readInto, bytes);
          return true;
        },
      };
      this.#socket = connect({ host, port: Number(origin.port || 80), onread }, () => this.#connected());
    }
    this.#socket.setNoDelay(true);
    this.#socket.on('error', (error: Error) => this.#fail(failureOf(error)));
    this.#socket.on('end', () => this.#fail(unfinished()));
    this.#socket.on('close', () => this.#fail(unfinished()));
    this.#time(shared.connecting);
  }

  /** Sends a request whose text is latin1. The connection is idle, or new. */
  send(request: string, reader: AnswerReader): void {
    this.#reader = reader;
    this.#socket.write(request, 'latin1');
    if (this.#state === 'connecting') return;
    this.#state = 'head';
    this.#time(this.#shared.waiting);
  }

  /** The reader wants nothing more: nothing more comes, and the connection is closed unless the answer has ended. */
  abandon(): void {
    this.#reader = undefined;
    this.#close();
  }

  pause(): void {
    if (this.#paused || this.#reader === undefined) return;
    this.#paused = true;
    this.#socket.pause();
    // It is not the backend that lets wait.
    if (this.#state === 'body') this.#time(undefined);
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
    if (this.#state === 'body') this.#time(this.#shared.reading);
  }

  /** Closes an idle connection at once, and another one when its answer has ended. */
  retire(): void {
    this.#retired = true;
    if (this.#state === 'idle') this.#close();
  }

  /** Closes it at once; its request fails. */
  destroy(): void {
    this.#fail(gatewayErrors.BACKEND_FAILED({ reason: 'the gateway ends' }));
  }

  /** False: by what the backend has said, it is about to close it. */
  get fresh(): boolean {
    return this.#freshUntilMs === Number.POSITIVE_INFINITY || performance.now() < this.#freshUntilMs;
  }

  /** The time of what it waits for is over. */
  override expire(): void {
    const { connectMs, headMs, bodyMs } = this.#shared.limits;
    const state = this.#state;
    this.#timed = undefined;
    if (state === 'idle') {
      this.#close();
      return;
    }
    const reads = this.#reads;
    const limitMs = state === 'connecting' ? connectMs : state === 'head' ? headMs : bodyMs;
    // A thread that was busy for long meets its timers before what lies in its sockets.
    setImmediate(() => {
      if (this.#state === state && this.#reads === reads && this.#timed === undefined && !this.#paused)
        this.#fail(gatewayErrors.BACKEND_TIMEOUT({ limitMs }));
    });
  }

  #connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'head';
    this.#time(this.#shared.waiting);
  }

  #time(list: Deadlines | undefined): void {
    this.#timed?.remove(this);
    this.#timed = list;
    list?.add(this);
  }

  #take(bytes: Buffer, length: number): void {
    this.#reads += 1;
    try {
      let at = 0;
      while (at < length && this.#state !== 'closed') {
        if (this.#state === 'head') at = this.#takeHead(bytes, at, length);
        else if (this.#state === 'body') at = this.#takeBody(bytes, at, length);
        else {
          // Nobody has asked for it.
          this.#close();
          return;
        }
      }
      if (this.#state === 'body' && !this.#paused) this.#time(this.#shared.reading);
    } catch (error) {
      this.#fail(error instanceof BadAnswer ? failureOf(error) : (error as Error));
    }
  }

  /** Returns the offset behind what was read. */
  #takeHead(bytes: Buffer, from: number, to: number): number {
    let text: string;
    let end: number;
    if (this.#partial === '') {
      const found = bytes.indexOf(HEAD_END, from);
      const whole = found >= 0 && found + 4 <= to;
      text = bytes.toString('latin1', from, whole ? found : to);
      end = whole ? found + 4 : -1;
    } else {
      const before = this.#partial.length;
      const all = this.#partial + bytes.toString('latin1', from, to);
      const found = all.indexOf('\r\n\r\n', Math.max(0, before - 3));
      text = found < 0 ? all : all.slice(0, found);
      end = found < 0 ? -1 : from + found + 4 - before;
    }
    if (text.length > HEAD_BYTES_MAX)
      throw new BadAnswer(`the head of an answer must have at most ${HEAD_BYTES_MAX} bytes`);
    if (end < 0) {
      this.#partial = text;
      return to;
    }
    this.#partial = '';
    const head = parseAnswerHead(text);
    if (head.status === SWITCHING) throw new BadAnswer('the backend must not change the protocol');
    if (head.status >= 200) this.#begin(head, end < to);
    return end;
  }

  /** `more`: bytes stand behind the head. */
  #begin(head: AnswerHead, more: boolean): void {
    const reader = this.#reader!;
    this.#head = head;
    this.#state = 'body';
    const { status, length, chunked } = head;
    const none = reader.bodiless || status === 204 || status === 304;
    if (!none && length === undefined && !chunked)
      // Its body would end with the connection: one that breaks off looks whole.
      throw new BadAnswer('the answer of the backend does not say where its body ends');
    this.#left = none ? 0 : (length ?? 0);
    this.#chunked = none || !chunked ? undefined : new ChunkedBody((piece, from, to) => this.#give(piece, from, to));
    reader.head(head);
    if (this.#reader === reader && this.#left === 0 && this.#chunked === undefined) this.#end(more);
  }

  #takeBody(bytes: Buffer, from: number, to: number): number {
    if (this.#chunked !== undefined) {
      const end = this.#chunked.take(bytes, from, to);
      if (this.#state !== 'body') return to;
      if (end < 0) return to;
      this.#end(end < to);
      return to;
    }
    const end = Math.min(to, from + this.#left);
    this.#left -= end - from;
    this.#give(bytes, from, end);
    if (this.#state !== 'body') return to;
    if (this.#left === 0) {
      this.#end(end < to);
      return to;
    }
    return end;
  }

  #give(bytes: Buffer, from: number, to: number): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    const room = reader.chunk(Buffer.from(bytes.subarray(from, to)));
    if (this.#reader !== reader) return;
    if (!room) this.pause();
  }

  /** `more`: bytes that belong to no answer stand behind it. */
  #end(more: boolean): void {
    const reader = this.#reader!;
    const { keepsAlive, keepAliveS } = this.#head!;
    const again = keepsAlive && !more && !this.#retired;
    this.#reader = undefined;
    this.#head = undefined;
    this.#chunked = undefined;
    if (again) {
      this.#state = 'idle';
      if (this.#paused) this.resume();
      this.#time(this.#shared.idling);
      if (keepAliveS !== undefined) this.#freshUntilMs = performance.now() + (keepAliveS - CLOSING_S) * 1000;
      this.#hooks.idle(this);
    } else this.#close();
    reader.end();
  }

  #fail(error: Error): void {
    if (this.#state === 'closed') return;
    const reader = this.#reader;
    this.#reader = undefined;
    this.#close();
    reader?.failed(error);
  }

  #close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#time(undefined);
    this.#socket.destroy();
    this.#hooks.closed(this);
  }
}
