/** Request body: flows into a sink as it comes, and stands still when the sink has enough. */
import type { BodyFlow, BodySink } from './exchange.ts';
import type { IncomingSource } from './incoming-source.ts';

export interface RequestBodyHooks {
  ended(): void;
  tooLarge(bytes: number): void;
  /** The client has gone. */
  gone(): void;
}

export class RequestBody implements BodyFlow {
  readonly #res: IncomingSource;
  readonly #bytesMax: number;
  readonly #chunked: boolean;
  readonly #sink: BodySink;
  readonly #hooks: RequestBodyHooks;
  /** Bytes that have come. */
  bytes = 0;
  paused = false;
  /** Nothing more comes, or nobody wants it. */
  ended = false;

  constructor(res: IncomingSource, bytesMax: number, chunked: boolean, sink: BodySink, hooks: RequestBodyHooks) {
    this.#res = res;
    this.#bytesMax = bytesMax;
    this.#chunked = chunked;
    this.#sink = sink;
    this.#hooks = hooks;
  }

  start(): void {
    this.#res.onAborted(() => this.#hooks.gone());
    this.#res.onData((chunk, last) => this.#take(chunk, last));
  }

  resume(): void {
    if (!this.paused || this.ended) return;
    this.paused = false;
    this.#res.resume();
  }

  /** The request is answered: what still comes is dropped. */
  drop(): void {
    if (this.ended) return;
    this.ended = true;
    if (this.paused) this.#res.resume();
    this.paused = false;
    this.#sink.failed();
  }

  /** The client has gone. */
  lost(): void {
    if (this.ended) return;
    this.ended = true;
    this.paused = false;
    this.#sink.failed();
  }

  #take(chunk: ArrayBuffer, last: boolean): void {
    if (this.ended) return;
    this.bytes += chunk.byteLength;
    if (this.bytes > this.#bytesMax) {
      // The answer drops the rest.
      this.#hooks.tooLarge(this.bytes);
      return;
    }
    // The addon's memory is gone when this returns.
    const more = chunk.byteLength === 0 || this.#sink.chunk(Buffer.from(new Uint8Array(chunk)));
    if (this.ended) return;
    if (!last) {
      if (!more) {
        this.paused = true;
        this.#res.pause();
      }
      return;
    }
    // What follows a chunked body in the same read must not be handled before the connection is told to close.
    if (this.#chunked) setImmediate(() => this.#end());
    else this.#end();
  }

  #end(): void {
    if (this.ended) return;
    this.ended = true;
    // The rest of the body may come although the socket was told to pause: it must read the next request.
    if (this.paused) this.#res.resume();
    this.paused = false;
    this.#hooks.ended();
    this.#sink.end();
  }
}
