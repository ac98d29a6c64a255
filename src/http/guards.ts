/**
 * Guards: what uWebSockets.js 20.51 lets through and must not reach a route (all tried). It frames a body by the first
 * of two Content-Lengths, takes an empty Content-Length for zero, and takes any Transfer-Encoding for chunked. A proxy
 * in front may read such a request differently, and then one client's bytes are answered to another (request
 * smuggling). So the router refuses all of them, on every path; of GET and HEAD of hot routes see hasFraming().
 *
 * Refused with 400 and close, on the next loop turn. Inside the handler the addon would still handle a smuggled request
 * from the same read. On the next turn the addon itself closes a connection whose next request has arrived, without an
 * answer, and reads nothing more from a connection that got its 400.
 *
 * A chunked body is legal but closes its connection too (body.ts): the addon reads chunk extensions and trailers
 * wrongly, and what follows such a body must never be read as a request.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { answerProblem, type ProblemOptions } from './answer.ts';
import { httpErrors } from './errors.ts';
import { type BodyRest, UnreadBody } from './lingering.ts';
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

// One closure for all requests, because forEach is called for every POST.
function note(key: string, value: string): void {
  if (key === 'content-length') {
    lengths += 1;
    length = value;
  } else if (key === 'transfer-encoding') {
    encodings += 1;
    encoding = value;
  }
}

/**
 * Whether any header frames a body: a cheap look for GET and HEAD of hot routes, because reading every header costs a
 * microsecond. An empty first Content-Length looks like none here and hides a second one. The addon reads it as zero;
 * nginx, HAProxy, Envoy and Apache refuse it. So a hot route must be one that opens to everybody: who hides a request
 * behind it gains nothing. Every other route reads all headers.
 */
export function hasFraming(req: HttpRequest): boolean {
  return req.getHeader(asked.contentLength) !== '' || req.getHeader(asked.transferEncoding) !== '';
}

/** Reads every framing header, repeated ones too. */
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
  if (lengths === 0) return unframed;
  if (lengths > 1) return bad(`Content-Length must be given once: found=${lengths}`);
  if (!/^\d{1,15}$/.test(length)) return bad('Content-Length must be a number of bytes');
  return { bad: undefined, chunked: false, bytes: Number(length) };
}

/** No header frames a body. */
export const unframed: Framing = { bad: undefined, chunked: false, bytes: 0 };

/** Answers 400 and closes, on the next loop turn (see above). */
export function refuseFraming(
  res: HttpResponse,
  reason: string,
  options: Pick<ProblemOptions, 'head' | 'headers'> = {},
): void {
  const answer = () => void answerProblem(res, httpErrors.BAD_REQUEST, { reason }, { ...options, close: true });
  let gone = false;
  res.onAborted(() => {
    gone = true;
  });
  setImmediate(() => {
    if (!gone) res.cork(answer);
  });
}

/**
 * Answers a well-framed request whose body nobody reads. `closing`: the connection closes behind the answer in any case.
 * `answer` ends the response and closes the connection when it is told to; a refusal then waits for the `rest` of the
 * body (lingering.ts). It runs at once, or on the next loop turn when the addon must not handle what follows on the
 * connection.
 */
export function answerUnread(
  res: HttpResponse,
  framing: Framing,
  closing: boolean,
  answer: (close: boolean, rest?: BodyRest) => void,
): void {
  if (!framing.chunked) {
    answer(closing, closing && framing.bytes > 0 ? new UnreadBody(res, () => undefined) : undefined);
    return;
  }
  let gone = false;
  const rest = new UnreadBody(res, () => {
    gone = true;
  });
  setImmediate(() => {
    if (!gone) res.cork(() => answer(true, rest));
  });
}
