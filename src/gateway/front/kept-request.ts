/**
 * Kept request: what a request says, for when its decision comes after the handler has returned. The addon's own dies
 * with the handler.
 */
import type { HttpRequest } from 'uWebSockets.js';
import type { MountedRoute } from '../../http/handlers.ts';

const text = (name: Parameters<HttpRequest['getHeader']>[0]): string =>
  typeof name === 'string' ? name : Buffer.from(name as ArrayBuffer).toString('latin1');

/** Call inside the handler. */
export function keepRequest(req: HttpRequest, at: MountedRoute): HttpRequest {
  const headers: (readonly [string, string])[] = [];
  const byName = new Map<string, string>();
  req.forEach((key, value) => {
    headers.push([key, value]);
    if (!byName.has(key)) byName.set(key, req.getHeader(key));
  });
  const names = [...at.path.matchAll(/:(\w+)/g)].map(([, name]) => name!);
  const parameters = names.map((_, i) => req.getParameter(i));
  const url = req.getUrl();
  const query = req.getQuery();
  const method = req.getMethod();
  const exact = req.getCaseSensitiveMethod();
  const kept: HttpRequest = {
    getHeader: (name) => byName.get(text(name)) ?? '',
    getParameter: (index) => parameters[typeof index === 'number' ? index : names.indexOf(text(index))],
    getUrl: () => url,
    getMethod: () => method,
    getCaseSensitiveMethod: () => exact,
    getQuery: ((key?: string) =>
      key === undefined ? query : (new URLSearchParams(query).get(key) ?? undefined)) as HttpRequest['getQuery'],
    forEach: (call) => {
      for (const [key, value] of headers) call(key, value);
    },
    setYield: () => kept,
  };
  return kept;
}
