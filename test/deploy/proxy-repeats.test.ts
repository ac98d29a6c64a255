/**
 * The example proxies and collectors that die, refuse, or are not there yet.
 *
 * Goal: a request is sent to one collector only, for one that has read it may have stored it; one that was never sent is passed on; a proxy
 * starts before the names of its collectors resolve. Method: real proxies before backends that read a request and die in several ways; a name
 * server of our own that learns the names later.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import { describe, test } from 'vitest';
import type { TestScope } from '../servers/process.ts';
import { Client } from './clients.ts';
import { type ProxyKind, proxies } from './proxy.ts';

const HOST = '127.0.0.1';

/** How a backend ends a request that it has read; `answer` is a good one. */
const deaths = {
  'a reset': (socket: Socket) => socket.resetAndDestroy(),
  'an orderly close': (socket: Socket) => socket.end(),
  'half a head and a reset': (socket: Socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-', () => socket.resetAndDestroy()),
} as const;
type Death = keyof typeof deaths;

/** Where each event id was read, and how the next requests end; shared by the backends of one proxy. */
interface Backends {
  death: Death | undefined;
  readonly read: string[];
}

/** Reads requests (a PROXY header before them does not matter) and ends them as `backends` says. */
async function startBackend(t: TestScope, port: number, backends: Backends): Promise<() => Promise<void>> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => undefined);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      const head = text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const body = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < head + 4 + body) return;
      const event = /event_id["=:]+([0-9a-f-]{36})/.exec(text)?.[1];
      text = '';
      if (event !== undefined) backends.read.push(event);
      if (event !== undefined && backends.death !== undefined) deaths[backends.death](socket);
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  await new Promise<void>((resolve, reject) => server.on('error', reject).listen(port, HOST, resolve));
  const stop = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of open) socket.destroy();
    await closed;
  };
  t.onTestFinished(stop);
  return stop;
}

describe.concurrent.each(proxies)('$name', (proxy: ProxyKind) => {
  test('an event that a collector has read before it died is sent to no other, and its client gets no 2xx', async (t) => {
    const { port, collectors } = portsOf(proxy, 0);
    const backends: Backends = { death: undefined, read: [] };
    for (const collector of collectors) await startBackend(t, collector, backends);
    await proxy.start(t, { port, collectors });
    for (const [way, seen] of Object.entries(proxy.ways)) {
      for (const [i, death] of (Object.keys(deaths) as Death[]).entries()) {
        const route = i % 2 === 0 ? 'px' : 'collect';
        const client = new Client(port, HOST);
        const other = new Client(port, HOST);
        backends.death = undefined;
        await t.expect
          .poll(() => sent(way === 'first' ? other : client, route), { message: 'a collector is up', interval: 100 })
          .toBe(200);
        backends.death = death;
        backends.read.length = 0;
        const id = randomUUID();
        const found = await sent(client, route, id).catch(() => 'closed');
        assert.equal(found, seen, `${way}, ${route}, ${death}`);
        assert.deepEqual(backends.read, [id], `${way}, ${route}, ${death}: how often it was sent`);
        client.close();
        other.close();
      }
    }
  });

  test('a request that a collector has refused before it was sent is passed on to another', async (t) => {
    const { port, collectors } = portsOf(proxy, 1);
    const backends: Backends = { death: undefined, read: [] };
    await startBackend(t, collectors[0], backends);
    const stop = await startBackend(t, collectors[1], backends);
    await proxy.start(t, { port, collectors });
    const clients = Array.from({ length: 8 }, () => new Client(port, HOST));
    const all = (route: 'px' | 'collect') => Promise.all(clients.map((client) => sent(client, route)));
    assert.deepEqual(new Set(await all('px')), new Set([200]));
    await stop();
    backends.read.length = 0;
    for (const route of ['px', 'collect', 'px'] as const) {
      const answers = await all(route);
      assert.deepEqual(new Set(answers), new Set([200]), `${route}: ${answers.join(' ')}`);
    }
    assert.equal(backends.read.length, new Set(backends.read).size, 'an event came twice');
    for (const client of clients) client.close();
  });

  test('it starts before the names of its collectors resolve, and finds them later', async (t) => {
    const { port, collectors } = portsOf(proxy, 2);
    const names = await startNames(t);
    await startBackend(t, collectors[0], { death: undefined, read: [] });
    const late = [`late-1.test:${collectors[0]}`, `late-2.test:${collectors[0]}`] as const;
    await proxy.start(t, { port, names: names.port, collectors: late, ready: false });
    const client = new Client(port, HOST);
    await t.expect.poll(() => names.asked.size, { message: 'the proxy asks for the names' }).toBe(2);
    assert.ok([502, 503].includes(await sent(client, 'px')));
    names.known = true;
    await t.expect.poll(() => sent(client, 'px'), { interval: 100 }).toBe(200);
    client.close();
  });
});

/** The tests run side by side. */
function portsOf(proxy: ProxyKind, test: number): { port: number; collectors: readonly [number, number] } {
  const port = proxy.port + 3 * test;
  return { port, collectors: [port + 1, port + 2] };
}

async function sent(client: Client, route: 'px' | 'collect', id: string = randomUUID()): Promise<number> {
  const { status } =
    route === 'px'
      ? await client.ask(`/px.gif?e=x&event_id=${id}`, undefined)
      : await client.ask('/collect', JSON.stringify({ e: 'x', event_id: id }));
  return status;
}

interface Names {
  readonly port: number;
  /** Names that were asked for. */
  readonly asked: Set<string>;
  /** Whether they exist by now, as 127.0.0.1. */
  known: boolean;
}

/** A name server: NXDOMAIN for every name, from `known` on 127.0.0.1 for one second. */
async function startNames(t: TestScope): Promise<Names> {
  const socket = createSocket('udp4');
  const names = { port: 0, asked: new Set<string>(), known: false };
  socket.on('message', (question, from) => {
    let end = 12;
    const labels: string[] = [];
    while (question[end]) {
      labels.push(question.toString('latin1', end + 1, end + 1 + question[end]!));
      end += 1 + question[end]!;
    }
    names.asked.add(labels.join('.').toLowerCase());
    const type = question.readUInt16BE(end + 1);
    const answers = names.known && type === 1 ? 1 : 0;
    const head = Buffer.alloc(12);
    question.copy(head, 0, 0, 2);
    head.writeUInt16BE(names.known ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answers, 6);
    const address = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    const parts = [head, question.subarray(12, end + 5), ...(answers > 0 ? [address] : [])];
    socket.send(Buffer.concat(parts), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  t.onTestFinished(() => socket.close());
  names.port = socket.address().port;
  return names;
}
