/**
 * Reply: an answer that comes later, for a route that waits for a worker or a database.
 *
 *   on: { GET: later(async (reply, req) => {
 *     const id = req.getParameter(0);      // before the first await: the addon's request dies with the handler
 *     reply.json(200, userBody, await users.find(id));
 *   }) }
 *
 * It settles what every such route would have to: the client that goes away meanwhile (answering then does nothing),
 * the cork, a bound on the time (503 after `timeoutMs`, whatever the handler still does), the route's cors, closing
 * while the process drains, the count, and an error that ends the handler. An error of the table whose row is shown
 * (kernel/errors.ts) is its own answer: `throw httpErrors.NOT_FOUND({ path })`. Any other costs one 500 and one line in
 * the log.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { type ErrorMaker, type Problem, problem, problemOf } from '../kernel/errors.ts';
import { endBare, shown, statusLine, writeProblem } from './answer.ts';
import { type BodyRead, type BodyReader, bodyProblem, packingOf } from './body.ts';
import type { OriginVerdict } from './cors.ts';
import { Deadline, Deadlines } from './deadlines.ts';
import { httpErrors } from './errors.ts';
import type { Framing } from './guards.ts';
import type { Handler, MountedRoute } from './handlers.ts';
import { endWhole } from './hold-back.ts';
import { asksToClose, type BodyRest, UnreadBody } from './lingering.ts';
import { ReplyStream } from './reply-stream.ts';
import { REQUEST_ID } from './request-id.ts';

/** Headers of an answer; names as they are written. */
export type ReplyHeaders = Readonly<Record<string, string>>;

export interface LaterOptions {
  /** Longest time from the request to its answer; then 503, and what the handler answers later is dropped. */
  readonly timeoutMs?: number;
}

const REPLY_TIMEOUT_MS = 10_000;
/**
 * Seconds after which a client may try again what a busy server could not do, unless the problem says `retryAfterS`.
 */
const RETRY_AFTER_S = 1;

/**
 * A handler that answers by a Reply, at once or later. A promise that resolves must have answered; a handler that
 * leaves its reply to somebody else (who answers many at once) returns nothing.
 */
export function later(
  answer: (reply: Reply, req: HttpRequest) => Promise<void> | void,
  { timeoutMs = REPLY_TIMEOUT_MS }: LaterOptions = {},
): Handler {
  const deadlines = new Deadlines(timeoutMs);
  return (res, req, at) => {
    const reply = new Reply(res, req, at, deadlines, timeoutMs);
    if (!reply.open) return;
    try {
      const result = answer(reply, req);
      if (result instanceof Promise) {
        result.then(
          () => reply.finish(),
          (error: unknown) => reply.fail(error),
        );
      }
    } catch (error) {
      reply.fail(error);
    } finally {
      reply.handled();
    }
  };
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw httpErrors.BAD_REQUEST({ reason: `body must be valid JSON: ${(error as Error).message}` }, error);
  }
}

/** The client has gone, or the time was over: what waits for a body ends with this. It is no fault. */
class ReplyEnded extends Error {
  override readonly name = 'ReplyEnded';
}

export class Reply extends Deadline {
  readonly at: MountedRoute;
  /** Undefined: answered, or the client has gone. */
  #res: HttpResponse | undefined;
  readonly #deadlines: Deadlines;
  readonly #timeoutMs: number;
  readonly #framing: Framing;
  readonly #origin: string;
  readonly #verdict: OriginVerdict;
  #inHandler = true;
  #close: boolean;
  /** How it ended, so that a second answer is told from a late one. */
  #end: 'open' | 'answered' | 'gone' | 'late' = 'open';
  #controller: AbortController | undefined;
  #body: BodyRead | undefined;
  /** What still comes of a body that nobody reads (any more): an answer that closes waits for it (lingering.ts). */
  #rest: BodyRest | undefined;
  #endBody: (() => void) | undefined;
  #requestId: string | undefined;

  /** Made by `later`, inside the handler. */
  constructor(res: HttpResponse, req: HttpRequest, at: MountedRoute, deadlines: Deadlines, timeoutMs: number) {
    super();
    this.at = at;
    this.#res = res;
    this.#deadlines = deadlines;
    this.#timeoutMs = timeoutMs;
    this.#framing = at.framing;
    // What follows a chunked body must never be read as a request (guards.ts).
    this.#close = at.framing.chunked || asksToClose(req, at.framing);
    this.#origin = at.cors === undefined ? '' : req.getHeader('origin');
    this.#verdict = at.cors?.judge(this.#origin) ?? 'none';
    res.onAborted(() => this.#aborted());
    if (this.#verdict === 'foreign') this.problem(httpErrors.ORIGIN_FORBIDDEN, { origin: shown(this.#origin) });
    else deadlines.add(this);
  }

  /** Gives the request an id, that every answer bears and that the log names where its handler fails. */
  identify(requestId: string): void {
    this.#requestId = requestId;
  }

  /** False: answered, or there is nobody to answer. Work for it may stop. */
  get open(): boolean {
    return this.#end === 'open';
  }

  /** Fires when the client has gone or the time is over: for work that can be called off. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#end === 'gone' || this.#end === 'late') this.#controller.abort();
    return this.#controller.signal;
  }

  /** Answers with JSON. `serialize`: compiled from the schema of this body (json.ts). */
  json<T>(status: number, serialize: (value: T) => string, value: T, headers?: ReplyHeaders): void {
    this.bytes(status, 'application/json', serialize(value), headers);
  }

  /** Answers with a body of this type. No cache keeps it unless `headers` say otherwise. */
  bytes(status: number, type: string, body: string | Uint8Array, headers?: ReplyHeaders): void {
    this.#answer(status, (res, close) => {
      this.#head(res, status, headers);
      res.writeHeader('Content-Type', type);
      if (this.at.head) endBare(res, Buffer.byteLength(body), close);
      else endWhole(res, body, close, this.at.wire.onClose);
    });
  }

  /**
   * Begins an answer whose body is written by and by; from here on it is bounded by its client alone. `gone`: called
   * when the client has gone before the end. Undefined: there is nobody to answer. For GET.
   */
  stream(status: number, type: string, headers: ReplyHeaders, gone: () => void): ReplyStream | undefined {
    let stream: ReplyStream | undefined;
    const begin = (res: HttpResponse, close: boolean) => {
      this.#head(res, status, headers);
      res.writeHeader('Content-Type', type);
      if (close) res.writeHeader('Connection', 'close');
      stream = new ReplyStream(res, gone, close ? this.#rest : undefined);
    };
    this.#answer(status, begin, false);
    return stream;
  }

  /** Answers without a body: 204, a redirect. */
  empty(status: number, headers?: ReplyHeaders): void {
    this.#answer(status, (res, close) => {
      this.#head(res, status, headers);
      // 204 has no length; any other status without a body says so.
      if (status === 204) endBare(res, undefined, close);
      else if (this.at.head) endBare(res, 0, close);
      else res.end('', close);
    });
  }

  /** Answers with the problem of a row of the table. */
  problem<F extends object>(error: ErrorMaker<string, F>, fields: F, headers?: ReplyHeaders): void {
    this.#problem(problemOf(error, fields), headers);
  }

  /** Answers with a problem that problemOf() has made before. */
  refuse(said: Problem): void {
    this.#problem(said);
  }

  /**
   * Answers for an error that ended the work: a shown row of the table with its problem, anything else with 500 and a
   * line in the log.
   */
  fail(error: unknown): void {
    if (error instanceof ReplyEnded) return;
    const said = problem(error);
    if (said.code === 'INTERNAL') this.at.faults.report(error, this.#requestId);
    if (this.open) this.#problem(said);
  }

  /**
   * The whole body. Call it before the first await: it reads headers and attaches to the request. The route must say
   * `takesBody`. Rejects with what the client is to be told when the body is too large, too slow or not what its
   * Content-Encoding says.
   */
  body(req: HttpRequest, bodies: BodyReader): Promise<Buffer> {
    return this.#read(req, bodies, (bytes) => Buffer.from(bytes));
  }

  /** The whole body, parsed. Rejects as body() does, and with BAD_REQUEST when it is no JSON text. */
  jsonBody(req: HttpRequest, bodies: BodyReader): Promise<unknown> {
    return this.#read(req, bodies, parsed);
  }

  /** `take` makes the result of the bytes, which are borrowed until it returns. */
  #read<T>(req: HttpRequest, bodies: BodyReader, take: (bytes: Buffer) => T): Promise<T> {
    const res = this.#res;
    if (res === undefined || !this.#inHandler) throw new TypeError('a body must be asked for inside the handler');
    const packing = packingOf(req, this.#framing, bodies.limits);
    if (packing instanceof Error) return Promise.reject(packing);
    return new Promise((resolve, reject) => {
      this.#endBody = () => reject(new ReplyEnded());
      this.#body = bodies.read(res, this.#framing, packing, {
        body: (bytes) => {
          this.#body = undefined;
          try {
            resolve(take(bytes));
          } catch (error) {
            reject(error);
          }
        },
        failed: (failure, _inHandler, rest) => {
          this.#body = undefined;
          this.#rest = rest;
          this.#close = true;
          this.#problem(bodyProblem(failure, bodies.limits, packing));
          reject(new ReplyEnded());
        },
        // The reader took the place of this reply's own handler.
        aborted: () => this.#aborted(),
      });
    });
  }

  /** @internal The promise of the handler has resolved. */
  finish(): void {
    if (this.open) this.fail(new TypeError('a handler must have answered when its promise resolves'));
  }

  /** @internal The handler has returned. */
  handled(): void {
    // The addon tells of the rest of a body only who asks for it here.
    if (this.open) this.#pass();
    this.#inHandler = false;
  }

  /** @internal */
  override expire(): void {
    this.#problem(problemOf(httpErrors.ANSWER_TIMEOUT, { limitMs: this.#timeoutMs }));
    this.#end = 'late';
    this.#controller?.abort();
    this.#endBody?.();
  }

  #aborted(): void {
    this.#deadlines.remove(this);
    this.#res = undefined;
    if (this.#end === 'open') this.#end = 'gone';
    this.#controller?.abort();
    this.#endBody?.();
  }

  #problem(said: Problem, headers?: ReplyHeaders): void {
    const { retryAfterS = RETRY_AFTER_S } = said as { readonly retryAfterS?: number };
    const again = said.status === 429 || said.status === 503 ? { retryAfterS } : {};
    const { head } = this.at;
    const answer = (res: HttpResponse, close: boolean) => {
      const write = () => {
        this.at.cors?.write(res, this.#verdict, this.#origin);
        if (this.#requestId !== undefined) res.writeHeader(REQUEST_ID, this.#requestId);
        for (const [name, value] of Object.entries(headers ?? {})) res.writeHeader(name, value);
      };
      writeProblem(res, said, { ...again, head, close, headers: write, rest: this.#rest });
    };
    // Its body lingers.
    this.#answer(said.status, answer, head);
  }

  #head(res: HttpResponse, status: number, headers: ReplyHeaders = {}): void {
    res.writeStatus(statusLine(status));
    this.at.cors?.write(res, this.#verdict, this.#origin);
    if (this.#requestId !== undefined) res.writeHeader(REQUEST_ID, this.#requestId);
    if (headers['Cache-Control'] === undefined) res.writeHeader('Cache-Control', 'no-store');
    for (const [name, value] of Object.entries(headers)) res.writeHeader(name, value);
  }

  /** `waits`: one that closes is written when its request has come. */
  #answer(status: number, write: (res: HttpResponse, close: boolean) => void, waits = true): void {
    if (this.#end === 'answered')
      this.at.faults.report(new TypeError(`a request must be answered once: route=${this.at.name}, second=${status}`));
    if (this.#end !== 'open') return;
    this.#end = 'answered';
    this.#deadlines.remove(this);
    if (this.#body !== undefined) {
      this.#rest = this.#body.drop();
      this.#close = true;
    } else if (this.#inHandler && (this.#close || this.at.wire.closing)) this.#pass();
    const rest = this.#rest;
    const closes = this.#close || this.at.wire.closing;
    if (waits && closes && rest?.over === false) rest.passed(() => this.#write(status, write));
    else if (this.#framing.chunked && this.#inHandler) setImmediate(() => this.#write(status, write));
    else this.#write(status, write);
  }

  /** Nobody has asked for the body, if there is one: it passes by. */
  #pass(): void {
    const { chunked, bytes } = this.#framing;
    if (this.#res === undefined || this.#body !== undefined || (!chunked && bytes === 0)) return;
    this.#rest = new UnreadBody(this.#res, () => this.#aborted());
  }

  #write(status: number, write: (res: HttpResponse, close: boolean) => void): void {
    const res = this.#res;
    this.#res = undefined;
    if (res === undefined) return;
    this.at.tally.answered(status);
    res.cork(() => write(res, this.#close || this.at.wire.closing));
  }
}
