/**
 * Guards: what uWebSockets.js 20.51 lets through and must not reach a route (tried, facts.md): a second Content-Length is framed by
 * the first, an empty one counts as zero, any Transfer-Encoding counts as chunked. A server behind a proxy that reads such a
 * request differently can be made to answer one client's bytes to another (request smuggling), so all of them are refused.
 *
 * Refused how: 400 and close, but not inside the handler. There the connection stays open when the same read holds another request, and that
 * one - the smuggled one - would be handled. Answered in the next turn of the loop instead, uWebSockets.js itself closes a
 * connection whose next request is already here (without an answer), and reads nothing more from one that got its 400.
 *
 * A chunked body is legal but closes its connection too (see body.ts): the addon reads chunk extensions and trailers wrongly, and what
 * follows such a body must never be read as a request.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { answerProblem } from './answer.ts';
import { asked } from './wire-text.ts';

/** How the body of a request is framed. */
export interface Framing {
  /** Why it is refused; undefined: it is well-formed. */
  readonly bad: string | undefined;
  readonly chunked: boolean;
  /** Content-Length; 0 when there is none. */
  readonly bytes: number;
}

let lengths = 0;
let length = '';
let encodings = 0;
let encoding = '';

// One closure for all requests: forEach is called for every POST.
function note(key: string, value: string): void {
  if (key === 'content-length') {
    lengths += 1;
    length = value;
  } else if (key === 'transfer-encoding') {
    encodings += 1;
    encoding = value;
  }
}

/** False: no header that frames a body, so nothing to check. The cheap look for requests that have no body, as a GET. */
export function hasFraming(req: HttpRequest): boolean {
  return req.getHeader(asked.contentLength) !== '' || req.getHeader(asked.transferEncoding) !== '';
}

/** Reads the framing headers, every one of them. */
export function framingOf(req: HttpRequest): Framing {
  lengths = 0;
  encodings = 0;
  req.forEach(note);
  return judgeFraming(lengths, length, encodings, encoding);
}

export function judgeFraming(lengths: number, length: string, encodings: number, encoding: string): Framing {
  const bad = (reason: string) => ({ bad: reason, chunked: false, bytes: 0 });
  if (encodings > 0) {
    if (lengths > 0) return bad('Content-Length must not stand beside Transfer-Encoding');
    if (encodings > 1) return bad(`Transfer-Encoding must be given once: found=${encodings}`);
    if (encoding.toLowerCase() !== 'chunked') return bad('Transfer-Encoding must be chunked');
    return { bad: undefined, chunked: true, bytes: 0 };
  }
  if (lengths === 0) return { bad: undefined, chunked: false, bytes: 0 };
  if (lengths > 1) return bad(`Content-Length must be given once: found=${lengths}`);
  if (!/^\d{1,15}$/.test(length)) return bad('Content-Length must be a number of bytes');
  return { bad: undefined, chunked: false, bytes: Number(length) };
}

/** Answers 400 and closes, in the next turn of the loop (see above). */
export function refuseFraming(res: HttpResponse, reason: string): void {
  nextTurn(res, () => answerProblem(res, 'BAD_REQUEST', { reason }, { close: true }));
}

function nextTurn(res: HttpResponse, answer: () => void): void {
  let gone = false;
  res.onAborted(() => {
    gone = true;
  });
  setImmediate(() => {
    if (!gone) res.cork(answer);
  });
}

/**
 * Answers a request whose body nobody reads. `answer` ends the response, closing the connection when it is told to; it comes at
 * once, or in the next turn when what follows on the connection must not be handled.
 */
export function answerUnread(res: HttpResponse, req: HttpRequest, answer: (close: boolean) => void): void {
  const framing = framingOf(req);
  if (framing.bad !== undefined) refuseFraming(res, framing.bad);
  else if (framing.chunked) nextTurn(res, () => answer(true));
  else answer(false);
}
