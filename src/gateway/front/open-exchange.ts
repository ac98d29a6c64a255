/**
 * Open exchange: the implementation of Exchange. It is made when a request comes, and settled once: when its answer has
 * ended, or when its client has gone.
 *
 *   inside the handler   most are answered (answering.ts), and nothing else is attached to the request
 *   afterwards           the end of the handler attaches what tells of a client that goes, and starts the time for the
 *                        answer
 *   SERVER_READ_TIMEOUT  from the head to the end of a body: 408
 *   SERVER_WRITE_TIMEOUT from there to the end of the answer: 503, or the connection is closed when it has begun
 *   MIN_RATE_BYTES       a body below it, on average since its beginning, after MIN_RATE_AFTER_MS: 408, or closed
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { packingOf } from '../../http/body.ts';
import type { OriginVerdict } from '../../http/cors.ts';
import { Deadline } from '../../http/deadlines.ts';
import { httpErrors } from '../../http/errors.ts';
import type { Framing } from '../../http/guards.ts';
import type { MountedRoute } from '../../http/handlers.ts';
import { Lingering } from '../../http/lingering.ts';
import { asked, wireText } from '../../http/wire-text.ts';
import { type ErrorMaker, type Problem, problem, problemOf } from '../../kernel/errors.ts';
import { withoutSignature } from '../keys/signing.ts';
import type { Verdict, Window } from '../limits/limiter.ts';
import { CLIENT_GONE } from '../metrics.ts';
import type { GatewayKey, GatewayUser } from '../model.ts';
import type { Reservation } from '../quota/quotas.ts';
import { AnswerBody } from './answer-body.ts';
import { type Answered, Answering, WHOLE_BYTES_MAX } from './answering.ts';
import type { BodyFlow, BodyKeep, BodySink, BodyWriter, Exchange, Headers } from './exchange.ts';
import type { FrontRoute } from './front.ts';
import { ExchangeEnded, IncomingBody, type IncomingHooks } from './incoming-body.ts';
import type { Slow } from './pulse.ts';
import { type Refusal, refusalOf } from './refusal.ts';

const CONNECTION = wireText('connection');
/** Slow starts and full buffers of the kernel hide the rate of a client for so long. */
const MIN_RATE_AFTER_MS = 10_000;
/** More than this of a body is not let pass by for another request: the answer is the last one of its connection. */
const PASS_BYTES_MAX = 8 * 1024 * 1024;

export class OpenExchange extends Deadline implements Exchange, Slow, Answered, IncomingHooks {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly target: string;
  readonly requestId: string;
  readonly address: string;
  readonly origin: string;
  readonly originVerdict: OriginVerdict;
  readonly receivedMs: number;
  user: GatewayUser | undefined = undefined;
  key: GatewayKey | undefined = undefined;
  administrator = false;
  backendId: number | undefined = undefined;
  outcome = 'ok';

  readonly #route: FrontRoute;
  readonly #at: MountedRoute;
  readonly #framing: Framing;
  readonly #answering: Answering;
  readonly #startedMs = performance.now();
  /** The addon closes the connection behind the answer, because the client asks for it. */
  readonly #clientCloses: boolean;
  #reservation: Reservation | undefined = undefined;
  #refused = false;
  #settled = false;
  #controller: AbortController | undefined = undefined;
  /** Undefined: nobody has asked for a body. */
  #incoming: IncomingBody | undefined = undefined;
  #entered = false;

  constructor(route: FrontRoute, res: HttpResponse, req: HttpRequest, at: MountedRoute) {
    super();
    const { front } = route;
    this.#route = route;
    this.#at = at;
    this.#framing = at.framing;
    this.receivedMs = front.now();
    this.method = at.method;
    // The addon gives undefined where there is no question mark, whatever its types say.
    this.query = (req.getQuery() as string | undefined) ?? '';
    this.path = req.getUrl();
    this.target = this.query === '' ? this.path : `${this.path}?${this.query}`;
    this.requestId = front.ids.of(req);
    this.address = front.addressOf(res, req);
    this.origin = at.cors === undefined ? '' : req.getHeader(asked.origin);
    this.originVerdict = at.cors?.judge(this.origin) ?? 'none';
    // The addon looks at the length of the value alone.
    this.#clientCloses = at.framing.bytes > 0 && req.getHeader(CONNECTION).length === 'close'.length;
    this.#answering = new Answering(this, res, at);
  }

  get open(): boolean {
    const { status, res } = this.#answering;
    return status === 0 && res !== undefined;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    const { res, late } = this.#answering;
    if (res === undefined || late) this.#controller.abort();
    return this.#controller.signal;
  }

  // What the pipeline tells it.

  limited(windows: readonly Window[], verdict: Verdict | undefined): void {
    this.#answering.limited(windows, verdict);
  }

  reserved(reservation: Reservation): void {
    this.#reservation = reservation;
  }

  /** The pipeline refuses it. */
  refuse(outcome: string, refusal: Refusal): void {
    this.outcome = outcome;
    this.#refused = true;
    this.#answering.refuse(refusal);
  }

  /** The handler has returned. */
  leave(): void {
    const answering = this.#answering;
    answering.inHandler = false;
    const { res } = answering;
    if (res === undefined) return;
    if (this.#incoming === undefined) {
      // One that nobody asks for passes by: an answer that closes the connection waits for its end.
      const { chunked, bytes } = this.#framing;
      if (chunked || bytes > 0) this.#body().source.pass();
      else res.onAborted(() => this.gone());
    }
    if (!this.waiting) this.#route.front.writeDeadlines.add(this);
  }

  /** The pipeline decides later: a body waits. Call inside the handler. */
  hold(): void {
    this.#body().source.hold();
  }

  /** The decision is here: what runs inside `work` may ask for the body as if the handler had not returned. */
  enter(work: () => void): void {
    this.#entered = true;
    try {
      work();
    } finally {
      this.#entered = false;
      if (this.open) this.#incoming?.dropUnasked();
    }
  }

  // Exchange.

  answer(status: number, headers: Headers | string, body?: string | Uint8Array, keep?: () => BodyKeep): void {
    this.#answering.whole(status, headers, body, keep);
  }

  send(status: number, headers: Headers | string, bytes: number, keep: () => BodyKeep): void {
    const writer = this.stream(status, headers, bytes);
    if (writer instanceof AnswerBody) writer.from(keep(), bytes);
  }

  json(status: number, body: string, headers: Headers = []): void {
    const type = ['Content-Type', 'application/json'] as const;
    const all = headers.some(([name]) => name.toLowerCase() === 'cache-control')
      ? [type, ...headers]
      : [type, ['Cache-Control', 'no-store'] as const, ...headers];
    this.answer(status, all, body.length > WHOLE_BYTES_MAX ? Buffer.from(body) : body);
  }

  problem<C extends string, F extends object>(error: ErrorMaker<C, F>, fields: F, headers?: Headers): void {
    if (this.outcome === 'ok') this.outcome = error.kind.status >= 500 ? 'failed' : 'refused';
    this.#answering.refuse(refusalOf(problemOf(error, fields)), headers);
  }

  fail(error: unknown): void {
    if (error instanceof ExchangeEnded) return;
    const said = problem(error);
    if (said.code === 'INTERNAL') this.#at.faults.report(error);
    if (!this.open) return;
    if (this.outcome === 'ok') this.outcome = said.status >= 500 ? 'failed' : 'refused';
    this.#answering.refuse(refusalOf(said));
  }

  stream(status: number, headers: Headers | string, length: number | undefined): BodyWriter {
    return this.#answering.stream(status, headers, length);
  }

  receive(_req: HttpRequest, bytesMax: number, sink: BodySink): BodyFlow {
    this.#mayRead('receive');
    const { bytes } = this.#framing;
    if (bytes > bytesMax) {
      this.problem(httpErrors.BODY_TOO_LARGE, { bytes, limit: bytesMax });
      sink.failed();
      return { resume: () => undefined };
    }
    const body = this.#body().into(sink, bytesMax);
    const { readDeadlines, writeDeadlines, pulse } = this.#route.front;
    // A decision that came later has begun the time of the answer.
    writeDeadlines.remove(this);
    readDeadlines.add(this);
    pulse.add(this);
    body.start();
    return body;
  }

  async jsonBody(req: HttpRequest): Promise<unknown> {
    const text = (await this.#wholeBody(req)).toString();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw httpErrors.BAD_REQUEST({ reason: `body must be valid JSON: ${(error as Error).message}` }, error);
    }
  }

  // Deadline, Slow.

  override expire(): void {
    const { readTimeoutMs, writeTimeoutMs } = this.#route.front;
    const answering = this.#answering;
    answering.late = true;
    if (this.#incoming?.flow?.ended === false) this.#tooSlow(readTimeoutMs);
    else {
      this.outcome = 'too_slow';
      if (answering.status === 0)
        answering.refuse(refusalOf(problemOf(httpErrors.ANSWER_TIMEOUT, { limitMs: writeTimeoutMs })));
      else answering.res?.close();
    }
    this.#controller?.abort();
    this.#incoming?.end();
  }

  beat(now: number): void {
    const answering = this.#answering;
    const { res, body: answer } = answering;
    if (res === undefined) return;
    const request = this.#incoming?.flow;
    const receiving = request !== undefined && !request.ended;
    const sending = answer?.behind === true;
    const [bytes, sinceMs] = receiving ? [request.bytes, this.#startedMs] : [answer?.sent ?? 0, answering.bodyMs];
    const elapsed = now - sinceMs;
    // A body that its route lets wait has no rate of its own.
    const judged = receiving ? !request.paused : sending;
    if (judged && elapsed > MIN_RATE_AFTER_MS && (bytes * 1000) / elapsed < this.#route.front.minRate) {
      answering.late = true;
      if (receiving) this.#tooSlow(Math.round(elapsed));
      else {
        this.outcome = 'too_slow';
        res.close();
      }
      this.#controller?.abort();
      return;
    }
    if (receiving && request.paused) return;
    res.pause();
    res.resume();
  }

  // Answered.

  begins(): boolean {
    // Before the answer, behind which the response is gone: a body that stands still would never pass by.
    this.#incoming?.drop();
    const { chunked, bytes } = this.#framing;
    if (!chunked && bytes === 0) return false;
    const answering = this.#answering;
    const source = this.#incoming?.source;
    const left = bytes - (source?.bytes ?? 0);
    if (source?.over === true || (!chunked && left <= 0)) return false;
    // The rest of a slow one would come as slowly.
    if (answering.late) return false;
    if (left > PASS_BYTES_MAX) answering.last = true;
    return answering.closes() || this.#clientCloses;
  }

  passed(then: () => void): void {
    this.#body().source.pass(then);
  }

  linger(res: HttpResponse): void {
    const { source } = this.#body();
    const lingering = new Lingering(() => res.close(), this.#route.front.readDeadlines);
    source.onAborted(() => lingering.gone());
    source.pass(() => lingering.passed());
  }

  ended(bytes: number): void {
    this.#settle(this.#answering.status, bytes);
  }

  slow(): void {
    this.#route.front.pulse.add(this);
  }

  // IncomingHooks.

  gone(): void {
    const answering = this.#answering;
    const { status, body: answer } = answering;
    const sent = answering.gone();
    if (status === 0) this.outcome = 'gone';
    this.#settle(status === 0 ? CLIENT_GONE : status, sent);
    answer?.gone();
    this.#incoming?.lost();
    this.#controller?.abort();
  }

  bodyEnded(): void {
    const { readDeadlines, writeDeadlines, pulse } = this.#route.front;
    readDeadlines.remove(this);
    if (this.#settled) return;
    if (this.#answering.body === undefined) pulse.remove(this);
    writeDeadlines.add(this);
  }

  bodyTooLarge(bytes: number, limit: number): void {
    this.problem(httpErrors.BODY_TOO_LARGE, { bytes, limit });
  }

  bodyFailed(said: Problem): void {
    this.#answering.last = true;
    this.outcome = 'refused';
    this.#answering.refuse(refusalOf(said));
  }

  #settle(status: number, bytes: number): void {
    if (this.#settled) return;
    this.#settled = true;
    const { front } = this.#route;
    front.readDeadlines.remove(this);
    front.writeDeadlines.remove(this);
    if (this.#answering.body !== undefined || this.#incoming?.flow !== undefined) front.pulse.remove(this);
    this.#at.tally.answered(status);
    // Nobody pays for what the gateway could not serve.
    const counts = status < 500 && status !== CLIENT_GONE;
    const reservation = this.#reservation;
    if (reservation !== undefined && !counts) front.quotas.cancel(reservation);
    this.#route.settled(
      {
        userId: this.user?.id,
        keyId: this.key?.id,
        backendId: this.backendId,
        requestId: this.requestId,
        method: this.method,
        target: this.query === '' ? this.path : withoutSignature(this.target),
        status,
        outcome: this.outcome,
        // A refusal within the handler takes some microseconds; reading the clock would be a part of them.
        durationMs: this.#refused && this.#answering.inHandler ? 0 : performance.now() - this.#startedMs,
        bytesIn: this.#incoming?.bytes ?? 0,
        bytesOut: bytes,
        address: this.address,
        month: counts ? reservation?.month : undefined,
        receivedMs: this.receivedMs,
      },
      this.#refused,
    );
    if (reservation !== undefined && counts) front.quotas.settle(reservation, bytes);
  }

  #tooSlow(limitMs: number): void {
    this.#answering.last = true;
    this.outcome = 'too_slow';
    const bytes = this.#incoming!.bytes;
    this.#answering.refuse(refusalOf(problemOf(httpErrors.BODY_TIMEOUT, { bytes, limitMs })));
  }

  /** A body may be read now. */
  #mayRead(what: string): void {
    const { inHandler, res } = this.#answering;
    if (inHandler ? res === undefined : !this.#entered || this.#incoming === undefined)
      throw new TypeError(`${what}() must be called inside the handler`);
  }

  #body(): IncomingBody {
    this.#incoming ??= new IncomingBody(this.#answering.res!, this.#framing, this);
    return this.#incoming;
  }

  #wholeBody(req: HttpRequest): Promise<Buffer> {
    this.#mayRead('jsonBody');
    const { bodies } = this.#route.front;
    const packing = packingOf(req, this.#framing, bodies.limits);
    const body = this.#body();
    return packing instanceof Error ? Promise.reject(packing) : body.read(bodies, packing);
  }
}
