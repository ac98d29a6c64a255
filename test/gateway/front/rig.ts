/** Rig: the front of the gateway on a real server of the addon, over a fake lane, with keys and limits that a test gives. */
import { onTestFinished } from 'vitest';
import { accessErrors } from '../../../src/access/errors.ts';
import { gatewayConfigs } from '../../../src/gateway/config.ts';
import type { Guard } from '../../../src/gateway/front/guard.ts';
import { openFront } from '../../../src/gateway/front/open.ts';
import type { GatewayValues } from '../../../src/gateway/gateway.ts';
import type { Identity, Unidentified } from '../../../src/gateway/keys/identify.ts';
import type { Limiter, Verdict, Window } from '../../../src/gateway/limits/limiter.ts';
import { frontMetrics } from '../../../src/gateway/metrics.ts';
import type { GatewayKey, GatewayUser } from '../../../src/gateway/model.ts';
import type { Quotas } from '../../../src/gateway/quota/quotas.ts';
import { gatewayRouteNames } from '../../../src/gateway/route-names.ts';
import { BodyReader } from '../../../src/http/body.ts';
import { httpConfig } from '../../../src/http/config.ts';
import { ConnectionRoom } from '../../../src/http/connection-room.ts';
import { Fairness } from '../../../src/http/fairness.ts';
import { Listener } from '../../../src/http/listen.ts';
import { mountRoutes, type Route } from '../../../src/http/router.ts';
import { loadConfig } from '../../../src/kernel/config.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { attachBoard, createBoard } from '../../../src/kernel/metrics.ts';
import type { AcceptorFrame } from '../../../src/service/contract.ts';
import { LaneIntake } from '../../../src/service/intake.ts';
import { frameMetrics, talliesOf } from '../../../src/service/metrics.ts';
import { FakeLane } from '../../collect/fake-lane.ts';

const frameSet = frameMetrics([...gatewayRouteNames]);
const sets = [frameSet, frontMetrics] as const;

export const ADMIN_KEY = 'an-admin-key-of-at-least-thirty-two-characters';

export const user: GatewayUser = {
  id: 7,
  username: 'ann',
  email: 'ann@example.com',
  active: true,
  rates: {},
  quota: {},
  networks: [],
};
export const key: GatewayKey = {
  id: '9fK2mQx07TbA',
  userId: 7,
  name: 'test',
  scopes: ['read', 'upload'],
  secrets: [],
  networks: [],
  rates: {},
};

/** Of windows that count down and never recover. */
export class CountingLimiter implements Limiter {
  readonly #left = new Map<string, number>();

  take(windows: readonly Window[]): Verdict | undefined {
    const window = windows[0];
    if (window === undefined) return undefined;
    const left = this.#left.get(window.subject) ?? window.limit;
    this.#left.set(window.subject, Math.max(0, left - 1));
    return verdict(window, Math.max(0, left - 1), left > 0);
  }

  look(windows: readonly Window[]): Verdict | undefined {
    const window = windows[0];
    return window && verdict(window, this.#left.get(window.subject) ?? window.limit, true);
  }

  close(): void {}
}
const verdict = (window: Window, remaining: number, allowed: boolean): Verdict => ({
  allowed,
  window,
  remaining,
  resetMs: 60_000,
  retryAfterMs: allowed ? 0 : 1500,
});

export interface RigOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly addressLimit?: number;
  readonly keyLimit?: number;
  readonly limiter?: Limiter;
  readonly quotas?: Quotas;
  /** Who a key is; others are refused. */
  readonly identities?: Readonly<Record<string, Identity>>;
  readonly routes: (guard: Guard) => readonly Route[];
}

export interface Rig {
  readonly lane: FakeLane;
  readonly faults: unknown[];
  readonly wire: { closing: boolean };
  /** The lines of the records so far. */
  records(): Record<string, unknown>[];
  count(name: string, labels: Readonly<Record<string, string>>): number;
}

const unlimited: Quotas = {
  reserve: ({ id }) => ({ userId: id, month: 24_298 }),
  settle: () => undefined,
  cancel: () => undefined,
};
const none: Unidentified = { refused: 'none', error: accessErrors.KEY_REQUIRED, fields: { reason: 'a key' } };
const wrong: Unidentified = { refused: 'key', error: accessErrors.KEY_INVALID, fields: {} };

export function startRig(port: number, options: RigOptions): Rig {
  const { addressLimit = 100, keyLimit = 1000, identities = { good: { user, key, signed: false } } } = options;
  const env = { ADMIN_KEY, ...options.env };
  const { values } = loadConfig([httpConfig, ...gatewayConfigs], { env, argv: [] });
  const board = createBoard(sets, 1);
  const lane = new FakeLane();
  const faults: unknown[] = [];
  const wire = { closing: false };
  const bodies = new BodyReader(values.http);
  const tally = talliesOf(attachBoard(frameSet, board, 0));
  const frame = {
    values,
    shared: undefined,
    log: createLog({ level: 'silent', destination: 2, name: 'rig' }),
    rehearsing: false,
    intake: new LaneIntake(lane, lane),
    bodies,
    wire,
    faults: { report: (error: unknown) => void faults.push(error) },
    secure: false,
    tally,
    meters: ((set) => attachBoard(set, board, 0)) as AcceptorFrame['meters'],
    ask: () => Promise.reject(new Error('the rig has no workers')),
    now: Date.now,
  };
  const front = openFront(frame as unknown as AcceptorFrame<GatewayValues>, {
    identifier: {
      identify: ({ apiKey, authorization }) => {
        const text = apiKey || authorization.replace(/^Bearer /, '');
        return text === '' ? none : (identities[text] ?? wrong);
      },
    },
    mayComeFrom: ({ networks }, _key, address) => networks.length === 0 || networks.includes(address),
    limiter: options.limiter ?? new CountingLimiter(),
    windows: {
      ofAddress: (address) => [
        { policy: 'ip', subject: `ip:${address}`, limit: addressLimit, windowS: 60, burst: addressLimit },
      ],
      ofKey: ({ id }) => [{ policy: 'user', subject: `user:${id}`, limit: keyLimit, windowS: 60, burst: keyLimit }],
    },
    quotas: options.quotas ?? unlimited,
  });
  const listener = new Listener({
    endpoint: { host: '127.0.0.1', port },
    room: new ConnectionRoom({ max: 1000 }),
    routes: (app) =>
      mountRoutes(app, front.ids.marked(options.routes(front.guard)), {
        tally,
        wire,
        faults: frame.faults,
        traced: undefined,
        fairness: new Fairness(() => undefined),
      }),
  });
  onTestFinished(() => {
    listener.close();
    front.close();
    bodies.close();
  });
  return {
    lane,
    faults,
    wire,
    records: () => lane.lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    count: (name, labels) => {
      const set = name in frontMetrics.metrics ? frontMetrics : frameSet;
      const meters = attachBoard(set as never, board, 0) as unknown as Record<
        string,
        { at(labels: unknown): { readonly value: number } }
      >;
      return meters[name]!.at(labels).value;
    },
  };
}
