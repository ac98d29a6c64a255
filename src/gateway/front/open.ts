/** Opens the front of an acceptor: everything that its guard and its exchanges need. */
import { addressReader } from '../../http/client-address.ts';
import { Cors } from '../../http/cors.ts';
import { Deadlines } from '../../http/deadlines.ts';
import { RequestIds } from '../../http/request-id.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { GatewayValues } from '../gateway.ts';
import type { Limiter } from '../limits/limiter.ts';
import { BackendMeters, frontMetrics, RouteMeters } from '../metrics.ts';
import type { Quotas } from '../quota/quotas.ts';
import { accessLine } from './access-line.ts';
import { Books } from './books.ts';
import { type Front, FrontRoute } from './front.ts';
import { Guard } from './guard.ts';
import type { Identifies, MayComeFrom, Windows } from './identity.ts';
import { exposedHeaders } from './limit-headers.ts';
import { Pulse } from './pulse.ts';

export interface FrontParts {
  readonly identifier: Identifies;
  readonly mayComeFrom: MayComeFrom;
  readonly limiter: Limiter;
  readonly windows: Windows;
  readonly quotas: Quotas;
}

export interface OpenedFront {
  readonly guard: Guard;
  readonly ids: RequestIds;
  close(): void;
}

export function openFront(frame: AcceptorFrame<GatewayValues>, parts: FrontParts): OpenedFront {
  const { values, log } = frame;
  const { readTimeoutMs, writeTimeoutMs, minRateBytes, accessLog, adminKey } = values.gateway;
  const meters = frame.meters(frontMetrics);
  const books = new Books(frame.intake, {
    waiting: meters.ringmain_gateway_records_waiting.at(),
    lost: meters.ringmain_gateway_records_lost_total.at(),
  });
  const pulse = new Pulse();
  const readDeadlines = new Deadlines(readTimeoutMs);
  const writeDeadlines = new Deadlines(writeTimeoutMs);
  const front: Front = {
    now: frame.now,
    ids: new RequestIds(),
    addressOf: addressReader(values.http),
    bodies: frame.bodies,
    books,
    quotas: parts.quotas,
    pulse,
    readDeadlines,
    writeDeadlines,
    readTimeoutMs,
    writeTimeoutMs,
    minRate: minRateBytes,
    backends: new BackendMeters(meters),
    accessLine: accessLog && !frame.rehearsing ? accessLine(log) : undefined,
  };
  const guard = new Guard({
    ...parts,
    front,
    adminKey,
    cors: new Cors(values.http.corsOrigins, { exposed: exposedHeaders }),
    route: (name) => new FrontRoute(front, new RouteMeters(meters, name)),
  });
  return {
    guard,
    ids: front.ids,
    close() {
      books.close();
      pulse.close();
      readDeadlines.close();
      writeDeadlines.close();
    },
  };
}
