/**
 * Intake: POST /collect or POST /events of this tree (ROUTE), on a real listener, over a lane that forgets: what a route costs without
 * the disks, outputs and workers that the two services have beside it.
 */
import { eventsRoute } from '../../src/analytics/intake/events-route.ts';
import { intakeMetricSets, intakeRouteNames } from '../../src/analytics/intake/metrics.ts';
import { createSaltsMemory } from '../../src/analytics/intake/salts-board.ts';
import { openSenders } from '../../src/analytics/intake/senders.ts';
import { senderMetrics } from '../../src/analytics/intake/visitor-metrics.ts';
import { openCollect } from '../../src/collect/collect.ts';
import { collectMetricSets } from '../../src/collect/metrics.ts';
import { BodyReader } from '../../src/http/body.ts';
import { httpConfig } from '../../src/http/config.ts';
import { ConnectionRoom, RESERVE_SEATS } from '../../src/http/connection-room.ts';
import { Listener } from '../../src/http/listen.ts';
import { mountRoutes } from '../../src/http/router.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { createLog } from '../../src/kernel/log.ts';
import { attachBoard, createBoard } from '../../src/kernel/metrics.ts';
import { pixelConfigs } from '../../src/pixel/config.ts';
import { LaneIntake } from '../../src/service/intake.ts';
import { frameMetrics, talliesOf } from '../../src/service/metrics.ts';

const isEvents = process.env['ROUTE'] === 'events';
const LANE_BYTES = 8 * 1024 * 1024;

/** The engine's side of a route: records are laid one behind the other, and the next request lays its own over them. */
class ForgetfulLane {
  readonly buffer = Buffer.alloc(LANE_BYTES);
  readonly draftBytesMax = LANE_BYTES / 2;
  #end = 0;
  begin(): number {
    return this.#end;
  }
  commit(end: number): void {
    this.#end = (end + 7) & ~7;
  }
  refusal(): undefined {}
  mark(): number {
    return this.#end;
  }
  rewind(mark: number): void {
    this.#end = mark;
  }
  settle(): 'now' {
    this.#end = 0;
    return 'now';
  }
  hold(): void {}
  dropped(): void {}
  flush(): void {}
}

const { values } = loadConfig([httpConfig, ...pixelConfigs], { env: { TRUST_PROXY: 'true' }, argv: [] });
const frameSet = frameMetrics([...intakeRouteNames]);
const board = createBoard([frameSet, ...(isEvents ? [...intakeMetricSets, senderMetrics] : collectMetricSets)], 1);
const tally = talliesOf(attachBoard(frameSet, board, 0));
const lane = new ForgetfulLane();
const wire = { closing: false };
const faults = { report: (error: unknown) => console.error(error) };
const frame = {
  values,
  shared: { salts: createSaltsMemory() },
  log: createLog({ level: 'silent', destination: 2, name: 'bench' }),
  rehearsing: false,
  intake: new LaneIntake(lane, lane),
  bodies: new BodyReader(values.http),
  wire,
  faults,
  secure: false,
  tally,
  meters: (set: Parameters<typeof attachBoard>[0]) => attachBoard(set, board, 0),
  ask: () => Promise.reject(new Error('there are no workers here')),
  now: Date.now,
};
// The routes read only these of their frame.
const whole = frame as unknown as Parameters<typeof eventsRoute>[0] & Parameters<typeof openSenders>[0];
const routes = isEvents
  ? [eventsRoute(whole, { origins: (await openSenders(whole)).events, ageMs: Number.POSITIVE_INFINITY })]
  : (await openCollect({ ...frame, shared: { salts: undefined } } as unknown as Parameters<typeof openCollect>[0]))
      .routes;
new Listener({
  endpoint: { host: '127.0.0.1', port: Number(process.env['PORT']) },
  room: new ConnectionRoom({ max: 1024, reserve: RESERVE_SEATS, onCrowd: () => undefined }),
  routes: (app) => mountRoutes(app, routes, { tally, wire, faults, traced: undefined }),
  onShed: () => undefined,
});
process.on('SIGTERM', () => process.exit(0));
