/**
 * POST /collect: one event, or an array of them, as JSON. A batch is taken as one: it gets room once or is refused
 * whole, and its good events become real in one publish.
 *
 *   origin > content type, encoding, announced length > visitor (headers die with the handler) > body > intake > answer
 *
 *   202  {"accepted":N,"status":"ok"}; with `rejected` and `errors` when some items were bad
 *   400  malformed JSON, a scalar, or no good item: nothing is stored
 *   429  no room, nothing is stored
 *   503  nobody knows (the write failed or took too long), or the disk has given up
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Refusal } from '../engine/lane.ts';
import type { CollectEncoder, CollectResult } from '../events/collect-encoder.ts';
import type { Draft } from '../events/draft.ts';
import type { Origin } from '../events/origin.ts';
import { answerProblem, type ProblemOptions, shown, type Wire, writeProblem } from '../http/answer.ts';
import { type BodyFailure, type BodyReader, type BodyTaker, bodyProblem } from '../http/body.ts';
import type { Cors, OriginVerdict } from '../http/cors.ts';
import { encodingOf, type Encoding as Packing } from '../http/decompress.ts';
import { httpErrors } from '../http/errors.ts';
import { answerUnread, type Framing } from '../http/guards.ts';
import { answerFault, type Faults } from '../http/handlers.ts';
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
import type { Track, Visitor } from '../visitor/visitor.ts';
import { acceptedBody, isTakenType, problemOfResult } from './collect-answer.ts';
import { collectErrors } from './errors.ts';
import type { RouteMeters } from './meters.ts';
import type { RejectedReason } from './metrics.ts';

const JSON_TYPE = wireText('application/json');
const ACCEPTED_COUNT = wireText('X-Gotrack-Accepted');
const reasonOf: Readonly<Record<Exclude<BodyFailure['code'], 'BODY_MEMORY'>, RejectedReason>> = {
  BODY_TOO_LARGE: 'body_too_large',
  UNPACKED_TOO_LARGE: 'body_too_large',
  BODY_TIMEOUT: 'body_timeout',
  BAD_ENCODING: 'encoding',
};
const NO_BODY = Buffer.alloc(0);
/** Requests kept for reuse, so that a burst does not become memory for ever. */
const IDLE_MAX = 1024;

export interface CollectRouteDeps {
  readonly intake: Intake;
  readonly encoder: CollectEncoder;
  readonly bodies: BodyReader;
  readonly visitor: Visitor;
  readonly cors: Cors;
  readonly meters: RouteMeters;
  readonly tally: Tally;
  readonly faults: Faults;
  readonly wire: Wire;
  readonly level: AckLevel;
  /** Seconds for Retry-After. */
  readonly retryAfterS: number;
  readonly source: number;
  readonly now: () => number;
}

export class CollectRoute {
  readonly deps: CollectRouteDeps;
  readonly #idle: CollectRequest[] = [];

  constructor(deps: CollectRouteDeps) {
    this.deps = deps;
  }

  /** `framing`: of this request, found well-formed by the router. */
  handle(res: HttpResponse, req: HttpRequest, framing: Framing): void {
    const { cors, bodies } = this.deps;
    const origin = req.getHeader(asked.origin);
    const verdict = cors.judge(origin);
    if (verdict === 'foreign') {
      this.#refuse(res, framing, 'origin', httpErrors.ORIGIN_FORBIDDEN, { origin: shown(origin) }, verdict, origin);
      return;
    }
    const type = req.getHeader(asked.contentType);
    if (!isTakenType(type)) {
      this.#refuse(
        res,
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
      this.#refuse(res, framing, 'body_too_large', httpErrors.BODY_TOO_LARGE, fields, verdict, origin);
      return;
    }
    const request = this.#idle.pop() ?? new CollectRequest(this);
    request.begin(res, req, verdict, origin, packing, framing.chunked);
    bodies.read(res, framing, packing, request);
  }

  /** Takes a request back for the next one. */
  release(request: CollectRequest): void {
    if (this.#idle.length < IDLE_MAX) this.#idle.push(request);
  }

  /** Answers without reading the body. */
  #refuse<F extends object>(
    res: HttpResponse,
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
    answerUnread(res, framing, (close) => writeProblem(res, problem, { headers, close: close || wire.closing }));
  }
}

/**
 * One request on its way: holds what its headers said until the body is there, then its answer until the answer may
 * leave.
 */
class CollectRequest implements BodyTaker, Encoding, Answerable {
  readonly #route: CollectRoute;
  /** Undefined: the connection is gone, or the answer has left. */
  #res: HttpResponse | undefined;
  #track: Track = 'track';
  #verdict: OriginVerdict = 'none';
  #origin = '';
  #packing: Packing = 'identity';
  /** A chunked body is the last of its connection (http/body.ts). */
  #close = false;
  #cookieSecure = false;
  #startedMs = 0;
  #held = false;
  #accepted = 0;
  #answer = '';
  #cookie = '';
  /** While it is being encoded: the body, and what became of it. The result is borrowed from the encoder. */
  #bytes: Buffer = NO_BODY;
  #result: CollectResult | undefined;
  readonly #input: Origin;

  constructor(route: CollectRoute) {
    this.#route = route;
    this.#input = {
      userAgent: '',
      ip: '',
      cookieSid: '',
      mintSid: false,
      anonymous: false,
      geo: undefined,
      device: undefined,
      receivedMs: 0,
      source: route.deps.source,
    };
  }

  begin(
    res: HttpResponse,
    req: HttpRequest,
    verdict: OriginVerdict,
    origin: string,
    packing: Packing,
    chunked: boolean,
  ): void {
    const { visitor, now } = this.#route.deps;
    const track = visitor.track(req);
    const input = this.#input;
    visitor.read(res, req, track !== 'track', now(), input);
    this.#res = res;
    this.#track = track;
    this.#verdict = verdict;
    this.#origin = origin;
    this.#packing = packing;
    this.#close = chunked;
    this.#cookieSecure = input.mintSid && visitor.overTls(req);
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
  #read(result: CollectResult): void {
    const { meters, visitor } = this.#route.deps;
    meters.rejected.bad_event.add(result.rejected);
    if (result.mendedSet !== 0 && this.#track !== 'drop') meters.mended(result.mendedSet, result.mended);
    this.#accepted = result.accepted;
    this.#answer = acceptedBody(result);
    if (result.mintedSid !== '' && this.#track !== 'drop')
      this.#cookie = visitor.cookieLine(result.mintedSid, this.#cookieSecure);
  }

  /** Nothing is stored: a body without a good event, an empty array, or a visitor who does not want to be tracked. */
  #takeNothing(result: CollectResult, inHandler: boolean): void {
    if (result.code !== 'OK' || (result.accepted === 0 && result.rejected > 0)) {
      this.#reject(result, inHandler);
      return;
    }
    this.#read(result);
    if (this.#track === 'drop') this.#route.deps.meters.ignored.add(result.accepted);
    this.#accept(inHandler);
  }

  failed(failure: BodyFailure, inHandler: boolean): void {
    const { bodies, meters, retryAfterS } = this.#route.deps;
    this.#close = true;
    const problem = bodyProblem(failure, bodies.limits, this.#packing);
    const full = failure.code === 'BODY_MEMORY';
    (full ? meters.refused.body_memory : meters.rejected[reasonOf[failure.code]]).add(1);
    const retry = full ? { retryAfterS } : {};
    this.#end(inHandler, problem.status, (res, close) =>
      writeProblem(res, problem, { ...this.#options(close), ...retry }),
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
      const { cors, level } = this.#route.deps;
      res.writeStatus('202 Accepted');
      res.writeHeader(CONTENT_TYPE, JSON_TYPE);
      res.writeHeader(ACCEPTED_COUNT, String(this.#accepted));
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
  #reject(result: CollectResult | undefined, inHandler: boolean): void {
    const { meters, intake } = this.#route.deps;
    const problem = problemOfResult(result, intake.draftBytesMax);
    if (result === undefined || result.code === 'BATCH_TOO_LARGE') meters.rejected.body_too_large.add(1);
    else if (result.rejected > 0) meters.rejected.bad_event.add(result.rejected);
    else meters.rejected.bad_json.add(1);
    this.#end(inHandler, problem.status, (res, close) => writeProblem(res, problem, this.#options(close)));
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
