/**
 * Hop headers: which headers end at this connection (RFC 9110, 7.6.1), and which frame a message (RFC 9112, 6). None of
 * them travels in either direction: each side frames what it sends by itself.
 */
const hop = new Set([
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** What the gateway itself is asked with; no backend may see it. */
const own = new Set(['authorization', 'cookie', 'host', 'x-api-key']);

/** Headers that a Connection header names: they end at this connection, too. */
export const namesOf = (connection: string): ReadonlySet<string> =>
  new Set(connection.split(',').map((name) => name.trim().toLowerCase()));

/** Whether a backend may have a header of a request; `name` in lower case. */
export const isSentOn = (name: string): boolean => !hop.has(name) && !own.has(name);

type Headers = readonly (readonly [name: string, value: string])[];

/** Headers of an answer, as a client may have them; names in lower case. */
export function answerHeaders(headers: Headers): Headers {
  let also: Set<string> | undefined;
  for (const [name, value] of headers) if (name === 'connection') also = new Set([...(also ?? []), ...namesOf(value)]);
  return headers.filter(([name]) => !hop.has(name) && also?.has(name) !== true);
}
