/**
 * Answer body: the body of an answer that goes out in pieces, with back pressure.
 *
 *   known length    tryEnd: the addon takes what the socket takes, and holds nothing. The rest of one piece waits here
 *   unknown length  chunked. The addon buffers what does not fit, so pieces are cut to PIECE_BYTES, and one at most is
 *                   with the addon
 *   last answer     of a connection: chunked as well, since tryEnd cannot close. Its head says Connection: close, which
 *                   the addon would write into the body (http/reply-stream.ts)
 *
 * So a client that reads slowly holds the piece that its route has just written, and one more. A body that is whole
 * from the beginning stays with who keeps it (BodyKeep), and is read from there as the client takes it.
 */
import type { HttpResponse } from 'uWebSockets.js';
import type { BodyKeep, BodyWriter } from './exchange.ts';

const PIECE_BYTES = 64 * 1024;
/** A route that does not wait when it is told to is a defect; it is found before it costs much. */
const UNASKED_BYTES_MAX = 256 * 1024;

export interface AnswerHooks {
  /** Writes status and headers; `length`: write no header of framing for it, the addon does. */
  head(res: HttpResponse): void;
  /** The client does not keep up for now. */
  slow(): void;
  /** The last byte has been handed over. */
  done(): void;
  /** A defect of the route. The connection is closed. */
  broken(reason: string): void;
}

export class AnswerBody implements BodyWriter {
  /** Undefined: ended, or the client has gone. */
  #res: HttpResponse | undefined;
  readonly #hooks: AnswerHooks;
  /** Undefined: chunked. */
  readonly #total: number | undefined;
  readonly #close: boolean;
  #headWritten = false;
  /** Bytes that the addon has taken. */
  #sent = 0;
  /** Bytes that the route has given. */
  #given = 0;
  readonly #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #behind = false;
  /** Told by the addon when there is room. */
  #watching = false;
  #ending = false;
  #drained: (() => void) | undefined;
  /** Has the bytes behind those that are pending. */
  #kept: BodyKeep | undefined;
  #reading = false;
  /** What is pending belongs to others, too: it is not held while the client is slow. */
  #shared = false;

  /** `close`: the connection must not be used again. */
  constructor(res: HttpResponse, hooks: AnswerHooks, length: number | undefined, close: boolean) {
    this.#res = res;
    this.#hooks = hooks;
    this.#total = close ? undefined : length;
    this.#close = close;
  }

  /** Nothing goes out until release(), as if the client were slow. Nothing was written before. */
  hold(): void {
    this.#behind = true;
  }

  release(): void {
    this.#behind = false;
    this.#flush();
  }

  /** The head and the first `sent` bytes of the whole body are with the addon, and the socket takes no more for now. */
  goOn(body: Uint8Array, sent: number, keep: (() => BodyKeep) | undefined): void {
    this.#headWritten = true;
    this.#ending = true;
    this.#sent = sent;
    this.#given = body.length;
    this.#kept = keep?.();
    if (this.#kept === undefined) this.#pend(body.subarray(sent));
    this.#wait();
    this.#hooks.slow();
  }

  /** All of a body. Nothing was written before. */
  whole(body: Uint8Array, keep: (() => BodyKeep) | undefined): void {
    this.write(body);
    this.end();
    if (!this.#behind || keep === undefined) return;
    this.#drop();
    this.#kept = keep();
  }

  /** All of a body that somebody keeps. Nothing was written before. */
  from(kept: BodyKeep, bytes: number): void {
    this.#kept = kept;
    this.#given = bytes;
    this.#ending = true;
    this.#flush();
  }

  #pend(bytes: Uint8Array): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  #drop(): void {
    this.#pending.length = 0;
    this.#pendingBytes = 0;
  }

  /** The socket is full: goes on when it has room. */
  #wait(): void {
    this.#behind = true;
    if (this.#watching) return;
    this.#watching = true;
    this.#res!.onWritable(() => {
      this.#behind = false;
      this.#flush();
      return true;
    });
  }

  /** Bytes of the body that went to the client. */
  get sent(): number {
    return this.#sent;
  }

  /** The client has not taken yet what was written. */
  get behind(): boolean {
    return this.#behind;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#res === undefined || bytes.length === 0) return !this.#behind;
    this.#given += bytes.length;
    if (this.#total !== undefined && this.#given > this.#total) {
      this.#fail(`a body must have the length that was announced: announced=${this.#total}, written=${this.#given}`);
      return true;
    }
    if (this.#behind && this.#pendingBytes > UNASKED_BYTES_MAX) {
      this.#fail('a route must wait for drained() when write() says so');
      return true;
    }
    this.#pend(bytes);
    if (!this.#behind) this.#flush();
    return !this.#behind;
  }

  drained(then: () => void): void {
    if (this.#behind && this.#res !== undefined) this.#drained = then;
    else then();
  }

  end(): void {
    if (this.#res === undefined || this.#ending) return;
    if (this.#total !== undefined && this.#given < this.#total) {
      this.abort();
      return;
    }
    this.#ending = true;
    if (!this.#behind) this.#flush();
  }

  abort(): void {
    // onAborted of the exchange runs, and settles what was sent.
    this.#res?.close();
  }

  /** The client has gone: nobody waits for it any more. */
  gone(): void {
    this.#res = undefined;
    this.#behind = false;
    this.#drop();
    this.#kept?.release();
    this.#tellDrained();
  }

  #fail(reason: string): void {
    this.#hooks.broken(reason);
    this.abort();
  }

  #flush(): void {
    const res = this.#res;
    if (res === undefined) return;
    let done = false;
    res.cork(() => {
      while (!this.#behind && !done && this.#fill()) done = this.#piece(res);
      if (done || this.#behind || !this.#ending || this.#pending.length > 0 || this.#reading) return;
      if (this.#headWritten) res.end();
      else {
        this.#hooks.head(res);
        res.end('', this.#close);
      }
      done = true;
    });
    if (done) {
      this.#res = undefined;
      this.#kept?.release();
      this.#hooks.done();
    } else if (this.#behind) {
      if (this.#shared) this.#drop();
      this.#hooks.slow();
      return;
    }
    this.#tellDrained();
  }

  /** Whether something is pending, and there is not only something to come. */
  #fill(): boolean {
    if (this.#pending.length > 0) return true;
    if (this.#kept === undefined || this.#reading || this.#sent === this.#given) return false;
    const bytes = this.#kept.read(this.#sent);
    this.#shared = !(bytes instanceof Promise);
    if (!(bytes instanceof Promise)) {
      this.#pend(bytes);
      return true;
    }
    this.#reading = true;
    bytes.then(
      (piece) => {
        this.#reading = false;
        if (this.#res === undefined) return;
        this.#pend(piece);
        this.#flush();
      },
      () => this.abort(),
    );
    return false;
  }

  /** Hands over what fits of the first piece. True: the answer has ended. */
  #piece(res: HttpResponse): boolean {
    this.#writeHead(res);
    const bytes = this.#pending[0]!;
    if (this.#total === undefined) {
      const piece = bytes.length > PIECE_BYTES ? bytes.subarray(0, PIECE_BYTES) : bytes;
      if (!res.write(piece)) this.#wait();
      this.#took(piece.length);
      return false;
    }
    const [ok, done] = res.tryEnd(bytes, this.#total);
    if (done) {
      this.#took(bytes.length);
      return true;
    }
    if (!ok) this.#wait();
    this.#took(ok ? bytes.length : res.getWriteOffset() - this.#sent);
    return false;
  }

  #took(bytes: number): void {
    this.#sent += bytes;
    this.#pendingBytes -= bytes;
    const first = this.#pending[0]!;
    if (bytes >= first.length) this.#pending.shift();
    else this.#pending[0] = first.subarray(bytes);
  }

  #writeHead(res: HttpResponse): void {
    if (this.#headWritten) return;
    this.#headWritten = true;
    this.#hooks.head(res);
    if (this.#close) res.writeHeader('Connection', 'close');
  }

  #tellDrained(): void {
    const then = this.#drained;
    this.#drained = undefined;
    then?.();
  }
}
