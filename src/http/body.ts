/**
 * Body: collects the body of a request within limits, and hands it on in one piece.
 *
 *   fits one read   handed on as a view of the addon's own memory, inside onData: no copy; it is detached when that returns
 *   comes in pieces copied into a buffer that grows by doubling with what has arrived, never with what was announced: ten thousand
 *                   connections that announce a megabyte each cost nothing. `bodyMemoryBytes` bounds all of them together
 *   too slow        408 after bodyTimeoutMs, by one timer for all bodies: the deadlines come in the order of the requests
 *   chunked         handed on in the next turn of the loop, and the caller must close the connection with its answer: the
 *                   addon reads a trailer as the next request (it answers 505 to it) and counts chunk extensions as size, so
 *                   nothing that follows may be handled. If the addon gives up on the connection in the same read, the body is dropped
 *                   as if it had never come: no event is stored whose client got a 505
 *   encoded         see decompress.ts; small ones at once, others off this thread
 *
 * A taker is told exactly once: body(), or failed(), or aborted().
 */
import type { HttpResponse } from 'uWebSockets.js';
import type { Clock } from '../kernel/clock.ts';
import { systemClock } from '../kernel/clock.ts';
import { type Encoding, Unpacker, type UnpackFailure } from './decompress.ts';
import type { Framing } from './guards.ts';

/** Why there is no body. The caller makes the answer of it. */
export type BodyFailure =
  | { readonly code: 'BODY_TOO_LARGE'; readonly bytes: number }
  | { readonly code: 'BODY_TIMEOUT'; readonly bytes: number }
  | { readonly code: 'BODY_MEMORY' }
  | { readonly code: UnpackFailure };

export interface BodyTaker {
  /** `inHandler`: the response is corked already. `bytes` is borrowed: copy what must live longer than this call. */
  body(bytes: Buffer, inHandler: boolean): void;
  /** The rest of the body is not read: answer and close. */
  failed(failure: BodyFailure, inHandler: boolean): void;
  /** The connection is gone, before or after body(): do not touch the response. */
  aborted(): void;
}

export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly bodyMemoryBytes: number;
  readonly bodyTimeoutMs: number;
}

const FIRST_BYTES = 16 * 1024;
const POOL_BYTES = 64 * 1024;
const POOL_MAX = 32;

export class BodyReader {
  readonly limits: BodyLimits;
  readonly #clock: Clock;
  readonly #unpacker: Unpacker;
  /** Bytes of buffers that bodies hold now. */
  #held = 0;
  readonly #pool: Buffer[] = [];
  #oldest: Pending | undefined;
  #newest: Pending | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: BodyLimits, clock: Clock = systemClock) {
    this.limits = limits;
    this.#clock = clock;
    this.#unpacker = new Unpacker(limits.maxBodyBytes);
  }

  /** Bytes held for bodies that are still arriving; for the metric. */
  get heldBytes(): number {
    return this.#held;
  }

  /**
   * Reads the body of this request. Call inside the handler, after the framing was found well-formed; it attaches the abort handler.
   * The caller has answered 413 when framing.bytes exceeds the limit.
   */
  read(res: HttpResponse, framing: Framing, encoding: Encoding, taker: BodyTaker): void {
    const pending = new Pending(this, res, framing.chunked, encoding, taker);
    res.onAborted(() => pending.abort());
    // A body with a length is told at once, be it by an empty chunk; the first chunk of a chunked one may never come.
    if (framing.chunked) pending.startWaiting();
    res.onData((chunk, last) => pending.take(chunk, last));
  }

  /** Ends the waiting of every body; for the acceptor's end. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unpacker.close();
  }

  /** @internal Room for `bytes` more; undefined: there is none. */
  grow(buffer: Buffer | undefined, used: number, bytes: number): Buffer | undefined {
    const need = used + bytes;
    if (buffer !== undefined && need <= buffer.length) return buffer;
    const size = Math.max(FIRST_BYTES, 2 ** Math.ceil(Math.log2(need)));
    if (this.#held + size > this.limits.bodyMemoryBytes) return undefined;
    const grown =
      size === POOL_BYTES ? (this.#pool.pop() ?? Buffer.allocUnsafeSlow(size)) : Buffer.allocUnsafeSlow(size);
    this.#held += size;
    if (buffer !== undefined) {
      buffer.copy(grown, 0, 0, used);
      this.release(buffer);
    }
    return grown;
  }

  /** @internal */
  release(buffer: Buffer): void {
    this.#held -= buffer.length;
    if (buffer.length === POOL_BYTES && this.#pool.length < POOL_MAX) this.#pool.push(buffer);
  }

  /** @internal */
  unpack(bytes: Buffer, encoding: Encoding, done: (bytes: Buffer | UnpackFailure, inHandler: boolean) => void): void {
    this.#unpacker.unpack(bytes, encoding, done);
  }

  /** @internal Puts a body at the end of the deadline list: all have the same time-out, so the list is in order. */
  wait(pending: Pending): void {
    pending.deadline = this.#clock.elapsed() + this.limits.bodyTimeoutMs;
    pending.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = pending;
    else this.#newest.newer = pending;
    this.#newest = pending;
    if (this.#timer === undefined) this.#arm();
  }

  /** @internal */
  unwait(pending: Pending): void {
    if (pending.older === undefined) this.#oldest = pending.newer;
    else pending.older.newer = pending.newer;
    if (pending.newer === undefined) this.#newest = pending.older;
    else pending.newer.older = pending.older;
    pending.older = undefined;
    pending.newer = undefined;
  }

  #arm(): void {
    // The timer is left running when its body has come in time: re-arming one per request would cost more than a look now and then.
    const delay = this.#oldest === undefined ? 0 : Math.max(1, this.#oldest.deadline - this.#clock.elapsed());
    if (this.#oldest === undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = this.#clock.elapsed();
      while (this.#oldest !== undefined && this.#oldest.deadline <= now) this.#oldest.expire();
      this.#arm();
    }, delay);
    this.#timer.unref();
  }
}

/** One body on its way. */
class Pending {
  deadline = 0;
  older: Pending | undefined;
  newer: Pending | undefined;
  readonly #reader: BodyReader;
  readonly #res: HttpResponse;
  readonly #chunked: boolean;
  readonly #encoding: Encoding;
  readonly #taker: BodyTaker;
  #buffer: Buffer | undefined;
  #bytes = 0;
  #waiting = false;
  /** Told the taker, or about to: nothing that arrives later counts. */
  #settled = false;
  #gone = false;

  constructor(reader: BodyReader, res: HttpResponse, chunked: boolean, encoding: Encoding, taker: BodyTaker) {
    this.#reader = reader;
    this.#res = res;
    this.#chunked = chunked;
    this.#encoding = encoding;
    this.#taker = taker;
  }

  take(chunk: ArrayBuffer, last: boolean): void {
    if (this.#settled) return;
    const bytes = this.#bytes + chunk.byteLength;
    if (bytes > this.#reader.limits.maxBodyBytes) {
      this.#fail({ code: 'BODY_TOO_LARGE', bytes }, true);
      return;
    }
    if (last && this.#buffer === undefined && !this.#chunked) {
      this.#settle();
      this.#pass(Buffer.from(chunk), true);
      return;
    }
    const buffer = this.#reader.grow(this.#buffer, this.#bytes, chunk.byteLength);
    if (buffer === undefined) {
      this.#fail({ code: 'BODY_MEMORY' }, true);
      return;
    }
    this.#buffer = buffer;
    // The chunk is detached when this returns.
    buffer.set(new Uint8Array(chunk), this.#bytes);
    this.#bytes = bytes;
    if (!last) {
      this.startWaiting();
      return;
    }
    this.#settle();
    if (this.#chunked) setImmediate(() => this.#passKept(false));
    else this.#passKept(true);
  }

  startWaiting(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#reader.wait(this);
  }

  #passKept(inHandler: boolean): void {
    if (!this.#gone) this.#pass(this.#buffer!.subarray(0, this.#bytes), inHandler);
    else this.#release();
  }

  /** Hands the body on, unpacked; gives its buffer back. */
  #pass(bytes: Buffer, inHandler: boolean): void {
    if (this.#encoding === 'identity') {
      try {
        this.#taker.body(bytes, inHandler);
      } finally {
        this.#release();
      }
      return;
    }
    // `bytes` may be the addon's memory: the unpacker copies it when it does not finish at once.
    this.#reader.unpack(bytes, this.#encoding, (plain, atOnce) => {
      this.#release();
      if (this.#gone) return;
      const corked = inHandler && atOnce;
      if (typeof plain === 'string') this.#taker.failed({ code: plain }, corked);
      else this.#taker.body(plain, corked);
    });
  }

  #fail(failure: BodyFailure, inHandler: boolean): void {
    this.#settle();
    this.#release();
    this.#taker.failed(failure, inHandler);
  }

  /** The deadline has passed. */
  expire(): void {
    const bytes = this.#bytes;
    this.#settle();
    this.#release();
    this.#res.cork(() => this.#taker.failed({ code: 'BODY_TIMEOUT', bytes }, true));
  }

  abort(): void {
    this.#gone = true;
    if (!this.#settled) {
      this.#settle();
      this.#release();
    }
    this.#taker.aborted();
  }

  #settle(): void {
    this.#settled = true;
    if (this.#waiting) {
      this.#waiting = false;
      this.#reader.unwait(this);
    }
  }

  #release(): void {
    if (this.#buffer === undefined) return;
    const buffer = this.#buffer;
    this.#buffer = undefined;
    this.#reader.release(buffer);
  }
}
