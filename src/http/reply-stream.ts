/**
 * Reply stream: an answer whose body is written piece by piece. It never holds more than the addon's own buffer of the
 * socket: `write` says when the client is behind, and `drained` waits for it, for as long as the client takes
 * something.
 *
 * An answer that is the last of its connection says so in its head, and its client closes. Asking the addon to close
 * when the answer ends would have it write that header into the body (20.51.4).
 */
import type { HttpResponse } from 'uWebSockets.js';
import type { BodyRest } from './lingering.ts';

/** A client that takes nothing for so long is dropped. */
const STALLED_MS_MAX = 10_000;

export class ReplyStream {
  /** Undefined: it has ended, or the client has gone. */
  #res: HttpResponse | undefined;
  readonly #gone: () => void;
  /** Undefined: nothing more comes of the request, or it has been waited for. */
  #rest: BodyRest | undefined;
  #behind = false;
  #waiting: PromiseWithResolvers<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /**
   * Made by Reply.stream(), which has written the head. `gone`: called once, when the client has gone or was dropped.
   * `rest`: of a request that nobody reads; the end waits for it, since the addon may close behind it.
   */
  constructor(res: HttpResponse, gone: () => void, rest: BodyRest | undefined) {
    this.#res = res;
    this.#gone = gone;
    this.#rest = rest;
    res.onAborted(() => {
      this.#settle();
      this.#gone();
    });
    res.onWritable(() => {
      this.#behind = false;
      clearTimeout(this.#timer);
      this.#waiting?.resolve();
      this.#waiting = undefined;
      return true;
    });
  }

  get open(): boolean {
    return this.#res !== undefined;
  }

  /** The client has not taken yet what was written before. */
  get behind(): boolean {
    return this.#behind;
  }

  /** False: the client is behind; wait for drained() before more is written. */
  write(piece: string | Uint8Array): boolean {
    const res = this.#res;
    if (res === undefined) return false;
    let fits = true;
    res.cork(() => {
      fits = res.write(piece);
    });
    if (!fits && !this.#behind) {
      this.#behind = true;
      this.#timer = setTimeout(() => res.close(), STALLED_MS_MAX).unref();
    }
    return fits;
  }

  /** Resolves when the client has taken what was written, or has gone. */
  drained(): Promise<void> {
    if (!this.#behind || this.#res === undefined) return Promise.resolve();
    this.#waiting ??= Promise.withResolvers<void>();
    return this.#waiting.promise;
  }

  /** Ends it when the client has taken what was written. */
  end(): void {
    const res = this.#res;
    if (res === undefined) return;
    if (this.#behind) {
      this.drained().then(() => this.end());
      return;
    }
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest?.over === false) {
      rest.passed(() => this.end());
      return;
    }
    this.#settle();
    res.cork(() => res.end());
  }

  /** Ends it in the middle, so that the client sees that it is not whole. */
  breakOff(): void {
    this.#res?.close();
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#res = undefined;
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
