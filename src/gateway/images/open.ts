/**
 * Opens the pictures of an acceptor: GET and HEAD of every path that is not the gateway's own. The path is read, its
 * source judged, and only what was allowed is signed (picture-path.ts, sources.ts); then the cache answers.
 */
import { shown } from '../../http/answer.ts';
import { httpErrors } from '../../http/errors.ts';
import { wireText } from '../../http/wire-text.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { effectiveAcceptors } from '../../service/effective.ts';
import type { Area } from '../area.ts';
import { type Conditions, conditionsOf } from '../cache/answer-entry.ts';
import { DiskTier, hashOf } from '../cache/disk.ts';
import { DiskIndex } from '../cache/disk-index.ts';
import type { PictureRequest } from '../cache/fetch.ts';
import { Flights } from '../cache/flights.ts';
import { MemoryTier } from '../cache/memory.ts';
import { cacheMetrics, cacheResults } from '../cache/metrics.ts';
import { PictureCache } from '../cache/picture-cache.ts';
import { SlowBodies } from '../cache/slow-bodies.ts';
import { gatewayErrors } from '../errors.ts';
import type { Exchange } from '../front/exchange.ts';
import type { Guard } from '../front/guard.ts';
import type { GatewayValues } from '../gateway.ts';
import type { Upstream } from '../proxy/upstream.ts';
import type { Registry } from '../registry/registry.ts';
import type { GatewayShared } from '../shared.ts';
import { type Formats, formatsOf } from './accept.ts';
import { pathOf, readPicture, type Unreadable } from './picture-path.ts';
import { purgeHandler } from './purge-route.ts';
import { imgproxySecrets, signedPath } from './signature.ts';
import { type Place, Sources } from './sources.ts';
import { UploadOwners } from './upload-owners.ts';

const ACCEPT = wireText('accept');
/** Paths that were read already; each is some hundred bytes. */
const READ_MAX = 4096;

/** A path that was read and judged: what everybody gets who asks for it. */
interface Judged {
  /** Undefined: everybody may see it. */
  readonly upload: string | undefined;
  readonly varies: boolean;
  /** `userId`: of an owner, when it is an upload. */
  request(formats: Formats, userId: number): PictureRequest;
}
type Read = Judged | { readonly refused: Unreadable };

type Frame = Pick<AcceptorFrame<GatewayValues, GatewayShared>, 'values' | 'shared' | 'meters' | 'ask' | 'now' | 'log'>;

export interface ImageParts {
  readonly guard: Guard;
  readonly upstream: Upstream;
  readonly registry: Registry;
}

export function openImages(frame: Frame, { guard, upstream, registry }: ImageParts): Area {
  const { values, shared, now, log, ask } = frame;
  const { gateway } = values;
  const secrets = imgproxySecrets(gateway.imgproxyKey, gateway.imgproxySalt);
  const sources = new Sources(gateway.allowedSources);
  const owners = new UploadOwners(ask, registry);

  const cells = frame.meters(cacheMetrics);
  const results = new Map(
    cacheResults.map((result) => [result, cells.ringmain_gateway_cache_requests_total.at({ result })]),
  );
  const evictions = cells.ringmain_gateway_cache_evictions_total.at({ tier: 'memory' });
  const memoryBytes = cells.ringmain_gateway_cache_memory_bytes.at();
  // The head of an answer may be waited for at several backends; then its body.
  const fetchMs = gateway.writeTimeoutMs;
  const flights = new Flights(shared.flights, fetchMs);
  let told = false;
  const failed = (error: unknown) => {
    if (!told) log.warn({ error }, 'the folder of the cache cannot be written: pictures are kept in memory alone');
    told = true;
  };
  const index = new DiskIndex(shared.diskIndex);
  const disk = new DiskTier(
    { flights, index, failed, now },
    { folder: gateway.cacheDir, bytesMax: gateway.cacheDiskBytes },
  );
  const slow = new SlowBodies(disk, (entry) => memory.holds(entry));
  const memory = new MemoryTier(
    Math.floor(gateway.cacheMemoryBytes / effectiveAcceptors(values)),
    () => evictions.add(1),
    (entry) => slow.left(entry),
  );
  const cache = new PictureCache(
    { upstream, memory, disk, flights, slow, now, count: (result) => results.get(result)!.add(1) },
    {
      ttlMs: gateway.cacheTtlMs,
      staleMs: gateway.cacheStaleMs,
      staleErrorMs: gateway.cacheStaleErrorMs,
      entryBytesMax: gateway.cacheEntryMaxBytes,
      secret: gateway.imgproxySecret === undefined ? undefined : `Bearer ${gateway.imgproxySecret}`,
    },
  );
  cache.begin(registry.purges);
  const ended = registry.onChange(({ anew, purges, removed }) => {
    if (anew) cache.begin(registry.purges);
    else cache.take(purges.rules, purges.gone);
    cache.forget(new Set(removed.map((path) => `local:///${path}`)));
  });

  const judge = (path: string): Read => {
    const picture = readPicture(path);
    if ('reason' in picture) return { refused: picture };
    const place: Place = sources.placeOf(picture.source);
    if (place.kind === 'forbidden') return { refused: { reason: place.reason, forbidden: true } };
    const { source } = place;
    const own = pathOf(picture, source);
    const varies = !picture.formatted;
    const { expiresAtMs } = picture;
    const upload = place.kind === 'upload' ? place.path : undefined;
    let signed: string | undefined;
    const requestOf = ({ index, accept }: Formats, owner: number | undefined): PictureRequest => {
      const key = owner === undefined ? `${index} ${own}` : `${owner} ${index} ${own}`;
      const path = () => (signed ??= signedPath(own, secrets));
      return { key, hash: hashOf(key), source, path, accept, varies, owner, expiresAtMs };
    };
    const byOwner = new Map<number | undefined, (PictureRequest | undefined)[]>();
    return {
      upload,
      varies,
      request(formats, userId) {
        const owner = upload === undefined ? undefined : userId;
        let requests = byOwner.get(owner);
        if (requests === undefined) {
          requests = [];
          byOwner.set(owner, requests);
        }
        const request = requests[formats.index] ?? requestOf(formats, owner);
        requests[formats.index] = request;
        return request;
      },
    };
  };
  let readPaths = new Map<string, Read>();
  const read = (path: string): Read => {
    let found = readPaths.get(path);
    if (found === undefined) {
      found = judge(path);
      // Those that are asked for all the time are soon there again.
      if (readPaths.size >= READ_MAX) readPaths = new Map();
      readPaths.set(path, found);
    }
    return found;
  };

  const get = guard.route({ route: 'image', scope: 'read', signed: true }, (exchange, req) => {
    const { path } = exchange;
    if (path.startsWith('/api/')) {
      exchange.problem(httpErrors.NOT_FOUND, { path: shown(path) });
      return undefined;
    }
    const judged = read(path);
    if ('refused' in judged) {
      // A single word is nobody's try for a picture.
      if (!path.includes('/', 1)) exchange.problem(httpErrors.NOT_FOUND, { path: shown(path) });
      else refuse(exchange, judged.refused);
      return undefined;
    }
    const formats = formatsOf(judged.varies ? req.getHeader(ACCEPT) : '');
    const conditions = conditionsOf(req);
    const { upload } = judged;
    const owned = upload === undefined ? true : owners.owns(exchange.user!.id, upload);
    if (owned instanceof Promise) return owned.then((yes) => serve(exchange, yes, judged, formats, conditions));
    serve(exchange, owned, judged, formats, conditions);
    return undefined;
  });

  function serve(
    exchange: Exchange,
    owned: boolean,
    judged: Judged,
    formats: Formats,
    conditions: Conditions | undefined,
  ): void {
    if (owned) cache.serve(exchange, judged.request(formats, exchange.user!.id), conditions);
    // Whether somebody else has it is nobody's business.
    else refuse(exchange, { reason: 'the source must be an upload of your own', forbidden: true });
  }

  const purge = guard.route(
    { route: 'purge', scope: 'upload', administratorToo: true, takesBody: true },
    purgeHandler(ask, sources, owners),
  );
  return {
    routes: [
      { name: 'image', path: '/*', cors: guard.cors, streams: true, on: { GET: get, HEAD: get } },
      { name: 'purge', path: '/api/v1/purge', cors: guard.cors, takesBody: true, on: { POST: purge } },
    ],
    gauges: () => memoryBytes.set(memory.bytes),
    close() {
      ended();
      owners.close();
    },
  };
}

function refuse(exchange: Exchange, { reason, forbidden }: Unreadable): void {
  exchange.outcome = 'source';
  if (forbidden) exchange.problem(gatewayErrors.SOURCE_FORBIDDEN, { reason });
  else exchange.problem(httpErrors.BAD_REQUEST, { reason });
}
