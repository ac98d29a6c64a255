/**
 * Incoming source: the bytes of a request's body, as the addon hands them over. The addon takes its two handlers inside
 * the request's handler only, and never while one of them runs; who reads from here may come later and change.
 *
 *   held      from hold() to onData(): the body stands still. What came in the same read as the head (512 KiB at most)
 *             waits here
 *   passing   from pass() on nobody reads it, and it is dropped as it comes
 */
import type { HttpResponse } from 'uWebSockets.js';

type OnData = Parameters<HttpResponse['onData']>[0];

export class IncomingSource {
  readonly #res: HttpResponse;
  readonly #chunks: { readonly bytes: ArrayBuffer; readonly last: boolean }[] = [];
  #take: OnData | undefined;
  #aborted: () => void;
  #held = false;
  /** Bytes that have come. */
  bytes = 0;
  /** The last of them has come. */
  over = false;

  /** Call inside the handler. `aborted`: the client has gone. */
  constructor(res: HttpResponse, aborted: () => void) {
    this.#res = res;
    this.#aborted = aborted;
    res.onAborted(() => this.#aborted());
    res.onData((chunk, last) => {
      this.bytes += chunk.byteLength;
      this.over = last;
      if (this.#take !== undefined) this.#take(chunk, last);
      else this.#chunks.push({ bytes: chunk.slice(0), last });
    });
  }

  /** Lets it stand still until somebody reads it. Call inside the handler. */
  hold(): void {
    this.#held = true;
    this.#res.pause();
  }

  /** Nobody reads it any more. `ended`: told when the last byte has come, unless it has already. */
  pass(ended?: () => void): void {
    this.#read((_chunk, last) => {
      if (last) ended?.();
    });
  }

  onAborted(handler: () => void): HttpResponse {
    this.#aborted = handler;
    return this.#res;
  }

  onData(handler: OnData): HttpResponse {
    this.#read(handler);
    return this.#res;
  }

  cork(write: () => void): HttpResponse {
    return this.#res.cork(write);
  }

  pause(): void {
    this.#res.pause();
  }

  resume(): void {
    this.#res.resume();
  }

  #read(handler: OnData): void {
    this.#take = handler;
    if (this.#held) this.#res.resume();
    this.#held = false;
    // A reader may give it up meanwhile: what is left then goes to the next one.
    for (let next = this.#chunks.shift(); next !== undefined; next = this.#chunks.shift())
      this.#take(next.bytes, next.last);
  }
}
