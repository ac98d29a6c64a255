/**
 * Body: collects the body of a request within limits, and hands it on in one piece.
 *
 *   fits one read   handed on as a view of the addon's own memory, inside onData: no copy. It is detached when onData
 *                   returns
 *   comes in pieces copied into a buffer that doubles with what has arrived, never with what was announced: ten
 *                   thousand connections that announce a megabyte each cost nothing. `bodyMemoryBytes` bounds all
 *                   buffers together
 *   too slow        408 after bodyTimeoutMs
 *   chunked         handed on in the next turn of the loop, and the caller must close the connection with its answer.
 *                   The addon reads a trailer as the next request (and answers 505 to it) and counts chunk extensions
 *                   as size, so nothing behind such a body may be handled. If the addon gives up on the connection in
 *                   the same read, the body is dropped as if it had never come: no event is stored whose client got a
 *                   505
 *   encoded         unpacked (decompress.ts): small bodies at once, others off this thread
 *
 * A taker is told exactly once: body(), failed() or aborted(); body() may be followed by aborted(). What comes behind a
 * failure, or behind drop(), passes by; a refusal may linger for it (lingering.ts).
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { type Problem, problemOf } from '../kernel/errors.ts';
import { shown } from './answer.ts';
import { Deadline, Deadlines } from './deadlines.ts';
import { type Encoding, encodingOf, SMALL_OUT_BYTES, Unpacker, type UnpackFailure } from './decompress.ts';
import { httpErrors } from './errors.ts';
import type { Fairness } from './fairness.ts';
import type { Framing } from './guards.ts';
import { type BodyRest, Lingering } from './lingering.ts';

/** Why there is no body; bodyProblem() makes the answer of it. */
export type BodyFailure =
  | { readonly code: 'BODY_TOO_LARGE'; readonly bytes: number }
  | { readonly code: 'BODY_TIMEOUT'; readonly bytes: number }
  | { readonly code: 'BODY_MEMORY' }
  | { readonly code: UnpackFailure };

export interface BodyTaker {
  /** `inHandler`: the response is corked already. `bytes` is borrowed: copy what must live longer than this call. */
  body(bytes: Buffer, inHandler: boolean): void;
  /** The rest of the body is not read: answer and close. `rest`: it is still on its way. */
  failed(failure: BodyFailure, inHandler: boolean, rest?: BodyRest): void;
  /** The connection is gone, before or after body(): do not touch the response. */
  aborted(): void;
}

/** A body on its way. */
export interface BodyRead {
  /**
   * The request is answered before its body is there: what has arrived is let go, and the taker hears no more than that
   * the client has gone. Returns what still comes.
   */
  drop(): BodyRest | undefined;
}

/** What of a response reads a body. */
type BodySource = Pick<HttpResponse, 'onAborted' | 'onData' | 'cork'>;

export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly bodyMemoryBytes: number;
  readonly bodyTimeoutMs: number;
}

/** How a body is packed; an error: it is refused before it is read, for its Content-Encoding or its announced length. */
export function packingOf(req: HttpRequest, { bytes }: Framing, { maxBodyBytes: limit }: BodyLimits): Encoding | Error {
  const packed = req.getHeader('content-encoding');
  const packing = encodingOf(packed);
  if (packing === undefined) return httpErrors.UNSUPPORTED_ENCODING({ encoding: shown(packed) });
  return bytes > limit ? httpErrors.BODY_TOO_LARGE({ bytes, limit }) : packing;
}

/** What a client reads about a body that could not be read. `packing`: its Content-Encoding. */
export function bodyProblem(failure: BodyFailure, limits: BodyLimits, packing: Encoding): Problem {
  const { maxBodyBytes: limit, bodyTimeoutMs: limitMs } = limits;
  switch (failure.code) {
    case 'BODY_TOO_LARGE':
      return problemOf(httpErrors[failure.code], { bytes: failure.bytes, limit });
    case 'UNPACKED_TOO_LARGE':
      // Unpacking stopped at the limit, so the full size is unknown.
      return problemOf(httpErrors.BODY_TOO_LARGE, { bytes: limit + 1, limit });
    case 'BODY_TIMEOUT':
      return problemOf(httpErrors[failure.code], { bytes: failure.bytes, limitMs });
    case 'BODY_MEMORY':
      return problemOf(httpErrors.OVERLOADED, { reason: 'body_memory' });
    case 'BAD_ENCODING':
      return problemOf(httpErrors.INVALID_ENCODING, { encoding: packing });
  }
}

const FIRST_BYTES = 16 * 1024;
const POOL_BYTES = 64 * 1024;
const POOL_MAX = 32;

export class BodyReader {
  readonly limits: BodyLimits;
  readonly #deadlines: Deadlines;
  readonly #unpacker: Unpacker;
  /** Bytes of buffers that bodies hold now. */
  #held = 0;
  readonly #pool: Buffer[] = [];

  readonly #fairness: Fairness | undefined;

  /** `fairness`: told how much each connection makes us read. */
  constructor(limits: BodyLimits, clock: Clock = systemClock, fairness?: Fairness) {
    this.limits = limits;
    this.#fairness = fairness;
    this.#deadlines = new Deadlines(limits.bodyTimeoutMs, clock);
    this.#unpacker = new Unpacker(limits.maxBodyBytes);
  }

  /** Bytes held for bodies that are still arriving; for the metric. */
  get heldBytes(): number {
    return this.#held;
  }

  /**
   * Reads the body of this request. Call inside the handler, after the framing was found well-formed; it attaches the
   * abort handler. The caller has answered 413 when framing.bytes exceeds the limit.
   */
  read(res: BodySource, framing: Framing, encoding: Encoding, taker: BodyTaker): BodyRead {
    const pending = new Pending(this, res, framing.chunked, encoding, taker);
    res.onAborted(() => pending.abort());
    // For a body with a length the addon calls onData at once, with an empty chunk if need be; a chunked body's first
    // chunk may never come.
    if (framing.chunked) pending.startWaiting();
    res.onData((chunk, last) => pending.take(chunk, last));
    return pending;
  }

  /** Ends the waiting of every body; for the acceptor's end. */
  close(): void {
    this.#deadlines.close();
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

  /** @internal A body is handed on. */
  spend(bytes: number): void {
    this.#fairness?.spend(bytes);
  }

  /** @internal */
  wait(pending: Pending): void {
    this.#deadlines.add(pending);
  }

  /** @internal */
  lingering(end: () => void): Lingering {
    return new Lingering(end, this.#deadlines);
  }

  /** @internal */
  unwait(pending: Pending): void {
    this.#deadlines.remove(pending);
  }
}

/** One body on its way. */
class Pending extends Deadline implements BodyRead, BodyRest {
  readonly #reader: BodyReader;
  readonly #res: BodySource;
  readonly #chunked: boolean;
  readonly #encoding: Encoding;
  readonly #taker: BodyTaker;
  #buffer: Buffer | undefined;
  #bytes = 0;
  /** The taker has been told, or is about to be: nothing that arrives later counts. */
  #settled = false;
  #gone = false;
  #over = false;
  #lingering: Lingering | undefined;

  constructor(reader: BodyReader, res: BodySource, chunked: boolean, encoding: Encoding, taker: BodyTaker) {
    super();
    this.#reader = reader;
    this.#res = res;
    this.#chunked = chunked;
    this.#encoding = encoding;
    this.#taker = taker;
  }

  take(chunk: ArrayBuffer, last: boolean): void {
    if (this.#settled) {
      if (last) this.#allPassed();
      return;
    }
    const bytes = this.#bytes + chunk.byteLength;
    if (bytes > this.#reader.limits.maxBodyBytes) {
      this.#fail({ code: 'BODY_TOO_LARGE', bytes }, last);
      return;
    }
    if (last && this.#buffer === undefined && !this.#chunked) {
      this.#settle();
      this.#pass(Buffer.from(chunk), true);
      return;
    }
    const buffer = this.#reader.grow(this.#buffer, this.#bytes, chunk.byteLength);
    if (buffer === undefined) {
      this.#fail({ code: 'BODY_MEMORY' }, last);
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
    if (!this.waiting) this.#reader.wait(this);
  }

  #passKept(inHandler: boolean): void {
    if (!this.#gone) this.#pass(this.#buffer!.subarray(0, this.#bytes), inHandler);
    else this.#release();
  }

  /** Hands the body on, unpacked; gives its buffer back. */
  #pass(bytes: Buffer, inHandler: boolean): void {
    if (this.#encoding === 'identity') {
      this.#reader.spend(bytes.length);
      try {
        this.#taker.body(bytes, inHandler);
      } finally {
        this.#release();
      }
      return;
    }
    // `bytes` may be the addon's memory: the unpacker copies them when it does not finish at once.
    this.#reader.unpack(bytes, this.#encoding, (plain, atOnce) => {
      this.#release();
      if (this.#gone) return;
      const corked = inHandler && atOnce;
      // A bomb costs what it unpacks to.
      if (atOnce) this.#reader.spend(typeof plain === 'string' ? SMALL_OUT_BYTES : plain.length);
      if (typeof plain === 'string') this.#taker.failed({ code: plain }, corked);
      else this.#taker.body(plain, corked);
    });
  }

  /** While it comes. */
  #fail(failure: BodyFailure, last: boolean): void {
    this.#settle();
    this.#release();
    this.#over = last;
    this.#taker.failed(failure, true, this);
  }

  /** The deadline has passed. */
  expire(): void {
    const bytes = this.#bytes;
    this.#settle();
    this.#release();
    this.#res.cork(() => this.#taker.failed({ code: 'BODY_TIMEOUT', bytes }, true));
  }

  drop(): BodyRest | undefined {
    const coming = !this.#settled;
    this.#gone = true;
    this.#settle();
    this.#release();
    return coming ? this : undefined;
  }

  get over(): boolean {
    return this.#over;
  }

  linger(res: HttpResponse): void {
    this.passed(() => res.close());
  }

  passed(then: () => void): void {
    this.#lingering = this.#reader.lingering(then);
  }

  /** The last byte has come of what nobody reads. */
  #allPassed(): void {
    this.#over = true;
    this.#lingering?.passed();
  }

  abort(): void {
    this.#gone = true;
    if (this.#lingering !== undefined) {
      this.#lingering.gone();
      return;
    }
    if (!this.#settled) {
      this.#settle();
      this.#release();
    }
    this.#taker.aborted();
  }

  #settle(): void {
    this.#settled = true;
    this.#reader.unwait(this);
  }

  #release(): void {
    if (this.#buffer === undefined) return;
    const buffer = this.#buffer;
    this.#buffer = undefined;
    this.#reader.release(buffer);
  }
}
