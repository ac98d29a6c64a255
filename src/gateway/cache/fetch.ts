/** What goes to a backend for a picture, and what comes back when it is not for the cache: in pieces, for one client. */
import { gatewayErrors } from '../errors.ts';
import { type BodyWriter, type Exchange, headerLines } from '../front/exchange.ts';
import type { Upstream, UpstreamAnswer, UpstreamFlow } from '../proxy/upstream.ts';
import { passedHeaders } from './entry.ts';

/** What goes to the backend for a picture. */
export interface PictureRequest {
  /** What the cache knows it by: its path, and what of Accept matters. */
  readonly key: string;
  /** Of the key (disk.ts). */
  readonly hash: Uint8Array;
  readonly source: string;
  /** As it goes on the wire, signed. */
  path(): string;
  readonly accept: string;
  /** Accept chooses the format. */
  readonly varies: boolean;
  /**
   * The user whose upload it is, who has entries of the own; undefined: it is everybody's. Content is shared among
   * owners, so headers and the time of an answer would tell of another one.
   */
  readonly owner: number | undefined;
  /** Ms since 1970 from which on the backend refuses it. */
  readonly expiresAtMs: number;
}

/** What a client is told of an answer that is no picture. */
export function refusalOf({ status, headers }: UpstreamAnswer): Error {
  if (status === 404) return gatewayErrors.PICTURE_UNKNOWN({});
  if (status === 400 || status === 422) return gatewayErrors.PICTURE_UNFIT({ status });
  // The queue of imgproxy is full, or no place in it came free in time.
  if (status === 429 || status === 503) {
    const seconds = headers.find(([name]) => name === 'retry-after')?.[1] ?? '';
    return gatewayErrors.BACKENDS_BUSY({ retryAfterS: /^[1-9]\d{0,3}$/.test(seconds) ? Number(seconds) : undefined });
  }
  return gatewayErrors.BACKEND_FAILED({ reason: `the backend answered with the status ${status}` });
}

/** Lets the rest of an answer go. */
export function discard(answer: UpstreamAnswer): void {
  answer.pipe({ chunk: () => false, end: () => undefined, failed: () => undefined }).cancel();
}

const own = [
  ['Cache-Control', 'private, no-cache'],
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Cache', 'MISS'],
] as const;
const passedOwn = headerLines(own);
const passedVarying = headerLines([...own, ['Vary', 'Accept']]);

/** Not for the cache, or too large for it and for the disk: one client gets it as it comes, with back pressure. */
export async function passThrough(
  upstream: Upstream,
  exchange: Exchange,
  headers: Readonly<Record<string, string>>,
  request: PictureRequest,
  secret: string | undefined,
): Promise<void> {
  const answer = await upstream.get({
    method: 'GET',
    path: request.path(),
    headers,
    signal: exchange.signal,
    ...(secret === undefined ? {} : { authorization: secret }),
  });
  exchange.backendId = answer.backendId;
  if (answer.status !== 200 || !exchange.open) {
    discard(answer);
    throw refusalOf(answer);
  }
  const lines = headerLines(passedHeaders(answer.headers, request)) + (request.varies ? passedVarying : passedOwn);
  const writer: BodyWriter = exchange.stream(200, lines, answer.length);
  if (exchange.method === 'HEAD') {
    discard(answer);
    return;
  }
  const flow: UpstreamFlow = answer.pipe({
    chunk(piece) {
      if (writer.write(piece)) return true;
      queueMicrotask(() => writer.drained(() => flow.resume()));
      return false;
    },
    end: () => writer.end(),
    failed: () => writer.abort(),
  });
}
