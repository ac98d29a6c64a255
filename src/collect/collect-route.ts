/**
 * POST /collect: one event, or an array of them, as JSON. A batch is taken as one: it gets room once or is refused whole, and its good
 * events become real in one publish.
 *
 *   framing -> origin -> content type, encoding, announced length -> visitor (headers die with the handler) -> body -> encode -> settle
 *
 *   202  {"accepted":N,"status":"ok"}; with `rejected` and `errors` when some items were bad
 *   400  malformed JSON, a scalar, or no good item: nothing is stored
 *   429  no room, nothing is stored        503  nobody knows (the write failed or took too long), or the disk has given up
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Refusal } from '../engine/lane.ts';
import type { CollectEncoder, CollectResult } from '../events/collect-encoder.ts';
import type { Origin } from '../events/origin.ts';
import { answerProblem, type ProblemOptions, shown, type Wire, writeProblem } from '../http/answer.ts';
import type { BodyFailure, BodyReader, BodyTaker } from '../http/body.ts';
import type { Cors, OriginVerdict } from '../http/cors.ts';
import { type Encoding, encodingOf } from '../http/decompress.ts';
import { answerUnread, framingOf, refuseFraming } from '../http/guards.ts';
import { answerFault, type Faults } from '../http/handlers.ts';
import { asked, CONTENT_TYPE, wireText } from '../http/wire-text.ts';
import { type ErrorCode, type FieldsOf, problemOf } from '../kernel/errors.ts';
import type { RejectedReason } from '../pixel/metrics.ts';
import {
  type AckLevel,
  type Answerable,
  type IntakeAcknowledger,
  type IntakeLane,
  mayEncodeAgain,
  type Outcome,
} from '../service/intake.ts';
import type { IngestMeters } from '../service/intake-meters.ts';
import type { Track, Visitor } from '../visitor/visitor.ts';
import { acceptedBody, isTakenType, problemOfResult } from './collect-answer.ts';

const JSON_TYPE = wireText('application/json');
const ACCEPTED_COUNT = wireText('X-Gotrack-Accepted');

export interface CollectRouteDeps {
  readonly lane: IntakeLane;
  readonly acknowledger: IntakeAcknowledger;
  readonly encoder: CollectEncoder;
  readonly bodies: BodyReader;
  readonly visitor: Visitor;
  readonly cors: Cors;
  readonly meters: IngestMeters;
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

  handle(res: HttpResponse, req: HttpRequest): void {
    const { cors, bodies } = this.deps;
    const framing = framingOf(req);
    if (framing.bad !== undefined) {
      this.#rejected('framing', 400);
      refuseFraming(res, framing.bad);
      return;
    }
    const origin = req.getHeader(asked.origin);
    const verdict = cors.judge(origin);
    if (verdict === 'foreign') {
      this.#refuse(res, req, 'origin', 'ORIGIN_FORBIDDEN', { origin: shown(origin) }, verdict, origin);
      return;
    }
    const type = req.getHeader(asked.contentType);
    if (!isTakenType(type)) {
      this.#refuse(res, req, 'media_type', 'UNSUPPORTED_MEDIA_TYPE', { type: shown(type) }, verdict, origin);
      return;
    }
    const packed = req.getHeader(asked.contentEncoding);
    const encoding = encodingOf(packed);
    if (encoding === undefined) {
      this.#refuse(res, req, 'encoding', 'UNSUPPORTED_ENCODING', { encoding: shown(packed) }, verdict, origin);
      return;
    }
    const limit = bodies.limits.maxBodyBytes;
    if (framing.bytes > limit) {
      // The addon skips what the client sends of it all the same; nothing of that is kept.
      const fields = { bytes: framing.bytes, limit };
      this.#refuse(res, req, 'body_too_large', 'BODY_TOO_LARGE', fields, verdict, origin);
      return;
    }
    const request = this.#idle.pop() ?? new CollectRequest(this);
    request.begin(res, req, verdict, origin, encoding, framing.chunked);
    bodies.read(res, framing, encoding, request);
  }

  /** Takes a request back for the next one. */
  release(request: CollectRequest): void {
    if (this.#idle.length < 1024) this.#idle.push(request);
  }

  #rejected(reason: RejectedReason, status: number): void {
    this.deps.meters.rejected[reason].add(1);
    this.deps.meters.answered(status);
  }

  /** Answers without reading the body. */
  #refuse<C extends ErrorCode>(
    res: HttpResponse,
    req: HttpRequest,
    reason: RejectedReason,
    code: C,
    fields: FieldsOf<C>,
    verdict: OriginVerdict,
    origin: string,
  ): void {
    const { cors, wire } = this.deps;
    const problem = problemOf(code, fields);
    this.#rejected(reason, problem.status);
    const headers = (to: HttpResponse) => {
      cors.write(to, verdict, origin);
      if (code === 'UNSUPPORTED_ENCODING') to.writeHeader('Accept-Encoding', 'gzip, deflate, br');
    };
    answerUnread(res, req, (close) => writeProblem(res, problem, { headers, close: close || wire.closing }));
  }
}

/** One request on its way: what its headers said, until the body is there; then its answer, until that may leave. */
class CollectRequest implements BodyTaker, Answerable {
  readonly #route: CollectRoute;
  /** Undefined: the connection is gone, or the answer has left. */
  #res: HttpResponse | undefined;
  #track: Track = 'track';
  #verdict: OriginVerdict = 'none';
  #origin = '';
  #encoding: Encoding = 'identity';
  /** A chunked body is the last of its connection (http/body.ts). */
  #close = false;
  #cookieSecure = false;
  #startedMs = 0;
  #held = false;
  #accepted = 0;
  #body = '';
  #cookie = '';
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
    encoding: Encoding,
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
    this.#encoding = encoding;
    this.#close = chunked;
    this.#cookieSecure = input.mintSid && input.cookieSid === '' && visitor.overTls(req);
    this.#held = false;
    this.#accepted = 0;
    this.#body = '';
    this.#cookie = '';
  }

  body(bytes: Buffer, inHandler: boolean): void {
    this.#startedMs = performance.now();
    try {
      this.#take(bytes, inHandler);
    } catch (error) {
      const { faults, meters } = this.#route.deps;
      faults.report(error);
      meters.rejected.internal.add(1);
      meters.answered(500);
      if (this.#res !== undefined) answerFault(this.#res);
      this.#done();
    }
  }

  #take(bytes: Buffer, inHandler: boolean): void {
    const { lane, acknowledger, level, meters, visitor } = this.#route.deps;
    const full = lane.refusal(0);
    if (full !== undefined) {
      this.#refuse(full, inHandler);
      return;
    }
    const { mark, result } = this.#encode(bytes);
    if (result === undefined || result.code !== 'OK' || (result.accepted === 0 && result.rejected > 0)) {
      lane.rewind(mark);
      this.#reject(result, inHandler);
      return;
    }
    const refusal = lane.refusal(0);
    if (refusal !== undefined) {
      lane.rewind(mark);
      this.#refuse(refusal, inHandler);
      return;
    }
    meters.rejected.bad_event.add(result.rejected);
    this.#accepted = result.accepted;
    this.#body = acceptedBody(result);
    if (this.#track === 'drop') {
      lane.rewind(mark);
      meters.ignored.add(result.accepted);
      this.#accept(inHandler);
      return;
    }
    if (result.accepted === 0) {
      this.#accept(inHandler);
      return;
    }
    if (result.mintedSid !== '') this.#cookie = visitor.cookieLine(result.mintedSid, this.#cookieSecure);
    const when = acknowledger.settle(level);
    if (when === 'now') {
      meters.stored(this.#accepted, this.#startedMs);
      this.#accept(inHandler);
    } else if (when === 'later') {
      this.#held = true;
      acknowledger.hold(level, this);
    } else this.#unknown(inHandler);
  }

  /** Undefined: the batch is more than any draft holds. */
  #encode(bytes: Buffer): { mark: number; result: CollectResult | undefined } {
    const { lane, encoder, acknowledger } = this.#route.deps;
    for (let attempt = 0; ; attempt++) {
      const mark = lane.mark();
      try {
        return { mark, result: encoder.encode(lane, bytes, this.#input) };
      } catch (error) {
        if (!mayEncodeAgain(error, mark, lane, acknowledger, attempt)) return { mark, result: undefined };
      }
    }
  }

  failed(failure: BodyFailure, inHandler: boolean): void {
    const { bodies, retryAfterS } = this.#route.deps;
    this.#close = true;
    const { maxBodyBytes, bodyTimeoutMs } = bodies.limits;
    switch (failure.code) {
      case 'BODY_TOO_LARGE':
        this.#problem('body_too_large', failure.code, { bytes: failure.bytes, limit: maxBodyBytes }, inHandler);
        break;
      case 'UNPACKED_TOO_LARGE':
        // How large it would have become nobody knows: unpacking stopped at the limit.
        this.#problem('body_too_large', 'BODY_TOO_LARGE', { bytes: maxBodyBytes + 1, limit: maxBodyBytes }, inHandler);
        break;
      case 'BODY_TIMEOUT':
        this.#problem('body_timeout', failure.code, { bytes: failure.bytes, limitMs: bodyTimeoutMs }, inHandler);
        break;
      case 'BODY_MEMORY':
        this.#problem('body_memory', 'BACKPRESSURE', { reason: 'body_memory' }, inHandler, retryAfterS);
        break;
      case 'BAD_ENCODING':
        this.#problem('encoding', 'INVALID_ENCODING', { encoding: this.#encoding }, inHandler);
        break;
    }
  }

  aborted(): void {
    this.#res = undefined;
    // A held answer still comes back by settled(); anything else ends here.
    if (this.#held) this.#route.deps.acknowledger.dropped(this);
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
      res.end(this.#body, close);
    });
  }

  /** No room, or no disk: nothing is stored. */
  #refuse(refusal: Refusal, inHandler: boolean): void {
    const { meters, retryAfterS } = this.#route.deps;
    const status = meters.refuse(refusal);
    const problem = { ...problemOf('BACKPRESSURE', { reason: refusal }), status };
    this.#end(inHandler, status, (res, close) => writeProblem(res, problem, { ...this.#options(close), retryAfterS }));
  }

  /** The write failed or took too long: the events may be stored or not. */
  #unknown(inHandler: boolean): void {
    const { meters, retryAfterS, level } = this.#route.deps;
    meters.unknown(this.#accepted);
    const fields = { reason: `ack=${level}` };
    this.#end(inHandler, 503, (res, close) =>
      answerProblem(res, 'WRITE_UNKNOWN', fields, { ...this.#options(close), retryAfterS }),
    );
  }

  /** Not one good event in the body, or too many. */
  #reject(result: CollectResult | undefined, inHandler: boolean): void {
    const { meters, lane } = this.#route.deps;
    const problem = problemOfResult(result, lane.draftBytesMax);
    if (result === undefined || result.code === 'BATCH_TOO_LARGE') meters.rejected.body_too_large.add(1);
    else if (result.rejected > 0) meters.rejected.bad_event.add(result.rejected);
    else meters.rejected.bad_json.add(1);
    this.#end(inHandler, problem.status, (res, close) => writeProblem(res, problem, this.#options(close)));
  }

  #problem<C extends ErrorCode>(
    reason: RejectedReason,
    code: C,
    fields: FieldsOf<C>,
    inHandler: boolean,
    retryAfterS?: number,
  ): void {
    const problem = problemOf(code, fields);
    this.#route.deps.meters.rejected[reason].add(1);
    this.#end(inHandler, problem.status, (res, close) => {
      const options = this.#options(close);
      writeProblem(res, problem, retryAfterS === undefined ? options : { ...options, retryAfterS });
    });
  }

  #options(close: boolean): ProblemOptions {
    const { cors } = this.#route.deps;
    return { close, headers: (res) => cors.write(res, this.#verdict, this.#origin) };
  }

  #end(inHandler: boolean, status: number, write: (res: HttpResponse, close: boolean) => void): void {
    const { meters, wire } = this.#route.deps;
    const res = this.#res;
    if (res !== undefined) {
      meters.answered(status);
      const close = this.#close || wire.closing;
      if (inHandler) write(res, close);
      else res.cork(() => write(res, close));
    }
    this.#done();
  }

  #done(): void {
    this.#res = undefined;
    this.#route.release(this);
  }
}
