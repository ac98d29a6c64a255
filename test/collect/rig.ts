/**
 * Rig: the intake and ops routes on a real uWebSockets.js server, over a fake lane. Options are given as an operator gives them.
 */

import { type CollectShared, type CollectValues, openCollect } from '../../src/collect/collect.ts';
import { collectMetricSets } from '../../src/collect/metrics.ts';
import type { Wire } from '../../src/http/answer.ts';
import { BodyReader } from '../../src/http/body.ts';
import { httpConfig } from '../../src/http/config.ts';
import { ConnectionRoom, RESERVE_SEATS } from '../../src/http/connection-room.ts';
import { Fairness } from '../../src/http/fairness.ts';
import { Listener, type TlsFiles } from '../../src/http/listen.ts';
import { mountRoutes } from '../../src/http/router.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { createLog, type Logger } from '../../src/kernel/log.ts';
import { attachBoard, createBoard, type MetricSet } from '../../src/kernel/metrics.ts';
import { pixelConfigs } from '../../src/pixel/config.ts';
import type { AcceptorFrame } from '../../src/service/contract.ts';
import { LaneIntake } from '../../src/service/intake.ts';
import { frameMetrics, talliesOf } from '../../src/service/metrics.ts';
import { type OpsSource, opsRoutes } from '../../src/service/routes-ops.ts';
import type { SaltSource } from '../../src/visitor/privacy.ts';
import type { TestScope } from '../servers/process.ts';
import { FakeLane } from './fake-lane.ts';

const frameSet = frameMetrics(['px', 'collect']);
const sets = [frameSet, ...collectMetricSets] as const;
type NamesOf<S> = S extends MetricSet<infer M> ? keyof M & string : never;
type MetricName = NamesOf<(typeof sets)[number]>;

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
  readonly wire: Wire;
  readonly listener: Listener;
  readonly faults: unknown[];
  /** The recorded events. */
  events(): Record<string, unknown>[];
  /** The value of a counter. */
  count(name: MetricName, labels?: Record<string, string>): number;
}

const GEO_CHECK_MS = 50;

export async function startRig(t: TestScope, port: number, options: RigOptions = {}): Promise<Rig> {
  const { env = {}, tls, salts, now = Date.now } = options;
  const { values } = loadConfig([httpConfig, ...pixelConfigs], { env, argv: [] });
  const board = createBoard(sets, 1);
  const frameMeters = attachBoard(frameSet, board, 0);
  const lane = new FakeLane();
  const faults: unknown[] = [];
  const { proxyProtocol, maxConnections } = values.http;
  const wire: Wire = { closing: proxyProtocol };
  const fairness = proxyProtocol ? { single: () => undefined } : { fairness: new Fairness(() => undefined) };
  const bodies = new BodyReader(values.http);
  const tally = talliesOf(frameMeters);
  const secret = values.visitor.ipHashSecret;
  const silent = createLog({ level: 'silent', destination: 2, name: 'rig' });
  const frame: AcceptorFrame<CollectValues, CollectShared> = {
    // The routes read only these of the frame's values.
    values: values as unknown as CollectValues,
    shared: { salts: salts ?? (secret === undefined ? undefined : { secret }) },
    log: Object.assign(Object.create(silent) as Logger, { warn: (fields: unknown) => void faults.push(fields) }),
    rehearsing: false,
    intake: new LaneIntake(lane, lane),
    bodies,
    wire,
    faults: { report: (error) => faults.push(error) },
    secure: tls !== undefined,
    tally,
    meters: (set) => attachBoard(set, board, 0),
    ask: () => Promise.reject(new Error('the rig has no workers')),
    now,
  };
  const mounted = await openCollect(frame, GEO_CHECK_MS);
  const ops = { readiness: () => [], metrics: async () => '# none\n', ...options.ops };
  const routes = [...mounted.routes, ...opsRoutes(ops)];
  const listener = new Listener({
    endpoint: { host: '', port },
    room: new ConnectionRoom({
      max: maxConnections,
      reserve: RESERVE_SEATS,
      onCrowd: (crowded) => {
        wire.closing = crowded || proxyProtocol;
      },
    }),
    ...(tls === undefined ? {} : { tls }),
    routes: (app) => mountRoutes(app, routes, { ...fairness, tally, wire, faults: frame.faults, traced: undefined }),
    onShed: () => frameMeters.ringmain_http_connections_shed_total.at().add(1),
  });
  t.onTestFinished(() => {
    mounted.close?.();
    bodies.close();
    listener.close();
  });
  const meters = Object.assign({}, ...sets.map((set) => attachBoard(set, board, 0)));
  const count = (name: MetricName, labels: Record<string, string> = {}) => {
    const cell = (meters[name].at as (labels: Record<string, string>) => { value?: number; count?: number })(labels);
    return cell.value ?? cell.count ?? Number.NaN;
  };
  const events = () => lane.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { port, lane, wire, listener, faults, events, count };
}
