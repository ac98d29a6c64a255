/**
 * Batch route: a POST that takes one event, or an array of them, as JSON: /collect, and routes of services whose events
 * are others. What differs is injected: who sends it (Sender), how a body becomes records (BatchEncoder), and the body
 * of a 202 (Answers). A batch is taken as one: it gets room once or is refused whole, and its good events become real
 * in one publish.
 *
 *   origin > content type, encoding, announced length > sender (headers die with the handler) > body > intake > answer
 *
 *   202  what Answers say of good items, and of bad ones beside them
 *   400  malformed JSON, a scalar, or no good item: nothing is stored
 *   429  no room, nothing is stored
 *   503  nobody knows (the write failed or took too long), or the disk has given up
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Refusal } from '../engine/refusal.ts';
import type { BatchResult } from '../events/batch-result.ts';
import type { Draft } from '../events/draft.ts';
import { answerProblem, type ProblemOptions, shown, type Wire, writeProblem } from '../http/answer.ts';
import { type BodyFailure, type BodyReader, type BodyTaker, bodyProblem } from '../http/body.ts';
import type { Cors, OriginVerdict } from '../http/cors.ts';
import { encodingOf, type Encoding as Packing } from '../http/decompress.ts';
import { httpErrors } from '../http/errors.ts';
import { answerUnread, type Framing } from '../http/guards.ts';
import { answerFault, type Faults } from '../http/handlers.ts';
import { asksToClose, type BodyRest } from '../http/lingering.ts';
import type { Tally } from '../http/tally.ts';
import { asked, CONTENT_TYPE, wireText } from '../http/wire-text.ts';
import { type ErrorMaker, problemOf } from '../kernel/errors.ts';
import { serviceErrors } from '../service/errors.ts';
import {
  type AckLevel,
  type Answerable,
  type Encoding,
  type Intake,
  type Outcome,
  statusOfRefusal,
} from '../service/intake.ts';
import type { Track } from '../visitor/visitor.ts';
import { isTakenType, problemOfResult } from './collect-answer.ts';
import { collectErrors } from './errors.ts';
import type { RouteMeters } from './meters.ts';
import type { RejectedReason } from './metrics.ts';

const JSON_TYPE = wireText('application/json');
const reasonOf: Readonly<Record<Exclude<BodyFailure['code'], 'BODY_MEMORY'>, RejectedReason>> = {
  BODY_TOO_LARGE: 'body_too_large',
  UNPACKED_TOO_LARGE: 'body_too_large',
  BODY_TIMEOUT: 'body_timeout',
  BAD_ENCODING: 'encoding',
};
const NO_BODY = Buffer.alloc(0);
/** Requests kept for reuse, so that a burst does not become memory for ever. */
const IDLE_MAX = 1024;

/** Reads what a request says besides its body, inside the handler. */
export interface Sender<Input, Result> {
  /** An input that read() fills again for each request that uses it. */
  make(): Input;
  /** Do not track: whether events of this request may be stored, and how. */
  track(req: HttpRequest): Track;
  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, input: Input): void;
  /** The Set-Cookie line of an answer whose events are stored; '' for none. */
  cookieLine?(result: Result, input: Input): string;
}

/** Turns a body into records in the draft. The result is borrowed until the next call. */
export interface BatchEncoder<Input, Result> {
  encode(draft: Draft, body: Buffer, input: Input): Result;
}

/** How a 202 reads. */
export interface Answers<Result> {
  body(result: Result): string;
  /** A header with the number of accepted events. */
  readonly countHeader?: ArrayBuffer;
}

export interface BatchRouteDeps<Input, Result extends BatchResult> {
  readonly intake: Intake;
  readonly encoder: BatchEncoder<Input, Result>;
  readonly sender: Sender<Input, Result>;
  readonly answers: Answers<Result>;
  readonly bodies: BodyReader;
  readonly cors: Cors;
  readonly meters: RouteMeters;
  readonly tally: Tally;
  readonly faults: Faults;
  readonly wire: Wire;
  readonly level: AckLevel;
  /** Seconds for Retry-After. */
  readonly retryAfterS: number;
  readonly now: () => number;
}

export class BatchRoute<Input, Result extends BatchResult> {
  readonly deps: BatchRouteDeps<Input, Result>;
  readonly #idle: BatchRequest<Input, Result>[] = [];

  constructor(deps: BatchRouteDeps<Input, Result>) {
    this.deps = deps;
  }

  /** `framing`: of this request, found well-formed by the router. */
  handle(res: HttpResponse, req: HttpRequest, framing: Framing): void {
    const { cors, bodies } = this.deps;
    const origin = req.getHeader(asked.origin);
    const verdict = cors.judge(origin);
    if (verdict === 'foreign') {
      this.#refuse(
        res,
        req,
        framing,
        'origin',
        httpErrors.ORIGIN_FORBIDDEN,
        { origin: shown(origin) },
        verdict,
        origin,
      );
      return;
    }
    const type = req.getHeader(asked.contentType);
    if (!isTakenType(type)) {
      this.#refuse(
        res,
        req,
        framing,
        'media_type',
        collectErrors.UNSUPPORTED_MEDIA_TYPE,
        { type: shown(type) },
        verdict,
        origin,
      );
      return;
    }
    const packed = req.getHeader(asked.contentEncoding);
    const packing = encodingOf(packed);
    if (packing === undefined) {
      this.#refuse(
        res,
        req,
        framing,
        'encoding',
        httpErrors.UNSUPPORTED_ENCODING,
        { encoding: shown(packed) },
        verdict,
        origin,
      );
      return;
    }
    const limit = bodies.limits.maxBodyBytes;
    if (framing.bytes > limit) {
      // The client may send the body all the same; the addon then skips it and keeps nothing.
      const fields = { bytes: framing.bytes, limit };
      this.#refuse(res, req, framing, 'body_too_large', httpErrors.BODY_TOO_LARGE, fields, verdict, origin);
      return;
    }
    const request = this.#idle.pop() ?? new BatchRequest(this);
    request.begin(res, req, verdict, origin, packing, framing.chunked);
    bodies.read(res, framing, packing, request);
  }

  /** Takes a request back for the next one. */
  release(request: BatchRequest<Input, Result>): void {
    if (this.#idle.length < IDLE_MAX) this.#idle.push(request);
  }

  /** Answers without reading the body. */
  #refuse<F extends object>(
    res: HttpResponse,
    req: HttpRequest,
    framing: Framing,
    reason: RejectedReason,
    error: ErrorMaker<string, F>,
    fields: F,
    verdict: OriginVerdict,
    origin: string,
  ): void {
    const { cors, wire, meters, tally } = this.deps;
    const problem = problemOf(error, fields);
    meters.rejected[reason].add(1);
    tally.answered(problem.status);
    const headers = (to: HttpResponse) => {
      cors.write(to, verdict, origin);
      if (problem.code === 'UNSUPPORTED_ENCODING') to.writeHeader('Accept-Encoding', 'gzip, deflate, br');
    };
    const closing = wire.closing || asksToClose(req, framing);
    answerUnread(res, framing, closing, (close, rest) => writeProblem(res, problem, { headers, close, rest }));
  }
}

/**
 * One request on its way: holds what its headers said until the body is there, then its answer until the answer may
 * leave.
 */
class BatchRequest<Input, Result extends BatchResult> implements BodyTaker, Encoding, Answerable {
  readonly #route: BatchRoute<Input, Result>;
  /** Undefined: the connection is gone, or the answer has left. */
  #res: HttpResponse | undefined;
  #track: Track = 'track';
  #verdict: OriginVerdict = 'none';
  #origin = '';
  #packing: Packing = 'identity';
  /** A chunked body is the last of its connection (http/body.ts). */
  #close = false;
  #startedMs = 0;
  #held = false;
  #accepted = 0;
  #answer = '';
  #cookie = '';
  /** While it is being encoded: the body, and what became of it. The result is borrowed from the encoder. */
  #bytes: Buffer = NO_BODY;
  #result: Result | undefined;
  readonly #input: Input;

  constructor(route: BatchRoute<Input, Result>) {
    this.#route = route;
    this.#input = route.deps.sender.make();
  }

  begin(
    res: HttpResponse,
    req: HttpRequest,
    verdict: OriginVerdict,
    origin: string,
    packing: Packing,
    chunked: boolean,
  ): void {
    const { sender, now } = this.#route.deps;
    const track = sender.track(req);
    sender.read(res, req, track !== 'track', now(), this.#input);
    this.#res = res;
    this.#track = track;
    this.#verdict = verdict;
    this.#origin = origin;
    this.#packing = packing;
    this.#close = chunked;
    this.#held = false;
    this.#accepted = 0;
    this.#answer = '';
    this.#cookie = '';
  }

  body(bytes: Buffer, inHandler: boolean): void {
    this.#startedMs = performance.now();
    try {
      this.#take(bytes, inHandler);
    } catch (error) {
      const { faults, meters, tally } = this.#route.deps;
      faults.report(error);
      meters.rejected.internal.add(1);
      if (this.#res !== undefined && answerFault(this.#res)) tally.answered(500);
      this.#done();
    }
  }

  #take(bytes: Buffer, inHandler: boolean): void {
    const { intake, level, meters } = this.#route.deps;
    this.#bytes = bytes;
    this.#result = undefined;
    const taken = intake.take(this, level, this);
    this.#bytes = NO_BODY;
    switch (taken) {
      case 'stored':
        this.#read(this.#result!);
        meters.stored(this.#accepted, this.#startedMs);
        this.#accept(inHandler);
        break;
      case 'held':
        this.#read(this.#result!);
        this.#held = true;
        break;
      case 'unknown':
        this.#read(this.#result!);
        this.#unknown(inHandler);
        break;
      case 'too_large':
        this.#reject(undefined, inHandler);
        break;
      case 'nothing':
        this.#takeNothing(this.#result!, inHandler);
        break;
      default:
        this.#refuse(taken, inHandler);
    }
  }

  encode(draft: Draft): 'ok' | 'nothing' {
    const result = this.#route.deps.encoder.encode(draft, this.#bytes, this.#input);
    this.#result = result;
    return result.code === 'OK' && result.accepted > 0 && this.#track !== 'drop' ? 'ok' : 'nothing';
  }

  /** Keeps what the answer needs of the result. */
  #read(result: Result): void {
    const { meters, sender, answers } = this.#route.deps;
    meters.rejected.bad_event.add(result.rejected);
    if (result.mendedSet !== 0 && this.#track !== 'drop') meters.mended(result.mendedSet, result.mended);
    this.#accepted = result.accepted;
    this.#answer = answers.body(result);
    if (sender.cookieLine !== undefined && this.#track !== 'drop')
      this.#cookie = sender.cookieLine(result, this.#input);
  }

  /** Nothing is stored: a body without a good event, an empty array, or a visitor who does not want to be tracked. */
  #takeNothing(result: Result, inHandler: boolean): void {
    if (result.code !== 'OK' || (result.accepted === 0 && result.rejected > 0)) {
      this.#reject(result, inHandler);
      return;
    }
    this.#read(result);
    if (this.#track === 'drop') this.#route.deps.meters.ignored.add(result.accepted);
    this.#accept(inHandler);
  }

  failed(failure: BodyFailure, inHandler: boolean, rest?: BodyRest): void {
    const { bodies, meters, retryAfterS } = this.#route.deps;
    this.#close = true;
    const full = failure.code === 'BODY_MEMORY';
    // Events are refused by 429 whatever has no room.
    const problem = full
      ? problemOf(httpErrors.BACKPRESSURE, { reason: 'body_memory' })
      : bodyProblem(failure, bodies.limits, this.#packing);
    (full ? meters.refused.body_memory : meters.rejected[reasonOf[failure.code]]).add(1);
    const retry = full ? { retryAfterS } : {};
    this.#end(inHandler, problem.status, (res, close) =>
      writeProblem(res, problem, { ...this.#options(close), ...retry, rest }),
    );
  }

  aborted(): void {
    this.#res = undefined;
    // A held answer still gets its settled(). Any other ends here.
    if (this.#held) this.#route.deps.intake.dropped(this);
    else this.#done();
  }

  settled(outcome: Outcome): void {
    const { meters } = this.#route.deps;
    this.#held = false;
    if (outcome === 'unknown') this.#unknown(false);
    else if (this.#res === undefined) {
      meters.gone(this.#accepted);
      this.#done();
    } else {
      meters.stored(this.#accepted, this.#startedMs);
      this.#accept(false);
    }
  }

  #accept(inHandler: boolean): void {
    this.#end(inHandler, 202, (res, close) => {
      const { cors, level, answers } = this.#route.deps;
      res.writeStatus('202 Accepted');
      res.writeHeader(CONTENT_TYPE, JSON_TYPE);
      if (answers.countHeader !== undefined) res.writeHeader(answers.countHeader, String(this.#accepted));
      if (this.#track !== 'drop' && this.#accepted > 0) res.writeHeader('Ringmain-Ack', level);
      cors.write(res, this.#verdict, this.#origin);
      if (this.#cookie !== '') res.writeHeader('Set-Cookie', this.#cookie);
      res.end(this.#answer, close);
    });
  }

  /** No room, or no disk: nothing is stored. */
  #refuse(refusal: Refusal, inHandler: boolean): void {
    const { meters, retryAfterS } = this.#route.deps;
    meters.refused[refusal].add(1);
    const status = statusOfRefusal[refusal];
    const problem = { ...problemOf(httpErrors.BACKPRESSURE, { reason: refusal }), status };
    this.#end(inHandler, status, (res, close) => writeProblem(res, problem, { ...this.#options(close), retryAfterS }));
  }

  /** The write failed or took too long: the events may be stored or not. */
  #unknown(inHandler: boolean): void {
    const { meters, retryAfterS, level } = this.#route.deps;
    meters.unknown(this.#accepted);
    const fields = { reason: `ack=${level}` };
    this.#end(inHandler, 503, (res, close) =>
      answerProblem(res, serviceErrors.WRITE_UNKNOWN, fields, { ...this.#options(close), retryAfterS }),
    );
  }

  /** Not one good event in the body, or too many. */
  #reject(result: Result | undefined, inHandler: boolean): void {
    const { meters, intake, retryAfterS } = this.#route.deps;
    const problem = problemOfResult(result, intake.draftBytesMax);
    if (result === undefined || result.code === 'BATCH_TOO_LARGE') meters.rejected.body_too_large.add(1);
    else if (result.rejected > 0) meters.rejected.bad_event.add(result.rejected);
    else meters.rejected.bad_json.add(1);
    const retry = problem.status === 503 ? { retryAfterS } : {};
    this.#end(inHandler, problem.status, (res, close) =>
      writeProblem(res, problem, { ...this.#options(close), ...retry }),
    );
  }

  #options(close: boolean): ProblemOptions {
    const { cors } = this.#route.deps;
    return { close, headers: (res) => cors.write(res, this.#verdict, this.#origin) };
  }

  #end(inHandler: boolean, status: number, write: (res: HttpResponse, close: boolean) => void): void {
    const { tally, wire } = this.#route.deps;
    const res = this.#res;
    if (res !== undefined) {
      tally.answered(status);
      const close = this.#close || wire.closing;
      if (inHandler) write(res, close);
      else res.cork(() => write(res, close));
    }
    this.#done();
  }

  #done(): void {
    this.#res = undefined;
    this.#bytes = NO_BODY;
    this.#route.release(this);
  }
}
