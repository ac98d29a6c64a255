/** Rig: the routes of analytics that take events on a real uWebSockets.js server, over a fake lane and a board of salts. */

import { convertedRoutes } from '../../../src/analytics/intake/converted-events.ts';
import { eventsRoute } from '../../../src/analytics/intake/events-route.ts';
import { analyticsIntakeMetrics, intakeMetricSets, intakeRouteNames } from '../../../src/analytics/intake/metrics.ts';
import type { SiteGrant } from '../../../src/analytics/intake/origin.ts';
import { createSaltsMemory, SALT_BYTES, SaltsBoard } from '../../../src/analytics/intake/salts-board.ts';
import { openSenders, type Senders } from '../../../src/analytics/intake/senders.ts';
import { senderMetrics, type UnrecordedReason } from '../../../src/analytics/intake/visitor-metrics.ts';
import { collectConfig } from '../../../src/collect/config.ts';
import type { Wire } from '../../../src/http/answer.ts';
import { BodyReader } from '../../../src/http/body.ts';
import { httpConfig } from '../../../src/http/config.ts';
import { ConnectionRoom, RESERVE_SEATS } from '../../../src/http/connection-room.ts';
import { Fairness } from '../../../src/http/fairness.ts';
import { Listener } from '../../../src/http/listen.ts';
import { mountRoutes } from '../../../src/http/router.ts';
import { loadConfig } from '../../../src/kernel/config.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { attachBoard, createBoard } from '../../../src/kernel/metrics.ts';
import type { AcceptorFrame } from '../../../src/service/contract.ts';
import { LaneIntake } from '../../../src/service/intake.ts';
import { frameMetrics, talliesOf } from '../../../src/service/metrics.ts';
import { originConfig } from '../../../src/visitor/config.ts';
import { FakeLane } from '../../collect/fake-lane.ts';
import type { TestScope } from '../../servers/process.ts';

const frameSet = frameMetrics([...intakeRouteNames]);
const sets = [frameSet, ...intakeMetricSets, senderMetrics] as const;

export interface RigOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly grant?: SiteGrant;
  readonly ageMs?: number;
  readonly now: () => number;
  /** Days with a salt on the board. */
  readonly saltDays?: readonly number[];
}

export interface Rig {
  readonly lane: FakeLane;
  readonly senders: Senders;
  readonly faults: unknown[];
  /** The recorded events. */
  events(): Record<string, unknown>[];
  unrecorded(reason: UnrecordedReason): number;
  unshared(): number;
  /** The value of a counter. */
  count(name: string, labels: Readonly<Record<string, string>>): number;
}

export async function startRig(t: TestScope, port: number, options: RigOptions): Promise<Rig> {
  const { env = {}, grant, ageMs = Number.POSITIVE_INFINITY, now, saltDays = [] } = options;
  const { values } = loadConfig([httpConfig, collectConfig, originConfig], { env, argv: [] });
  const board = createBoard(sets, 1);
  const frameMeters = attachBoard(frameSet, board, 0);
  const lane = new FakeLane();
  const faults: unknown[] = [];
  const wire: Wire = { closing: false };
  const bodies = new BodyReader(values.http);
  const tally = talliesOf(frameMeters);
  const salts = createSaltsMemory();
  new SaltsBoard(salts).write(
    saltDays.map((day) => ({ day, shared: true, salt: new Uint8Array(SALT_BYTES).fill(day & 0xff) })),
  );
  const frame: AcceptorFrame<typeof values, { readonly salts: SharedArrayBuffer }> = {
    values,
    shared: { salts },
    log: createLog({ level: 'silent', destination: 2, name: 'rig' }),
    rehearsing: false,
    intake: new LaneIntake(lane, lane),
    bodies,
    wire,
    faults: { report: (error) => faults.push(error) },
    secure: false,
    tally,
    meters: (set) => attachBoard(set, board, 0),
    ask: () => Promise.reject(new Error('the rig has no workers')),
    now,
  };
  const senders = await openSenders(frame, () => grant);
  // The routes read only these of the frame's values.
  const whole = frame as unknown as Parameters<typeof eventsRoute>[0];
  const routes = [
    eventsRoute(whole, { origins: senders.events, ageMs }),
    ...convertedRoutes(whole, senders.pages, ageMs, analyticsIntakeMetrics),
  ];
  const fairness = new Fairness(() => undefined);
  const listener = new Listener({
    endpoint: { host: '', port },
    room: new ConnectionRoom({ max: values.http.maxConnections, reserve: RESERVE_SEATS, onCrowd: () => undefined }),
    routes: (app) => mountRoutes(app, routes, { fairness, tally, wire, faults: frame.faults, traced: undefined }),
    onShed: () => undefined,
  });
  t.onTestFinished(() => {
    senders.close();
    bodies.close();
    listener.close();
  });
  const meters = attachBoard(senderMetrics, board, 0);
  type Counters = Readonly<
    Record<string, { at(labels: object): { readonly value?: number; readonly count?: number } }>
  >;
  const all = Object.assign({}, ...sets.map((set) => attachBoard(set, board, 0))) as Counters;
  return {
    lane,
    senders,
    faults,
    events: () => lane.lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    unrecorded: (reason) => meters.ringmain_unrecorded_pixels_total.at({ reason }).value,
    count: (name, labels) => {
      const { value, count } = all[name]!.at(labels);
      return value ?? count ?? Number.NaN;
    },
    unshared: () => meters.ringmain_unshared_visitor_ids_total.at().value,
  };
}
