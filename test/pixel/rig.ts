/**
 * Rig: the pixel's routes on a real uWebSockets.js server, over a fake lane. Options are given as an operator gives them.
 */

import { httpConfig } from '../../src/http/config.ts';
import { Listener, type TlsFiles } from '../../src/http/listen.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { attachBoard, createBoard } from '../../src/kernel/metrics.ts';
import { pixelConfig } from '../../src/pixel/config.ts';
import { pixelMetrics } from '../../src/pixel/metrics.ts';
import { Routes } from '../../src/pixel/routes.ts';
import type { OpsSource } from '../../src/service/routes-ops.ts';
import { DeviceLookup } from '../../src/visitor/device.ts';
import { GeoLookup } from '../../src/visitor/geo.ts';
import type { SaltSource } from '../../src/visitor/privacy.ts';
import type { TestScope } from '../servers/process.ts';
import { FakeLane } from './fake-lane.ts';

export interface RigOptions {
  /** SERVER_ADDR and the like. */
  readonly env?: Readonly<Record<string, string>>;
  readonly ops?: Partial<OpsSource>;
  readonly tls?: TlsFiles;
  readonly salts?: SaltSource;
  readonly now?: () => number;
}

export interface Rig {
  readonly port: number;
  readonly lane: FakeLane;
  readonly routes: Routes;
  readonly listener: Listener;
  readonly faults: unknown[];
  /** The recorded events. */
  events(): Record<string, unknown>[];
  /** The value of a counter. */
  count(name: keyof typeof pixelMetrics.metrics, labels?: Record<string, string>): number;
}

export async function startRig(t: TestScope, port: number, options: RigOptions = {}): Promise<Rig> {
  const { env = {}, tls, salts, now } = options;
  const { values } = loadConfig([httpConfig, pixelConfig], { env, argv: [] });
  const meters = attachBoard(pixelMetrics, createBoard([pixelMetrics], 1), 0);
  const lane = new FakeLane();
  const faults: unknown[] = [];
  const cacheMeters = (cache: 'geo' | 'device') => ({
    hits: meters.ringmain_cache_hits_total.at({ cache }),
    misses: meters.ringmain_cache_misses_total.at({ cache }),
  });
  const { geoipDb, uaParse } = values.pixel;
  const geo =
    geoipDb === undefined ? undefined : await GeoLookup.open(geoipDb, cacheMeters('geo'), (e) => faults.push(e), 50);
  const routes = new Routes({
    http: values.http,
    pixel: values.pixel,
    lane,
    acknowledger: lane,
    meters,
    ops: { readiness: () => ({ intake: [], sinks: [] }), metrics: async () => '# none\n', ...options.ops },
    faults: { report: (error) => faults.push(error) },
    secure: tls !== undefined,
    salts: salts ?? (values.pixel.ipHashSecret === undefined ? undefined : { secret: values.pixel.ipHashSecret }),
    geo,
    device: uaParse ? new DeviceLookup(cacheMeters('device')) : undefined,
    ...(now === undefined ? {} : { now }),
  });
  const listener = new Listener({
    endpoint: { host: '', port },
    connectionsMax: values.http.maxConnections,
    ...(tls === undefined ? {} : { tls }),
    routes: (app) => routes.mount(app),
    onShed: () => meters.ringmain_http_connections_shed_total.at().add(1),
  });
  t.onTestFinished(() => {
    geo?.close();
    routes.close();
    listener.close();
  });
  const count = (name: keyof typeof pixelMetrics.metrics, labels: Record<string, string> = {}) => {
    const cell = (meters[name].at as (labels: Record<string, string>) => { value?: number; count?: number })(labels);
    return cell.value ?? cell.count ?? Number.NaN;
  };
  const events = () => lane.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { port, lane, routes, listener, faults, events, count };
}
