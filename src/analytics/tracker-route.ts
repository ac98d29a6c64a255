/**
 * Tracker route: the script that pages load (web/tracker/), at TRACKER_PATH. It is built once for all; the path that it
 * sends to is put in here.
 *
 *   any page    may load it, also one that isolates itself (CORP) or checks its hash (CORS)
 *   caching     an hour without a question, a day more while the new one is fetched; then 304 by its ETag
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { readFileSync } from 'node:fs';
import { endBare, statusLine } from '../http/answer.ts';
import { chosen, isFresh, variantsOf } from '../http/assets.ts';
import { endWhole } from '../http/hold-back.ts';
import type { MountedRoute, Route } from '../http/router.ts';
import { TRACKER_ROUTE } from './api/names.ts';
import { EVENTS_PATH } from './config.ts';

const CACHE = 'public, max-age=3600, stale-while-revalidate=86400';

export function trackerRoute(path: string, eventsPath: string): Route {
  const built = readFileSync(new URL('tracker/ringmain.js', import.meta.url), 'utf8');
  const parts = built.split(JSON.stringify(EVENTS_PATH));
  if (parts.length !== 2) throw new Error(`the tracker must name ${EVENTS_PATH} once: found=${parts.length - 1}`);
  const script = { variants: variantsOf(Buffer.from(parts.join(JSON.stringify(eventsPath))), true) };
  const serve = (res: HttpResponse, req: HttpRequest, { tally, wire, head }: MountedRoute) => {
    const variant = chosen(script, req.getHeader('accept-encoding'));
    const fresh = isFresh(req.getHeader('if-none-match'), variant.etag);
    const status = fresh ? 304 : 200;
    tally.answered(status);
    res.writeStatus(statusLine(status));
    res.writeHeader('ETag', variant.etagHeader);
    res.writeHeader('Cache-Control', CACHE);
    res.writeHeader('Vary', 'Accept-Encoding');
    res.writeHeader('Access-Control-Allow-Origin', '*');
    res.writeHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    if (fresh) {
      endBare(res, undefined, wire.closing);
      return;
    }
    res.writeHeader('Content-Type', 'text/javascript; charset=utf-8');
    res.writeHeader('X-Content-Type-Options', 'nosniff');
    if (variant.encoding !== '') res.writeHeader('Content-Encoding', variant.encoding);
    if (head) endBare(res, variant.bytes.length, wire.closing);
    else endWhole(res, variant.bytes, wire.closing, wire.onClose);
  };
  return { name: TRACKER_ROUTE, path, on: { GET: serve, HEAD: serve }, untraced: true };
}
