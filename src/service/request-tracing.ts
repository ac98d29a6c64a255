/**
 * Request tracing, in an acceptor. It stands around the routes, which know nothing of it: without an endpoint it is not there.
 *
 *   app     the two ingest routes get a handler that asks the sampler first; a request that is not sampled goes on as it came
 *   answer  of a sampled request: watched for its status and its end
 *   lane    while a sampled request encodes, its ids are put behind each record it commits
 *
 * Always true: `#current` is set only while code of one sampled request runs, so no other request's record gets its ids. A body that is
 * unpacked in another thread (large and compressed) is encoded outside of that: its request has a span, its events no link.
 * A span holds method, route and status: no address, no query, no id of a visitor.
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import type { Refusal } from '../engine/lane.ts';
import { EVENT_VERSION, TRACE_BYTES, TRACED_VERSION } from '../events/record.ts';
import { type SpanData, spanClock, type TraceContext, type TraceSampler } from '../kernel/tracing.ts';
import type { IntakeLane } from './intake.ts';

type Handler = (res: HttpResponse, req: HttpRequest) => void | Promise<void>;

const tracedRoutes: ReadonlySet<string> = new Set(['/px.gif', '/collect']);
const methods: Readonly<Record<string, string>> = { get: 'GET', head: 'HEAD', post: 'POST' };

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

  /** The app that the routes are mounted on. */
  app(inner: TemplatedApp): TemplatedApp {
    return new Proxy(inner, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        const method = methods[String(name)];
        return (...words: unknown[]) => {
          const [path, handler] = words as [string, Handler];
          const traced = method !== undefined && tracedRoutes.has(path);
          const result: unknown = traced
            ? member.call(target, path, this.#handler(method, path, handler))
            : member.apply(target, words);
          return result;
        };
      },
    });
  }

  #handler(method: string, route: string, handler: Handler): Handler {
    return (res, req) => {
      const context = this.#sampler.sample(req.getHeader('traceparent'));
      if (context === undefined) return handler(res, req);
      const ids = Buffer.from(context.traceId + context.spanId, 'hex');
      const within = (call: () => void): void => {
        this.#current = ids;
        try {
          call();
        } finally {
          this.#current = undefined;
        }
      };
      const watched = this.#watch(res, context, method, route, within);
      within(() => void handler(watched, req));
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
    const startMs = spanClock();
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
        endMs: spanClock(),
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

/** A lane that puts the ids of the request that encodes now behind its records. */
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
