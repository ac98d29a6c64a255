/**
 * Request tracing, in an acceptor. The routes know nothing of it, and without an endpoint for spans it does not exist.
 *
 *   traced   a handler with a span around it. It asks the sampler first; a request that is not sampled goes to the
 *            handler as it came
 *   answer   of a sampled request: watched for its status and its end
 *   lane     while a sampled request encodes, its ids are written behind each record that it commits
 *
 * Always true: `#current` is set only while code of one sampled request runs, so no other request's record gets its
 * ids. A large compressed body is unpacked in another thread and encoded outside of its request's handler: the request
 * has a span, its events have no link. A span holds method, route and status: no address, no query, no id of a visitor.
 */
import type { HttpResponse } from 'uWebSockets.js';
import type { Refusal } from '../engine/refusal.ts';
import { EVENT_VERSION, TRACE_BYTES, TRACED_VERSION } from '../events/record.ts';
import type { Handler, Method } from '../http/router.ts';
import { beginSpan, type SpanData, type TraceContext, type TraceSampler } from '../kernel/tracing.ts';
import type { IntakeLane } from './intake.ts';

export class RequestTracing {
  readonly #sampler: TraceSampler;
  readonly #report: (span: SpanData) => void;
  #current: Buffer | undefined;

  constructor(sampler: TraceSampler, report: (span: SpanData) => void) {
    this.#sampler = sampler;
    this.#report = report;
  }

  /** The lane that the routes write to. */
  lane(inner: IntakeLane): IntakeLane {
    return new TracedLane(inner, () => this.#current);
  }

  /** The handler with a span around it. */
  traced(method: Method, path: string, handler: Handler): Handler {
    return (res, req, at) => {
      const context = this.#sampler.sample(req.getHeader('traceparent'));
      if (context === undefined) return handler(res, req, at);
      const ids = Buffer.from(context.traceId + context.spanId, 'hex');
      const within = (call: () => void): void => {
        this.#current = ids;
        try {
          call();
        } finally {
          this.#current = undefined;
        }
      };
      const watched = this.#watch(res, context, method, path, within);
      let result: unknown;
      within(() => {
        result = handler(watched, req, at);
      });
      // A promise goes on to the router, which answers for its rejection.
      return result as undefined;
    };
  }

  /** The response, watched: its first status line is the span's status, its end the span's end. */
  #watch(
    res: HttpResponse,
    context: TraceContext,
    method: string,
    route: string,
    within: (call: () => void) => void,
  ): HttpResponse {
    const { startMs, endMs } = beginSpan();
    let status = 200;
    let ended = false;
    const end = (gone: boolean): void => {
      if (ended) return;
      ended = true;
      const attributes = { 'http.request.method': method, 'http.route': route };
      this.#report({
        name: `${method} ${route}`,
        kind: 'server',
        context,
        startMs,
        endMs: endMs(),
        failed: gone || status >= 500,
        attributes: gone
          ? { ...attributes, 'error.type': 'aborted' }
          : { ...attributes, 'http.response.status_code': status },
        links: [],
      });
    };
    const watched: HttpResponse = new Proxy(res, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        if (name === 'onData')
          return (take: (chunk: ArrayBuffer, last: boolean) => void) => {
            target.onData((chunk, last) => within(() => take(chunk, last)));
            return watched;
          };
        if (name === 'onAborted')
          return (gone: () => void) => {
            target.onAborted(() => {
              end(true);
              gone();
            });
            return watched;
          };
        return (...words: unknown[]) => {
          if (name === 'writeStatus') status = Number.parseInt(String(words[0]), 10);
          else if (name === 'end' || name === 'endWithoutBody') end(false);
          const result: unknown = member.apply(target, words);
          return result === target ? watched : result;
        };
      },
    });
    return watched;
  }
}

/** Writes the ids of the sampled request that encodes now behind each of its records. */
class TracedLane implements IntakeLane {
  readonly #inner: IntakeLane;
  readonly #ids: () => Buffer | undefined;

  constructor(inner: IntakeLane, ids: () => Buffer | undefined) {
    this.#inner = inner;
    this.#ids = ids;
  }

  get buffer(): Buffer {
    return this.#inner.buffer;
  }
  get draftBytesMax(): number {
    return this.#inner.draftBytesMax;
  }
  refusal(bytes: number): Refusal | undefined {
    return this.#inner.refusal(bytes);
  }
  mark(): number {
    return this.#inner.mark();
  }
  rewind(mark: number): void {
    this.#inner.rewind(mark);
  }
  begin(bytesMax: number): number {
    return this.#inner.begin(this.#ids() === undefined ? bytesMax : bytesMax + TRACE_BYTES);
  }
  commit(end: number, kind: number, version: number): void {
    const ids = this.#ids();
    if (ids === undefined) {
      this.#inner.commit(end, kind, version);
      return;
    }
    ids.copy(this.#inner.buffer, end);
    this.#inner.commit(end + TRACE_BYTES, kind, (version & ~EVENT_VERSION) | TRACED_VERSION);
  }
}
