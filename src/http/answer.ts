/**
 * Answer: status lines, bodies and RFC 9457 problems. Every answer of a route passes `Wire.closing` on: while the
 * process drains, each answer says Connection: close, so that keep-alive clients go to another server by themselves.
 *
 * Outside the handler every answer must stand inside res.cork(). The functions here do not cork.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { now } from '../kernel/clock.ts';
import { type ErrorMaker, type Problem, problemOf } from '../kernel/errors.ts';
import { endWhole, type OnClose } from './hold-back.ts';
import { type BodyRest, writeLast } from './lingering.ts';
import { problemBody } from './problem.generated.ts';
import type { Tally } from './tally.ts';

/** State of one acceptor's wire; the acceptor flips it when the drain begins. */
export interface Wire {
  closing: boolean;
  /** Counts a connection that was closed because its client did not read a large answer. */
  readonly onClose?: OnClose;
}

const phrases: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  507: 'Insufficient Storage',
};

/** '404 Not Found' for 404. */
export function statusLine(status: number): string {
  return `${status} ${phrases[status] ?? 'Unknown'}`;
}

/** What a client reads about itself is cut to this many characters. */
const FOUND_MAX = 200;

/** A text of the client's for a problem answer: cut, so that an answer is never much larger than what was asked. */
export function shown(text: string): string {
  return text.length <= FOUND_MAX ? text : `${text.slice(0, FOUND_MAX)}...`;
}

/**
 * Ends a response that has no body: HEAD (`bytes`: what a GET would have sent) or 204. The addon has arguments for the
 * length and for closing behind such an answer, but they leave the request unanswered and end the process (20.51.4,
 * tried). So the length is written as a header like any other, and an answer that must close ends with an empty body.
 */
export function endBare(res: HttpResponse, bytes: number | undefined, close: boolean): void {
  if (close) {
    res.end('', true);
    return;
  }
  if (bytes !== undefined) res.writeHeader('Content-Length', String(bytes));
  res.endWithoutBody();
}

/** What of a mounted route an answer needs (handlers.ts). */
export interface AnsweringRoute {
  readonly head: boolean;
  readonly wire: Wire;
  readonly tally: Tally;
}

/** Ends the response with a body that no cache keeps, and counts it. Corked: in the handler, or by the caller. */
export function answerBody(
  res: HttpResponse,
  at: AnsweringRoute,
  status: number,
  type: string,
  body: string | Uint8Array,
): void {
  at.tally.answered(status);
  res.writeStatus(statusLine(status));
  res.writeHeader('Content-Type', type);
  res.writeHeader('Cache-Control', 'no-store');
  if (at.head) endBare(res, Buffer.byteLength(body), at.wire.closing);
  else endWhole(res, body, at.wire.closing, at.wire.onClose);
}

export interface ProblemOptions {
  /** Seconds for Retry-After; given where sending the same again may help. */
  readonly retryAfterS?: number;
  /** Closes the connection after the answer. */
  readonly close?: boolean;
  /** HEAD: the headers alone. */
  readonly head?: boolean;
  /** Stands behind the body, so that the answer does not fit the addon's buffer and goes out at once. */
  readonly push?: string;
  /** What still comes of the body of the request: an answer that closes waits for it. */
  readonly rest?: BodyRest | undefined;
  /** Written after the status: CORS, Allow. */
  readonly headers?: (res: HttpResponse) => void;
}

/** Ends the response with the problem of an error that a room declares: `httpErrors.NOT_FOUND`. */
export function answerProblem<F extends object>(
  res: HttpResponse,
  error: ErrorMaker<string, F>,
  fields: F,
  options: ProblemOptions = {},
): void {
  writeProblem(res, problemOf(error, fields), options);
}

/** Ends the response with a problem object. Returns the bytes of the body that it sends. */
export function writeProblem(res: HttpResponse, problem: Problem, options: ProblemOptions = {}): number {
  return writeProblemText(res, problem.status, problemBody(problem) + (options.push ?? ''), options);
}

/** The same of a problem whose body is made already. */
export function writeProblemText(
  res: HttpResponse,
  status: number,
  body: string,
  { retryAfterS, close = false, head, headers, rest }: ProblemOptions = {},
): number {
  res.writeStatus(statusLine(status));
  headers?.(res);
  if (retryAfterS !== undefined) res.writeHeader('Retry-After', String(retryAfterS));
  // RFC 9110, 11.6.1: a 401 says how to authenticate.
  if (status === 401) res.writeHeader('WWW-Authenticate', 'Bearer');
  res.writeHeader('Cache-Control', 'no-store');
  res.writeHeader('Content-Type', 'application/problem+json');
  if (close && head !== true && rest?.over === false) {
    const sent = writeLast(res, body, new Date(now()));
    rest.linger(res);
    return sent;
  }
  const bytes = Buffer.byteLength(body);
  if (head) endBare(res, bytes, close);
  else res.end(body, close);
  return head ? 0 : bytes;
}
