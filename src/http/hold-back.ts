/**
 * Hold back: ends of answers that wait. The addon buffers without a bound what a client does not read, and tells
 * nobody. But tryEnd writes only what fits and leaves the rest to onWritable, and the answer stays open meanwhile; the
 * addon closes a connection whose next request arrives while an answer is open. So a client that reads gets everything,
 * one that sends without reading is closed, and one that does neither is closed when the time is over. An answer
 * without a body (HEAD, 204) cannot be held back so; some of them close their connection instead.
 */
import type { HttpResponse } from 'uWebSockets.js';

/** Why a connection was closed: it had its share of a turn; it does not read its answers. */
export const closeReasons = ['pipelined', 'unread'] as const;
export type CloseReason = (typeof closeReasons)[number];
export type OnClose = (reason: CloseReason) => void;

/** Longest time for an answer to leave, and the rate that a larger one must leave at: the addon's for bodies. */
const MS_MAX = 10_000;
const BYTES_PER_MS = 16;
/** Answers up to this size need no room of their own: a look at some of them is enough (fairness.ts). */
const SMALL_BYTES = 16 * 1024;

/** Ends a response with a body that may be large. `body` is not copied: it must stay as it is. */
export function endWhole(res: HttpResponse, body: string | Uint8Array, close: boolean, onClose?: OnClose): void {
  if (close || body.length <= SMALL_BYTES) res.end(body, close);
  else drain(res, body, onClose);
}

/**
 * From now on the end of this response waits until earlier answers have been read. `onBody`: it has ended at once, with
 * a body.
 */
export function endAfterReading(res: HttpResponse, onClose: OnClose, onBody: () => void): void {
  const { end } = res;
  res.end = (body = '', close = false) => {
    const kept = copied(body);
    // An answer without a body has nothing that could wait, and one that closes is the last.
    if (close || kept.length === 0) end.call(res, kept, close);
    else if (drain(res, kept, onClose)) onBody();
    return res;
  };
}

/** What closes the connection of a response behind its answer, by another object of the same request (setYield). */
export interface ClosesBehind {
  /** An answer without a body; it says Connection: close. */
  readonly bare?: () => void;
  /**
   * An answer whose body came in pieces, by write(). Its head has said Connection: close: the addon would write that
   * header when the answer ends, into the body.
   */
  readonly streamed?: () => void;
}

/**
 * From now on the end of this response waits for the end of the turn: what stands behind its request in the same read
 * closes the connection. With `close.bare` only an end without a body waits.
 */
export function endAlone(res: HttpResponse, onClose: OnClose, { bare, streamed }: ClosesBehind = {}): void {
  const { end, endWithoutBody, write } = res;
  let pieces = false;
  const wait = (finish: () => void, close?: () => void, says = false) => {
    let gone = false;
    res.onAborted(() => {
      gone = true;
      onClose('pipelined');
    });
    setImmediate(() => {
      if (gone) return;
      res.cork(() => {
        if (says) res.writeHeader('Connection', 'close');
        finish();
      });
      close?.();
    });
    return res;
  };
  res.write = (...args) => {
    pieces = true;
    return write.apply(res, args);
  };
  res.endWithoutBody = (...args) => wait(() => endWithoutBody.apply(res, args), bare, bare !== undefined);
  res.end = (body = '', closing = false) => {
    const kept = copied(body);
    if (pieces) return streamed === undefined ? end.call(res, kept) : wait(() => end.call(res, kept), streamed);
    if (bare === undefined) return wait(() => end.call(res, kept, closing));
    return kept.length > 0 ? end.call(res, kept, closing) : wait(() => end.call(res, kept, closing), bare, !closing);
  };
}

/** A body may be borrowed memory. */
function copied(body: Parameters<HttpResponse['end']>[0]): string | Uint8Array {
  return typeof body === 'string'
    ? body
    : Buffer.from(body instanceof ArrayBuffer ? new Uint8Array(body) : (body as Uint8Array));
}

/** Whether it has ended at once. */
function drain(res: HttpResponse, body: string | Uint8Array, onClose?: OnClose): boolean {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const total = bytes.length;
  if (res.tryEnd(bytes, total)[1]) return true;
  const timer = setTimeout(
    () => {
      res.close();
    },
    MS_MAX + total / BYTES_PER_MS,
  ).unref();
  res.onAborted(() => {
    clearTimeout(timer);
    onClose?.('unread');
  });
  res.onWritable((offset) => {
    let fits = true;
    res.cork(() => {
      const [ok, done] = res.tryEnd(bytes.subarray(offset), total);
      fits = ok;
      if (done) clearTimeout(timer);
    });
    return fits;
  });
  return false;
}
