/**
 * GET /api/sites/:id/live: server-sent events (HTML, 9.2) of what is going on at a site. All views of a site on this
 * acceptor are one question to the worker `live`, four times a second while any is open.
 *
 * Who may not look any more (a logout, a link that was ended) is told nothing from the next look on.
 *
 * Bounded: STREAMS_MAX streams; a client that does not read is dropped (http/reply-stream.ts); a drain ends all of
 * them.
 */
import type { HttpRequest } from 'uWebSockets.js';
import type { Cors } from '../../http/cors.ts';
import { httpErrors } from '../../http/errors.ts';
import { later } from '../../http/reply.ts';
import type { ReplyStream } from '../../http/reply-stream.ts';
import type { Route } from '../../http/router.ts';
import type { LiveTick } from '../api/contract.ts';
import type { Look, Looked } from './hub.ts';
import { LIVE_ROUTE, LIVE_WORKER } from './questions.ts';

const STREAMS_MAX = 500;
const TICK_MS = 250;
/** Between two signs of life: the server closes a connection that is silent for ten seconds. */
const SIGN_MS = 4000;
const ASK_MS_MAX = 2000;
/** Between two looks whether somebody may still look. */
const PERMIT_MS = 1000;
/** What EventSource waits before it asks again. */
const RETRY_MS = 2000;

export interface LiveDeps {
  ask(worker: string, question: Look, timeoutMs: number, effect: 'reads'): Promise<unknown>;
  permit(req: HttpRequest, siteId: string): Promise<Permitted>;
  /** All names of a site, as far as they are known. */
  names(siteId: string): readonly string[];
  readonly cors: Cors;
  /** How many streams are open. */
  told(streams: number): void;
}

/** Somebody who may look. */
export interface Permitted {
  /** Whether that still holds. */
  still(): Promise<boolean>;
}

/** The views of one site. */
interface Views {
  readonly names: readonly string[];
  readonly streams: Map<ReplyStream, Viewer>;
  since: number;
  /** What was sent last, without its events. */
  sent: string;
  sentMs: number;
  asking: boolean;
}

interface Viewer {
  readonly permitted: Permitted;
  /** Number of the last event that it was told of when it came; others of the site may be further behind. */
  newest: number;
}

const textOf = (tick: LiveTick): string => `event: live\ndata: ${JSON.stringify(tick)}\n\n`;

export class LiveViews {
  readonly #deps: LiveDeps;
  readonly #views = new Map<string, Views>();
  #streams = 0;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;
  #permitting = false;
  #permitMs = 0;

  constructor(deps: LiveDeps) {
    this.#deps = deps;
  }

  route(path: string, siteIn: (req: HttpRequest) => string): Route {
    const { cors } = this.#deps;
    const handler = later(async (reply, req) => {
      const siteId = siteIn(req);
      const permitted = await this.#deps.permit(req, siteId);
      if (!reply.open) return;
      if (this.#streams >= STREAMS_MAX || this.#ended) throw httpErrors.BACKPRESSURE({ reason: 'live_views' });
      const names = this.#deps.names(siteId);
      const first = (await this.#look(names, -1)) ?? undefined;
      if (first === undefined) throw httpErrors.BACKPRESSURE({ reason: 'live_sites' });
      const headers = { 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' };
      const stream = reply.stream(200, 'text/event-stream', headers, () => this.#remove(siteId, stream!));
      if (stream === undefined) return;
      const { newest, ...tick } = first;
      stream.write(`retry: ${RETRY_MS}\n${textOf(tick)}`);
      this.#add(siteId, names, stream, { permitted, newest });
    });
    return { name: LIVE_ROUTE, path, on: { GET: handler }, cors, streams: true, untraced: true };
  }

  #look(names: readonly string[], since: number): Promise<Looked | undefined> {
    return this.#deps.ask(LIVE_WORKER, { names, since }, ASK_MS_MAX, 'reads') as Promise<Looked | undefined>;
  }

  #add(siteId: string, names: readonly string[], stream: ReplyStream, viewer: Viewer): void {
    const found = this.#views.get(siteId);
    const views = found ?? { names, streams: new Map(), since: viewer.newest, sent: '', sentMs: 0, asking: false };
    this.#views.set(siteId, views);
    views.streams.set(stream, viewer);
    this.#streams += 1;
    this.#deps.told(this.#streams);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  #remove(siteId: string, stream: ReplyStream): void {
    const views = this.#views.get(siteId);
    if (views === undefined || !views.streams.delete(stream)) return;
    this.#streams -= 1;
    this.#deps.told(this.#streams);
    if (views.streams.size === 0) this.#views.delete(siteId);
    if (this.#streams > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    for (const views of this.#views.values()) if (!views.asking) void this.#tell(views);
    const now = performance.now();
    if (this.#permitting || now < this.#permitMs) return;
    this.#permitMs = now + PERMIT_MS;
    void this.#permitAgain();
  }

  async #permitAgain(): Promise<void> {
    this.#permitting = true;
    const all = [...this.#views].flatMap(([siteId, { streams }]) =>
      [...streams].map(([stream, { permitted }]) => ({ siteId, stream, permitted })),
    );
    const still = await Promise.all(all.map(({ permitted }) => permitted.still()));
    this.#permitting = false;
    for (const [i, { siteId, stream }] of all.entries())
      if (!still[i] && stream.open) this.#part(siteId, stream, 'this view is not permitted any more');
  }

  #part(siteId: string, stream: ReplyStream, reason: string): void {
    stream.write(`event: end\ndata: ${JSON.stringify(reason)}\n\n`);
    stream.end();
    this.#remove(siteId, stream);
  }

  async #tell(views: Views): Promise<void> {
    views.asking = true;
    try {
      const looked = await this.#look(views.names, views.since);
      if (looked === undefined) return;
      const { newest, ...tick } = looked;
      views.since = newest;
      const now = performance.now();
      const sums = `${tick.visitors} ${tick.events_per_second}`;
      if (tick.last.length === 0 && sums === views.sent && now - views.sentMs < SIGN_MS) return;
      views.sent = sums;
      views.sentMs = now;
      const text = textOf(tick);
      for (const [stream, viewer] of views.streams) {
        // Whoever is behind gets the next one; the stream drops who stays behind.
        if (stream.behind) continue;
        // Who has just come knows some of these; the first of them has the number `newest`.
        const fresh = tick.last.filter((_, i) => newest - i > viewer.newest);
        stream.write(fresh.length === tick.last.length ? text : textOf({ ...tick, last: fresh }));
      }
    } catch {
      // The worker is being started again: views stand still, and a silent connection is closed.
      views.since = -1;
      for (const viewer of views.streams.values()) viewer.newest = -1;
    } finally {
      views.asking = false;
    }
  }

  /** Ends every stream; EventSource then asks another server. */
  end(reason: string): void {
    this.#ended = true;
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const [siteId, { streams }] of this.#views) {
      for (const stream of [...streams.keys()]) this.#part(siteId, stream, reason);
    }
  }
}
