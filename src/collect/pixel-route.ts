/**
 * GET|HEAD /px.gif: one request, one event, one transparent GIF. The hot path of the product: it allocates nothing but
 * what crosses to and from the addon (strings of headers).
 *
 * Every well-formed request gets the GIF, also a refused one (429, 503) or one that is too large (413): no page shows a
 * broken image. Only bad framing (400, by the router) and a foreign origin (403) get a problem instead. Conditional and
 * range headers are ignored: each request is a view.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Draft } from '../events/draft.ts';
import { blankOrigin } from '../events/origin.ts';
import type { PixelInput } from '../events/pixel-encoder.ts';
import { answerProblem, endBare, shown, statusLine, type Wire } from '../http/answer.ts';
import type { Cors, OriginVerdict } from '../http/cors.ts';
import { httpErrors } from '../http/errors.ts';
import type { Tally } from '../http/tally.ts';
import { asked, CONTENT_TYPE, wireText } from '../http/wire-text.ts';
import {
  type AckLevel,
  type Answerable,
  type Encoding,
  type Intake,
  type Outcome,
  statusOfRefusal,
} from '../service/intake.ts';
import type { Visitor } from '../visitor/visitor.ts';
import type { RouteMeters } from './meters.ts';

/** A transparent pixel: 43 bytes, GIF89a, with its trailer byte. */
export const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');

/** A kind of answer: each has the GIF. */
interface GifAnswer {
  readonly status: number;
  readonly line: string;
  /** The Ringmain-Ack header names the promise. */
  readonly stored: boolean;
  /** The Retry-After header names the time to come again. */
  readonly retry: boolean;
}
const gifAnswer = (status: number, stored: boolean, retry: boolean): GifAnswer => ({
  status,
  line: statusLine(status),
  stored,
  retry,
});
const STORED = gifAnswer(200, true, false);
const IGNORED = gifAnswer(200, false, false);
const TOO_LARGE = gifAnswer(413, false, false);
const NO_ROOM = gifAnswer(429, false, true);
/** Nothing can be stored before an operator comes, or nobody knows whether the event is. */
const UNAVAILABLE = gifAnswer(503, false, true);

/** A browser must not keep the GIF, because each view is a request. */
const NO_STORE = 'no-store, no-cache, must-revalidate, max-age=0';
/** Pages that isolate themselves (Cross-Origin-Embedder-Policy: require-corp) show no image without it. */
const FOR_ALL_PAGES = 'Cross-Origin-Resource-Policy: cross-origin';
/** The value of Content-Type and the constant headers behind it; the addon writes values as they are. */
const HEAD_TEXT = `image/gif\r\nCache-Control: ${NO_STORE}\r\nPragma: no-cache\r\nExpires: 0\r\n${FOR_ALL_PAGES}`;

/** What became of a request; the next call overwrites it. */
export interface PixelMade {
  /**
   * Of a request that is not recorded, for reasons that the encoder counts. NOTHING: it is answered as usual.
   * UNAVAILABLE: it may come again, 503.
   */
  readonly code: 'OK' | 'EVENT_TOO_LARGE' | 'NOTHING' | 'UNAVAILABLE';
  /** The sid that was made for this request, for Set-Cookie; '' when none was made. */
  readonly mintedSid: string;
  /** The fields whose value was not of their kind, as a set. */
  readonly mended: number;
}

/** Turns a request into one record in the draft. */
export interface PixelEncoding {
  readonly result: PixelMade;
  encode(draft: Draft, input: PixelInput): PixelMade;
}

export interface PixelRouteDeps {
  readonly intake: Intake;
  readonly encoder: PixelEncoding;
  readonly visitor: Pick<Visitor, 'track' | 'read' | 'overTls' | 'cookieLine'>;
  readonly cors: Cors;
  readonly meters: RouteMeters;
  readonly tally: Tally;
  readonly wire: Wire;
  readonly level: AckLevel;
  /** Seconds for Retry-After. */
  readonly retryAfterS: number;
  /** Source id of the records. */
  readonly source: number;
  readonly now: () => number;
}

export class PixelRoute {
  readonly #deps: PixelRouteDeps;
  /**
   * Slots that no answer waits in. The last one is offered with each request and taken off when the answer has to wait.
   */
  readonly #slots: PixelSlot[];
  readonly #encoding: Encoding;
  readonly #head: ArrayBuffer;
  readonly #storedHead: ArrayBuffer;
  /**
   * Time of the last request whose latency was measured. One per ms is enough; it stands for all requests since the one
   * before.
   */
  #measuredMs = 0;
  #unmeasured = 0;
  readonly #input: PixelInput = {
    query: '',
    referer: '',
    ...blankOrigin(),
  };

  constructor(deps: PixelRouteDeps) {
    this.#deps = deps;
    this.#input.source = deps.source;
    const head = deps.cors.varies ? `${HEAD_TEXT}\r\nVary: Origin` : HEAD_TEXT;
    this.#head = wireText(head);
    this.#storedHead = wireText(`${head}\r\nRingmain-Ack: ${deps.level}`);
    this.#slots = [new PixelSlot(this)];
    const { encoder } = deps;
    this.#encoding = {
      encode: (draft: Draft) => {
        const { code } = encoder.encode(draft, this.#input);
        if (code === 'OK') return 'ok';
        return code === 'EVENT_TOO_LARGE' ? 'too_large' : 'nothing';
      },
    };
  }

  handle(res: HttpResponse, req: HttpRequest, head: boolean): void {
    const { visitor, cors, meters, now } = this.#deps;
    const origin = req.getHeader(asked.origin);
    const verdict = cors.judge(origin);
    if (verdict === 'foreign') {
      this.#forbid(res, origin, head);
      return;
    }
    const track = visitor.track(req);
    if (track === 'drop') {
      meters.ignored.add(1);
      this.answer(res, IGNORED, head, verdict, origin, '');
      return;
    }

    const input = this.#input;
    const receivedMs = now();
    const startedMs = receivedMs === this.#measuredMs ? 0 : performance.now();
    visitor.read(res, req, track === 'anonymize', receivedMs, input);
    // The addon gives undefined, not '', for a target without a question mark.
    input.query = req.getQuery() ?? '';
    input.referer = req.getHeader(asked.referer);
    this.#take(res, req, head, verdict, origin, startedMs);
  }

  #take(
    res: HttpResponse,
    req: HttpRequest,
    head: boolean,
    verdict: OriginVerdict,
    origin: string,
    startedMs: number,
  ): void {
    const { intake, level, meters } = this.#deps;
    const slot = this.#slots.at(-1)!;
    const taken = intake.take(this.#encoding, level, slot);
    switch (taken) {
      case 'stored':
        this.#measuredMs = this.#input.receivedMs;
        this.#countMended();
        this.answer(res, STORED, head, verdict, origin, this.#cookie(req));
        this.#stored(startedMs);
        break;
      case 'held':
        this.#measuredMs = this.#input.receivedMs;
        this.#countMended();
        this.#slots.pop();
        if (this.#slots.length === 0) this.#slots.push(new PixelSlot(this));
        slot.take(res, head, verdict, origin, this.#cookie(req), startedMs);
        res.onAborted(slot.aborting);
        break;
      case 'unknown':
        this.#measuredMs = this.#input.receivedMs;
        meters.unknown(1);
        this.answer(res, UNAVAILABLE, head, verdict, origin, '');
        break;
      case 'nothing': {
        const kind = this.#deps.encoder.result.code === 'UNAVAILABLE' ? UNAVAILABLE : IGNORED;
        this.answer(res, kind, head, verdict, origin, '');
        break;
      }
      case 'too_large':
        meters.rejected.event_too_large.add(1);
        this.answer(res, TOO_LARGE, head, verdict, origin, '');
        break;
      default:
        meters.refused[taken].add(1);
        this.answer(res, statusOfRefusal[taken] === 429 ? NO_ROOM : UNAVAILABLE, head, verdict, origin, '');
    }
  }

  /** The Set-Cookie line for the sid that the last encoding made; '' when it made none. */
  #cookie(req: HttpRequest): string {
    const { encoder, visitor } = this.#deps;
    const minted = encoder.result.mintedSid;
    return minted === '' ? '' : visitor.cookieLine(minted, visitor.overTls(req));
  }

  #countMended(): void {
    const { encoder, meters } = this.#deps;
    if (encoder.result.mended !== 0) meters.mended(encoder.result.mended);
  }

  #stored(startedMs: number): void {
    this.#unmeasured += 1;
    this.#deps.meters.stored(1, startedMs, this.#unmeasured);
    if (startedMs > 0) this.#unmeasured = 0;
  }

  /** Ends the response with the GIF. Corked: in the handler, or by the caller. */
  answer(
    res: HttpResponse,
    kind: GifAnswer,
    head: boolean,
    verdict: OriginVerdict,
    origin: string,
    cookie: string,
  ): void {
    const { wire, cors, tally, retryAfterS } = this.#deps;
    tally.answered(kind.status);
    // 200 OK is what the addon writes by itself.
    if (kind.status !== 200) res.writeStatus(kind.line);
    // One call for the whole block: each crossing to the addon costs.
    res.writeHeader(CONTENT_TYPE, kind.stored ? this.#storedHead : this.#head);
    if (kind.retry) res.writeHeader('Retry-After', String(retryAfterS));
    cors.writeOrigin(res, verdict, origin);
    if (cookie !== '') res.writeHeader('Set-Cookie', cookie);
    if (head) endBare(res, GIF.length, wire.closing);
    else res.end(GIF, wire.closing);
  }

  /** A held answer may leave. */
  settled(slot: PixelSlot, outcome: Outcome): void {
    const { meters } = this.#deps;
    if (outcome === 'unknown') meters.unknown(1);
    else if (slot.res === undefined) meters.gone(1);
    else this.#stored(slot.startedMs);
    if (slot.res !== undefined) slot.res.cork(outcome === 'stored' ? slot.answering : slot.failing);
    slot.res = undefined;
    this.#slots.push(slot);
  }

  dropped(slot: PixelSlot): void {
    this.#deps.intake.dropped(slot);
  }

  #forbid(res: HttpResponse, origin: string, head: boolean): void {
    const { meters, tally, cors, wire } = this.#deps;
    meters.rejected.origin.add(1);
    tally.answered(403);
    const headers = () => cors.write(res, 'foreign', origin);
    answerProblem(res, httpErrors.ORIGIN_FORBIDDEN, { origin: shown(origin) }, { headers, head, close: wire.closing });
  }
}

/** One answer that waits; reused, with its closures, so that waiting allocates nothing. */
class PixelSlot implements Answerable {
  /** Undefined: the connection is gone. */
  res: HttpResponse | undefined;
  startedMs = 0;
  readonly aborting: () => void;
  readonly answering: () => void;
  readonly failing: () => void;
  readonly #route: PixelRoute;
  #head = false;
  #verdict: OriginVerdict = 'none';
  #origin = '';
  #cookie = '';

  constructor(route: PixelRoute) {
    this.#route = route;
    this.aborting = () => {
      this.res = undefined;
      route.dropped(this);
    };
    this.answering = () => this.#answer(STORED, this.#cookie);
    this.failing = () => this.#answer(UNAVAILABLE, '');
  }

  take(
    res: HttpResponse,
    head: boolean,
    verdict: OriginVerdict,
    origin: string,
    cookie: string,
    startedMs: number,
  ): void {
    this.res = res;
    this.#head = head;
    this.#verdict = verdict;
    this.#origin = origin;
    this.#cookie = cookie;
    this.startedMs = startedMs;
  }

  settled(outcome: Outcome): void {
    this.#route.settled(this, outcome);
  }

  #answer(kind: GifAnswer, cookie: string): void {
    this.#route.answer(this.res!, kind, this.#head, this.#verdict, this.#origin, cookie);
  }
}
