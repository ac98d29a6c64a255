/** Routes on a real server of the addon, with their counts by 'name class' and what was reported as a fault. */
import { onTestFinished } from 'vitest';
import type { Wire } from '../../src/http/answer.ts';
import { ConnectionRoom } from '../../src/http/connection-room.ts';
import { Listener } from '../../src/http/listen.ts';
import { mountRoutes, type Route, type RouterDeps } from '../../src/http/router.ts';
import { CellTally } from '../../src/http/tally.ts';

export interface TestRoutes {
  readonly wire: Wire;
  readonly faults: unknown[];
  readonly listener: Listener;
  count(key: string): number;
}

export function startRoutes(port: number, routes: readonly Route[], deps: Partial<RouterDeps> = {}): TestRoutes {
  const counts = new Map<string, number>();
  const tally = (name: string) =>
    new CellTally((status) => {
      const key = `${name} ${status}`;
      const add = (count: number) => void counts.set(key, (counts.get(key) ?? 0) + count);
      return { add } as ReturnType<ConstructorParameters<typeof CellTally>[0]>;
    });
  const wire: Wire = { closing: false };
  const faults: unknown[] = [];
  const all: RouterDeps = {
    tally,
    wire,
    faults: { report: (error) => faults.push(error) },
    traced: undefined,
    ...deps,
  };
  const listener = new Listener({
    endpoint: { host: '127.0.0.1', port },
    room: new ConnectionRoom({ max: 1000 }),
    routes: (app) => mountRoutes(app, routes, all),
  });
  onTestFinished(() => listener.close());
  return { wire, faults, listener, count: (key) => counts.get(key) ?? 0 };
}
