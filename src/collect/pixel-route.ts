/**
 * GET|HEAD /px.gif: one request, one event, one transparent GIF. The hot path of the product: nothing is allocated here but what the addon
 * gives (strings of headers) and takes.
 *
 * Every well-formed request gets the GIF, also one that is refused (429, 503) or too large (413): no page shows a broken image. Only bad
 * framing (400) and a foreign origin (403) get a problem instead. Conditional and range headers are not looked at: each request is a view.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Refusal } from '../engine/lane.ts';
import type { PixelEncoder, PixelInput } from '../events/pixel-encoder.ts';
import { answerProblem, endBare, shown, statusLine, type Wire } from '../http/answer.ts';
import type { Cors, OriginVerdict } from '../http/cors.ts';
import { framingOf, hasFraming, refuseFraming } from '../http/guards.ts';
import { asked, CONTENT_TYPE, wireText } from '../http/wire-text.ts';
import {
  type AckLevel,
  type Answerable,
  type IntakeAcknowledger,
  type IntakeLane,
  mayEncodeAgain,
  type Outcome,
} from '../service/intake.ts';
import type { IngestMeters } from '../service/intake-meters.ts';
import type { Visitor } from '../visitor/visitor.ts';

/** A transparent pixel: 43 bytes, GIF89a, with its trailer byte. */
export const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');

/** A kind of answer: each has the GIF. */
interface Reply {
  readonly status: number;
  readonly line: string;
  /** Says by Ringmain-Ack what was promised. */
  readonly stored: boolean;
  /** Says by Retry-After when to come again. */
  readonly retry: boolean;
}
const reply = (status: number, stored: boolean, retry: boolean): Reply => ({
  status,
  line: statusLine(status),
  stored,
  retry,
});
const STORED = reply(200, true, false);
const IGNORED = reply(200, false, false);
const TOO_LARGE = reply(413, false, false);
const NO_ROOM = reply(429, false, true);
/** Not to be stored here before an operator comes, or nobody knows. */
const UNAVAILABLE = reply(503, false, true);

/** What a browser must not keep: each view is a request. */
const NO_STORE = 'no-store, no-cache, must-revalidate, max-age=0';
/** The value of Content-Type and the constant headers behind it; the addon writes values as they are. */
const HEAD_TEXT = `image/gif\r\nCache-Control: ${NO_STORE}\r\nPragma: no-cache\r\nExpires: 0`;
const HEAD = wireText(HEAD_TEXT);

export interface PixelRouteDeps {
  readonly lane: IntakeLane;
  readonly acknowledger: IntakeAcknowledger;
  readonly encoder: PixelEncoder;
  readonly visitor: Visitor;
  readonly cors: Cors;
  readonly meters: IngestMeters;
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
  readonly #slots: PixelSlot[] = [];
  readonly #storedHead: ArrayBuffer;
  /** Time of the last request whose latency was measured: one per ms is enough, it stands for those since the last. */
  #measuredMs = 0;
  #unmeasured = 0;
  readonly #input: PixelInput = {
    query: '',
    referer: '',
    userAgent: '',
    ip: '',
    cookieSid: '',
    mintSid: false,
    anonymous: false,
    geo: undefined,
    device: undefined,
    receivedMs: 0,
    source: 0,
  };

  constructor(deps: PixelRouteDeps) {
    this.#deps = deps;
    this.#input.source = deps.source;
    this.#storedHead = wireText(`${HEAD_TEXT}\r\nRingmain-Ack: ${deps.level}`);
  }

  handle(res: HttpResponse, req: HttpRequest, head: boolean): void {
    const { visitor, cors, meters, lane, acknowledger, encoder, now } = this.#deps;
    if (hasFraming(req)) {
      // A body on a GET means nothing and is skipped; only its framing must be beyond doubt.
      const framing = framingOf(req);
      if (framing.bad !== undefined || framing.chunked) {
        meters.rejected.framing.add(1);
        meters.answered(400);
        refuseFraming(res, framing.bad ?? 'a GET must not have a chunked body');
        return;
      }
    }
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

    const full = lane.refusal(0);
    if (full !== undefined) {
      this.#refuse(res, full, head, verdict, origin);
      return;
    }
    let mark = lane.mark();
    let code: 'OK' | 'EVENT_TOO_LARGE';
    try {
      code = encoder.encode(lane, input).code;
    } catch (error) {
      if (mayEncodeAgain(error, mark, lane, acknowledger, 0)) {
        mark = lane.mark();
        code = this.#encodeAlone(mark);
      } else code = 'EVENT_TOO_LARGE';
    }
    if (code !== 'OK') {
      meters.rejected.event_too_large.add(1);
      this.answer(res, TOO_LARGE, head, verdict, origin, '');
      return;
    }
    const refusal = lane.refusal(0);
    if (refusal !== undefined) {
      lane.rewind(mark);
      this.#refuse(res, refusal, head, verdict, origin);
      return;
    }
    const minted = encoder.result.mintedSid;
    const cookie = minted === '' ? '' : visitor.cookieLine(minted, visitor.overTls(req));
    this.#measuredMs = receivedMs;
    this.#settle(res, head, verdict, origin, cookie, startedMs);
  }

  /** The event did not fit behind those of other requests. */
  #encodeAlone(mark: number): 'OK' | 'EVENT_TOO_LARGE' {
    const { lane, acknowledger, encoder } = this.#deps;
    try {
      return encoder.encode(lane, this.#input).code;
    } catch (error) {
      mayEncodeAgain(error, mark, lane, acknowledger, 1);
      return 'EVENT_TOO_LARGE';
    }
  }

  #settle(
    res: HttpResponse,
    head: boolean,
    verdict: OriginVerdict,
    origin: string,
    cookie: string,
    startedMs: number,
  ): void {
    const { acknowledger, level, meters } = this.#deps;
    const when = acknowledger.settle(level);
    if (when === 'now') {
      this.answer(res, STORED, head, verdict, origin, cookie);
      this.#stored(startedMs);
    } else if (when === 'later') {
      const slot = this.#slots.pop() ?? new PixelSlot(this);
      slot.take(res, head, verdict, origin, cookie, startedMs);
      res.onAborted(slot.aborting);
      acknowledger.hold(level, slot);
    } else {
      meters.unknown(1);
      this.answer(res, UNAVAILABLE, head, verdict, origin, '');
    }
  }

  #stored(startedMs: number): void {
    this.#unmeasured += 1;
    this.#deps.meters.stored(1, startedMs, this.#unmeasured);
    if (startedMs > 0) this.#unmeasured = 0;
  }

  /** Ends the response with the GIF. Corked: in the handler, or by the caller. */
  answer(res: HttpResponse, kind: Reply, head: boolean, verdict: OriginVerdict, origin: string, cookie: string): void {
    const { wire, cors, meters, retryAfterS } = this.#deps;
    meters.answered(kind.status);
    // 200 OK is what the addon writes by itself.
    if (kind.status !== 200) res.writeStatus(kind.line);
    // One call for the whole block: each crossing to the addon costs.
    res.writeHeader(CONTENT_TYPE, kind.stored ? this.#storedHead : HEAD);
    if (kind.retry) res.writeHeader('Retry-After', String(retryAfterS));
    cors.write(res, verdict, origin);
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
    this.#deps.acknowledger.dropped(slot);
  }

  #refuse(res: HttpResponse, refusal: Refusal, head: boolean, verdict: OriginVerdict, origin: string): void {
    const kind = this.#deps.meters.refuse(refusal) === 429 ? NO_ROOM : UNAVAILABLE;
    this.answer(res, kind, head, verdict, origin, '');
  }

  #forbid(res: HttpResponse, origin: string, head: boolean): void {
    const { meters, cors, wire } = this.#deps;
    meters.rejected.origin.add(1);
    meters.answered(403);
    const headers = () => cors.write(res, 'foreign', origin);
    answerProblem(res, 'ORIGIN_FORBIDDEN', { origin: shown(origin) }, { headers, head, close: wire.closing });
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

  #answer(kind: Reply, cookie: string): void {
    this.#route.answer(this.res!, kind, this.#head, this.#verdict, this.#origin, cookie);
  }
}
