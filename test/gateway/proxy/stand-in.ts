/** Stand-ins for a backend: servers of node:http and node:net, well-behaved or not. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from 'node:net';
import type { TestScope } from '../../servers/process.ts';

export interface StandIn {
  readonly url: string;
  /** Requests so far, checks left out. */
  readonly seen: IncomingMessage[];
}

function closing(t: TestScope, server: Server): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
  });
  t.onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return sockets;
}

async function listening(server: Server, port: number): Promise<string> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export interface StandInWishes {
  /** Answers checks, or does not. Default: 200. */
  health?(res: ServerResponse): void;
}

/** An HTTP server; `answer` gets everything but checks. */
export async function standIn(
  t: TestScope,
  port: number,
  answer: RequestListener,
  { health = (res) => void res.end('ok') }: StandInWishes = {},
): Promise<StandIn> {
  const seen: IncomingMessage[] = [];
  const server = createServer((req, res) => {
    if (req.url === '/health') {
      health(res);
      return;
    }
    seen.push(req);
    answer(req, res);
  });
  closing(t, server);
  return { url: await listening(server, port), seen };
}

/** Answers every request with these bytes as they are; 'half-open': takes connections and never says a word. */
export async function rawStandIn(t: TestScope, port: number, bytes: string, end: 'ends' | 'stays'): Promise<string> {
  const server = createNetServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      if (bytes !== '') socket.write(bytes, 'latin1');
      if (end === 'ends') socket.end();
    });
  });
  closing(t, server);
  return listening(server, port);
}
