/**
 * Ops routes: what operators and their machines ask. Any acceptor answers from shared memory; no thread is asked,
 * nothing waits. No cookie, no record.
 *
 *   /healthz               200: this process answers. For a liveness probe: says nothing of disks or sinks
 *   /readyz                200 when every thread is up, there is room and every sink is connected; else 503 with what
 *                          is missing. `parts` lists every thread, sink and lane with its state, also when all is well
 *   /readyz?sinks=ignore   judges intake alone, and still lists the sinks. For load balancers: with a journal the
 *                          outage of a sink must not take the collectors away, because they hold the events until the
 *                          sink is back
 *   /health, /ready        other names of /healthz and /readyz
 *   /metrics               the text of Prometheus; METRICS_ENABLED=false leaves it out
 */
import type { HttpResponse } from 'uWebSockets.js';
import { answerBody } from '../http/answer.ts';
import type { Handler, MountedRoute, Route } from '../http/router.ts';
import { readinessBody } from './schemas.generated.ts';
import type { Missing, Part } from './schemas.ts';

export interface OpsSource {
  /** Every part there is, well or not. */
  readiness(): readonly Part[];
  /** The text of /metrics. */
  metrics(): Promise<string>;
}

const PLAIN = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * Every answer counts as 2xx but a failed /metrics: a red /readyz is a true answer, and an alert on 5xx must not fire
 * for it.
 */
function answer(res: HttpResponse, at: MountedRoute, status: number, type: string, body: string): void {
  const tally = status === 503 ? { answered: () => at.tally.answered(200) } : at.tally;
  answerBody(res, { head: at.head, wire: at.wire, tally }, status, type, body);
}

const missingOf = (parts: readonly Part[]): readonly Missing[] =>
  parts.filter(({ state }) => state !== 'up').map(({ part, state, reason = state }) => ({ part, reason }));

/** The routes of one source, to be mounted on SERVER_ADDR or on ADMIN_ADDR. */
export function opsRoutes(source: OpsSource, metricsEnabled = true): readonly Route[] {
  const scrape = new Scrape(source);
  const route = (path: string, handler: Handler): Route => ({
    name: 'ops',
    path,
    on: { GET: handler, HEAD: handler },
    untraced: true,
  });
  const healthy: Handler = (res, _req, at) => answer(res, at, 200, PLAIN, 'ok\n');
  const ready: Handler = (res, req, at) => {
    const parts = source.readiness();
    const sinks = missingOf(parts.filter(({ kind }) => kind === 'sink'));
    const intake = missingOf(parts.filter(({ kind }) => kind !== 'sink'));
    const missing = req.getQuery('sinks') === 'ignore' ? intake : [...intake, ...sinks];
    const isReady = missing.length === 0;
    const body = readinessBody({ status: isReady ? 'ready' : 'not ready', missing, sinks, parts });
    answer(res, at, isReady ? 200 : 503, JSON_TYPE, `${body}\n`);
  };
  const routes = [
    ...['/healthz', '/health'].map((path) => route(path, healthy)),
    ...['/readyz', '/ready'].map((path) => route(path, ready)),
  ];
  if (!metricsEnabled) return routes;
  const metrics: Handler = (res, _req, at) => {
    let gone = false;
    res.onAborted(() => {
      gone = true;
    });
    scrape.text().then(
      (text) => {
        if (!gone) res.cork(() => answer(res, at, 200, METRICS_TYPE, text));
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        if (!gone) res.cork(() => answer(res, at, 500, PLAIN, `no metrics: ${reason}\n`));
      },
    );
  };
  return [...routes, route('/metrics', metrics)];
}

/**
 * A text is answered again for this many times the time that it took to make: a flood of scrapes takes a tenth of a
 * core, not all of it.
 */
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
