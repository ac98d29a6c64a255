/**
 * Lingering: the last answer of a connection whose request is still on its way (RFC 9112, section 9.6). A socket that is
 * closed with unread bytes takes back what its client has not read yet, and the addon closes right behind an answer that
 * says Connection: close. So such an answer is written whole, and stays open for the addon alone: what comes of the
 * request passes by, and the connection is closed when the last byte has come, the client has gone, or the time is over.
 * Refusals alone linger, for only their bodies bear what writeLast() does to them: any other answer that closes waits
 * until its request has come.
 *
 *   what follows   the request is never read: the addon closes a connection whose next request comes before an answer
 *                  has ended
 *   slow clients   the addon closes below 16 KB/s after some 10 s
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { Deadline, Deadlines } from './deadlines.ts';
import type { Framing } from './guards.ts';
import { wireText } from './wire-text.ts';

const CONNECTION = wireText('connection');
/** Longest time for the rest of a body that nobody has begun to read. */
const REST_MS_MAX = 10_000;
const unread = new Deadlines(REST_MS_MAX);

/** What still comes of a request that is answered. */
export interface BodyRest {
  /** The last byte has come: the answer may end like any other. */
  readonly over: boolean;
  /** Closes the connection when the last byte has come; the answer is written by writeLast(). */
  linger(res: HttpResponse): void;
  /** Calls `then` when the last byte has come or the time for it is over; not when the client has gone. */
  passed(then: () => void): void;
}

/**
 * The client asks for the end of the connection, so the addon closes behind the answer, which then should linger. The
 * addon looks at the length of the value alone.
 */
export function asksToClose(req: HttpRequest, { bytes }: Framing): boolean {
  return bytes > 0 && req.getHeader(CONNECTION).length === 'close'.length;
}

/**
 * Writes the last header and the body of an answer, behind its status and its other headers; `date`: for the header of
 * that name. The addon ends a header with a line break, which is here the end of the body: a text in which that means
 * nothing, like JSON. Returns the bytes of the body.
 */
export function writeLast(res: HttpResponse, body: string, date: Date): number {
  const bytes = Buffer.byteLength(body) + 2;
  res.writeHeader('Connection', `close\r\nDate: ${date.toUTCString()}\r\nContent-Length: ${bytes}\r\n\r\n${body}`);
  return bytes;
}

/** One connection whose last answer is written, or waits. */
export class Lingering extends Deadline {
  #end: (() => void) | undefined;

  /** `end`: what is done once, when the request has come; `deadlines`: the longest time that the rest of it may take. */
  constructor(end: () => void, deadlines: Deadlines) {
    super();
    this.#end = end;
    deadlines.add(this);
  }

  /** The last byte of the request has come. The answer may still wait in the addon for the end of this read. */
  passed(): void {
    setImmediate(() => this.expire());
  }

  /** The connection is closed: do not touch the response. */
  gone(): void {
    this.#end = undefined;
    this.list?.remove(this);
  }

  override expire(): void {
    const end = this.#end;
    this.gone();
    end?.();
  }
}

/** A body that nobody reads. It passes by, and its length is never looked at. */
export class UnreadBody implements BodyRest {
  #over = false;
  #lingering: Lingering | undefined;

  /** Call inside the handler. `aborted`: told when the client has gone, unless the answer is given and waits for it. */
  constructor(res: HttpResponse, aborted: () => void) {
    res.onAborted(() => {
      if (this.#lingering === undefined) aborted();
      else this.#lingering.gone();
    });
    res.onData((_chunk, last) => {
      if (!last) return;
      this.#over = true;
      this.#lingering?.passed();
    });
  }

  get over(): boolean {
    return this.#over;
  }

  linger(res: HttpResponse): void {
    this.passed(() => res.close());
  }

  passed(then: () => void): void {
    this.#lingering = new Lingering(then, unread);
  }
}
