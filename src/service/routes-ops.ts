/**
 * What operators and their machines ask: /healthz, /readyz, /metrics, /robots.txt. Answered by any acceptor from shared memory; no
 * thread is asked, none waits. No cookie, no record.
 *
 *   /healthz               200: this process answers. For a liveness probe: it says nothing of disks or sinks
 *   /readyz                200 when every thread is up, there is room and every sink is connected; else 503 with what is missing
 *   /readyz?sinks=ignore   judges intake alone, and still lists the sinks. For load balancers: with a journal a sink's outage must not take
 *                          the collectors away, for they are what holds the events until the sink is back
 */
import type { HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { endBare, statusLine, type Wire } from '../http/answer.ts';
import type { Handler } from '../http/handlers.ts';

/** Something that is not as it should be. */
export interface Missing {
  /** 'acceptor-1', 'keeper', 'journal', 'kafka'. */
  readonly part: string;
  readonly reason: string;
}

export interface Readiness {
  /** What keeps events from being taken. */
  readonly intake: readonly Missing[];
  /** Sinks that are not connected, or have stopped. */
  readonly sinks: readonly Missing[];
}

export interface OpsSource {
  readiness(): Readiness;
  /** The text of /metrics. */
  metrics(): Promise<string>;
}

const PLAIN = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';

/** Puts the routes on an app. `guard` counts, and catches what they throw. */
export function opsRoutes(
  app: TemplatedApp,
  source: OpsSource,
  wire: Wire,
  guard: (handler: Handler) => Handler,
): void {
  const both = (path: string, handler: Handler) => {
    app.get(path, guard(handler));
    app.head(path, guard(handler));
  };
  both('/healthz', (res, req) => {
    answer(res, 200, PLAIN, 'ok\n', req.getMethod() === 'head', wire);
  });
  both('/readyz', (res, req) => {
    const { intake, sinks } = source.readiness();
    const judged = req.getQuery('sinks') === 'ignore' ? intake : [...intake, ...sinks];
    const ready = judged.length === 0;
    const body = `${JSON.stringify({ status: ready ? 'ready' : 'not ready', missing: judged, sinks })}\n`;
    answer(res, ready ? 200 : 503, JSON_TYPE, body, req.getMethod() === 'head', wire);
  });
  const scrape = new Scrape(source);
  both('/metrics', (res, req) => {
    const head = req.getMethod() === 'head';
    let gone = false;
    res.onAborted(() => {
      gone = true;
    });
    scrape.text().then(
      (text) => {
        if (!gone) res.cork(() => answer(res, 200, 'text/plain; version=0.0.4; charset=utf-8', text, head, wire));
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        if (!gone) res.cork(() => answer(res, 500, PLAIN, `no metrics: ${reason}\n`, head, wire));
      },
    );
  });
}

/** A text serves all who ask within this many times what it cost: a flood of scrapes takes a tenth of a core, not all of it. */
const SHARE = 10;

class Scrape {
  readonly #source: OpsSource;
  #text: Promise<string> | undefined;

  constructor(source: OpsSource) {
    this.#source = source;
  }

  text(): Promise<string> {
    if (this.#text !== undefined) return this.#text;
    const started = performance.now();
    const text = this.#source.metrics();
    this.#text = text;
    const forget = () => {
      this.#text = undefined;
    };
    text.then(() => void setTimeout(forget, SHARE * (performance.now() - started)).unref(), forget);
    return text;
  }
}

/** Crawlers that meet a pixel are to leave it alone. */
export function robotsRoute(app: TemplatedApp, wire: Wire, guard: (handler: Handler) => Handler): void {
  const handler = guard((res, req) => {
    answer(res, 200, PLAIN, 'User-agent: *\nDisallow: /\n', req.getMethod() === 'head', wire);
  });
  app.get('/robots.txt', handler);
  app.head('/robots.txt', handler);
}

function answer(res: HttpResponse, status: number, type: string, body: string, head: boolean, wire: Wire): void {
  res.writeStatus(statusLine(status));
  res.writeHeader('Content-Type', type);
  res.writeHeader('Cache-Control', 'no-store');
  if (head) endBare(res, Buffer.byteLength(body), wire.closing);
  else res.end(body, wire.closing);
}
