/**
 * Answering: how the answer of one exchange is written, once.
 *
 *   inside the handler   written at once
 *   afterwards           corked; the answer to a chunked request waits for the next turn of the loop
 *   last answer          of its connection: says Connection: close. While its request is still on its way a refusal
 *                        lingers (http/lingering.ts), and any other answer waits
 */
import type { HttpResponse } from 'uWebSockets.js';
import { endBare, statusLine } from '../../http/answer.ts';
import type { OriginVerdict } from '../../http/cors.ts';
import type { MountedRoute } from '../../http/handlers.ts';
import { writeLast } from '../../http/lingering.ts';
import { wireText } from '../../http/wire-text.ts';
import type { Verdict, Window } from '../limits/limiter.ts';
import { AnswerBody, type AnswerHooks } from './answer-body.ts';
import { type BodyKeep, type BodyWriter, type Headers, headerLines, nowhere } from './exchange.ts';
import { limitLines } from './limit-headers.ts';
import type { Refusal } from './refusal.ts';

const REQUEST_ID = wireText('X-Request-Id');
/** Larger answers go out as a client reads them; smaller ones fit any socket's buffer. */
export const WHOLE_BYTES_MAX: number = 16 * 1024;

const statusTexts = new Map<number, ArrayBuffer>();

function statusText(status: number): ArrayBuffer {
  let text = statusTexts.get(status);
  if (text === undefined) {
    text = wireText(statusLine(status));
    statusTexts.set(status, text);
  }
  return text;
}

/** Whose answer it is. */
export interface Answered {
  readonly requestId: string;
  /** By the wall clock. */
  readonly receivedMs: number;
  readonly origin: string;
  readonly originVerdict: OriginVerdict;
  /**
   * There is an answer now. True: the request is still on its way and its connection closes behind the answer, which
   * waits for the rest: a refusal by linger(), any other by passed().
   */
  begins(): boolean;
  /** Calls `then` when the last byte of the request has come. */
  passed(then: () => void): void;
  /** A refusal is written, and nothing ends its response. */
  linger(res: HttpResponse): void;
  /** The answer has ended; so many bytes of its body went out. */
  ended(bytes: number): void;
  /** The client does not keep up for now. */
  slow(): void;
}

export class Answering implements AnswerHooks {
  readonly #of: Answered;
  readonly #at: MountedRoute;
  readonly #chunked: boolean;
  /** Undefined: ended, or the client has gone. */
  #res: HttpResponse | undefined;
  #windows: readonly Window[] | undefined = undefined;
  #verdict: Verdict | undefined = undefined;
  /** Of the answer (headerLines). */
  #lines = '';
  #lingers = false;
  #body: AnswerBody | undefined = undefined;
  /** Of the answer; 0: there is none yet. */
  status = 0;
  /** When its body began, by performance.now(). */
  bodyMs = 0;
  inHandler = true;
  /** It is the last answer of its connection. */
  last: boolean;
  /** The time of the request is over: a second answer is no defect. */
  late = false;

  constructor(of: Answered, res: HttpResponse, at: MountedRoute) {
    this.#of = of;
    this.#res = res;
    this.#at = at;
    // What follows a chunked body must never be read as a request (guards.ts).
    this.#chunked = at.framing.chunked;
    this.last = this.#chunked;
  }

  get res(): HttpResponse | undefined {
    return this.#res;
  }

  get body(): AnswerBody | undefined {
    return this.#body;
  }

  // No getter: one of a hot path is a call of the runtime each time.
  closes(): boolean {
    return this.last || this.#at.wire.closing;
  }

  limited(windows: readonly Window[], verdict: Verdict | undefined): void {
    this.#windows = windows;
    this.#verdict = verdict;
  }

  whole(status: number, headers: Headers | string, body?: string | Uint8Array, keep?: () => BodyKeep): void {
    if (!this.#begin(status)) return;
    this.#lines = typeof headers === 'string' ? headers : headerLines(headers);
    this.#send((res) => {
      if (body === undefined || body.length === 0 || this.#at.head) {
        this.head(res);
        this.#end(0);
        if (bodiless(status)) endBare(res, undefined, this.closes());
        else if (this.#at.head) endBare(res, body === undefined ? 0 : Buffer.byteLength(body), this.closes());
        else res.end('', this.closes());
        return;
      }
      if (typeof body !== 'string' && body.length > WHOLE_BYTES_MAX) {
        this.#large(res, body, keep);
        return;
      }
      this.head(res);
      this.#end(typeof body === 'string' ? Buffer.byteLength(body) : body.length);
      res.end(body, this.closes());
    });
  }

  /** Begins an answer whose body comes in pieces. */
  stream(status: number, headers: Headers | string, length: number | undefined): BodyWriter {
    const res = this.#res;
    if (!this.#begin(status) || res === undefined) return nowhere;
    this.#lines = typeof headers === 'string' ? headers : headerLines(headers);
    if (this.#at.head || bodiless(status)) {
      this.#send((res) => {
        this.head(res);
        this.#end(0);
        endBare(res, bodiless(status) ? undefined : length, this.closes());
      });
      return nowhere;
    }
    const body = this.#stream(res, length);
    if (this.#lingers) {
      body.hold();
      this.#of.passed(() => setImmediate(() => body.release()));
    }
    return body;
  }

  refuse({ status, body, lines }: Refusal, headers: Headers = []): void {
    if (!this.#begin(status)) return;
    const lingers = this.#lingers && !this.#at.head;
    this.#send((res) => {
      this.#writeHead(res, headers.length === 0 ? lines : headerLines(headers) + lines);
      if (lingers) {
        const bytes = writeLast(res, Buffer.from(body).toString(), new Date(this.#of.receivedMs));
        this.#of.linger(res);
        this.#end(bytes);
        return;
      }
      const { head } = this.#at;
      const close = this.closes();
      this.#end(head ? 0 : body.byteLength);
      if (head) endBare(res, body.byteLength, close);
      else res.end(body, close);
    }, lingers);
  }

  /** The client has gone. Returns the bytes of the body that went out. */
  gone(): number {
    this.#res = undefined;
    return this.#body?.sent ?? 0;
  }

  // AnswerHooks.

  /** Status and headers of the answer. */
  head(res: HttpResponse): void {
    this.#writeHead(res, this.#lines);
  }

  slow(): void {
    this.#of.slow();
  }

  done(): void {
    this.#end(this.#body?.sent ?? 0);
  }

  broken(reason: string): void {
    this.#at.faults.report(new TypeError(`${reason}: route=${this.#at.name}`));
  }

  /**
   * Status, headers that every answer has, and `lines`: further ones, each behind the end of the line before. All of
   * them are one text, because each crossing to the addon costs a tenth of a microsecond.
   */
  #writeHead(res: HttpResponse, lines: string): void {
    // Without a status the addon writes 200.
    if (this.status !== 200) res.writeStatus(statusText(this.status));
    const { cors } = this.#at;
    const { requestId, receivedMs, origin, originVerdict } = this.#of;
    const verdict = this.#verdict;
    let text = cors?.varies === true ? `${requestId}\r\nVary: Origin` : requestId;
    if (verdict !== undefined) text += limitLines(this.#windows!, verdict, receivedMs);
    res.writeHeader(REQUEST_ID, text + lines);
    if (originVerdict !== 'none') cors?.writeOrigin(res, originVerdict, origin);
  }

  /** True: this is the answer. */
  #begin(status: number): boolean {
    if (this.status !== 0 && !this.late && this.#res !== undefined)
      this.#at.faults.report(
        new TypeError(`a request must be answered once: route=${this.#at.name}, second=${status}`),
      );
    if (this.status !== 0 || this.#res === undefined) return false;
    this.status = status;
    this.#lingers = this.#of.begins();
    return true;
  }

  /** `lingers`: nothing that follows the request is handled, although the response is not ended in the next turn. */
  #send(write: (res: HttpResponse) => void, lingers = false): void {
    const res = this.#res!;
    const later = () =>
      setImmediate(() => {
        if (this.#res === res) res.cork(() => write(res));
      });
    if (this.#lingers && !lingers) this.#of.passed(later);
    else if (!this.inHandler) res.cork(() => write(res));
    else if (this.#chunked && !lingers) later();
    else write(res);
  }

  /** Most sockets take all of it at once; the rest goes out as the client reads. */
  #large(res: HttpResponse, body: Uint8Array, keep: (() => BodyKeep) | undefined): void {
    if (this.closes()) {
      this.#stream(res, body.length).whole(body, keep);
      return;
    }
    this.head(res);
    if (res.tryEnd(body, body.length)[1]) this.#end(body.length);
    else this.#stream(res, body.length).goOn(body, res.getWriteOffset(), keep);
  }

  #stream(res: HttpResponse, length: number | undefined): AnswerBody {
    this.bodyMs = performance.now();
    // The addon must not handle what stands behind a chunked body; its connection closes behind this answer anyway.
    const body = new AnswerBody(res, this, length, this.closes());
    this.#body = body;
    return body;
  }

  #end(bytes: number): void {
    this.#res = undefined;
    this.#of.ended(bytes);
  }
}

const bodiless = (status: number): boolean => status === 204 || status === 304;
