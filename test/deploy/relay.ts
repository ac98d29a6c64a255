/**
 * A relay between a proxy and a collector that sees what a test cannot see from outside: how long a connection was idle before the next request
 * came over it, and which side closed an idle one. On loopback a request hardly ever meets the close; across a network it does.
 */
import { connect, createServer, type Socket } from 'node:net';
import type { TestScope } from '../servers/process.ts';

export interface Relay {
  readonly port: number;
  /** Longest time that a connection stood still before a request came over it, ms. */
  idleMsMax: number;
  /** Idle connections that the collector closed: a request could have been on its way. */
  closedByCollector: number;
  connections: number;
}

/** Idle for at least so long: what is shorter is the end of a request, not of an idle time. */
const IDLE_MS = 3000;

export async function startRelay(t: TestScope, port: number, collector: number): Promise<Relay> {
  const relay = { port, idleMsMax: 0, closedByCollector: 0, connections: 0 };
  const open = new Set<Socket>();
  const server = createServer((near) => {
    relay.connections += 1;
    const far = connect(collector, '127.0.0.1');
    let lastMs = performance.now();
    let nearOpen = true;
    for (const socket of [near, far]) {
      open.add(socket);
      socket.setNoDelay(true);
      // A reset by one side reaches the other as an end.
      socket.on('error', () => undefined);
      socket.on('close', () => open.delete(socket));
    }
    near.on('data', (chunk) => {
      relay.idleMsMax = Math.max(relay.idleMsMax, performance.now() - lastMs);
      lastMs = performance.now();
      far.write(chunk);
    });
    far.on('data', (chunk) => {
      lastMs = performance.now();
      near.write(chunk);
    });
    near.on('close', () => {
      nearOpen = false;
      far.end();
    });
    far.on('close', () => {
      if (nearOpen && performance.now() - lastMs > IDLE_MS) relay.closedByCollector += 1;
      near.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return relay;
}
