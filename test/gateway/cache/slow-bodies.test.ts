/**
 * Goal: clients that read large pictures slowly get them whole, and hold a bounded part of this process's memory; a
 * slow disk holds up nobody. Method: a cache whose memory tier has room for one picture of many, clients that do not
 * read, then do; writes that never end.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { conditionsOf } from '../../../src/gateway/cache/answer-entry.ts';
import { DiskTier, hashOf } from '../../../src/gateway/cache/disk.ts';
import { DiskIndex } from '../../../src/gateway/cache/disk-index.ts';
import { createFlights, Flights } from '../../../src/gateway/cache/flights.ts';
import { MemoryTier } from '../../../src/gateway/cache/memory.ts';
import { PictureCache } from '../../../src/gateway/cache/picture-cache.ts';
import { SlowBodies } from '../../../src/gateway/cache/slow-bodies.ts';
import type { Upstream, UpstreamSink } from '../../../src/gateway/proxy/upstream.ts';
import { freePort, requestBytes } from '../../http/raw.ts';
import { leaveIdleConnections, temporaryFolder } from '../../servers/process.ts';
import { type Rig, startRig } from '../front/rig.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const MiB = 2 ** 20;
/** More than the kernel keeps for a connection. */
const BYTES = 8 * MiB;
const port = await freePort(24160);

/** The picture of a path: no two are alike, nor are two places of one. */
function pictureOf(path: string): Buffer {
  const picture = Buffer.alloc(BYTES, `the picture of ${path}, `);
  for (let at = 0; at < BYTES; at += 1024) picture.writeUInt32LE(at, at);
  return picture;
}

interface Wishes {
  readonly cacheControl?: string;
  readonly memoryBytes?: number;
  readonly entryBytesMax?: number;
  /** A write to the disk never ends. */
  readonly hangs?: boolean;
}

interface Pictures {
  readonly rig: Rig;
  readonly dir: string;
  /** Paths of requests to the backend. */
  readonly asked: readonly string[];
}

/** Pictures through the cache alone. */
function startPictures({
  cacheControl = 'max-age=60',
  memoryBytes = 10 * MiB,
  entryBytesMax = 64 * MiB,
  hangs = false,
}: Wishes = {}): Pictures {
  // Those to the server of the test before.
  leaveIdleConnections();
  const asked: string[] = [];
  const dir = temporaryFolder('ringmain-slow-').folder;
  const upstream: Upstream = {
    get({ path }) {
      asked.push(path);
      const body = pictureOf(path);
      const headers = [['cache-control', cacheControl] as const];
      const pipe = (sink: UpstreamSink) => {
        let at = 0;
        const flow = {
          resume() {
            while (at < BYTES) {
              const piece = body.subarray(at, at + MiB / 2);
              at += piece.length;
              if (!sink.chunk(piece)) return;
            }
            sink.end();
          },
          cancel() {
            at = BYTES;
          },
        };
        // As an attempt does it: what is here comes at once.
        flow.resume();
        return flow;
      };
      return Promise.resolve({ status: 200, headers, length: BYTES, backendId: 1, pipe, discard: () => undefined });
    },
    close: () => Promise.resolve(),
  };
  const flights = new Flights(createFlights(), 1000);
  const index = new DiskIndex(DiskIndex.create(64 * MiB));
  const parts = { flights, index, failed: () => undefined, now: Date.now };
  const disk = new DiskTier(parts, { folder: dir, bytesMax: 1024 * MiB });
  if (hangs) disk.write = () => new Promise(() => undefined);
  const slow = new SlowBodies(disk, (entry) => memory.holds(entry));
  const memory = new MemoryTier(
    memoryBytes,
    () => undefined,
    (entry) => slow.left(entry),
  );
  const cache = new PictureCache(
    { upstream, memory, disk, flights, slow, now: Date.now, count: () => undefined },
    { ttlMs: 60_000, staleMs: 0, staleErrorMs: 0, entryBytesMax, secret: undefined },
  );
  const rig = startRig(port, {
    routes: (guard) => {
      const get = guard.route({ route: 'image', scope: 'read' }, (exchange, req) => {
        const { path } = exchange;
        const request = {
          key: path,
          hash: hashOf(path),
          source: path,
          accept: '',
          varies: false,
          owner: undefined,
          expiresAtMs: 1e15,
        };
        cache.serve(exchange, { ...request, path: () => path }, conditionsOf(req));
      });
      return [{ name: 'image', path: '/*', cors: guard.cors, streams: true, on: { GET: get } }];
    },
  });
  return { rig, dir, asked };
}

async function ask(path: string, ...headers: string[]): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').pause();
  await once(socket, 'connect');
  socket.write(requestBytes(path, { headers: ['X-API-Key: good', ...headers] }));
  return socket;
}

/** Reads an answer until its body has so many bytes or ends so, or the connection ends. */
async function bodyOf(socket: Socket, end: number | string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  let begin = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    begin ||= Buffer.concat(chunks).indexOf('\r\n\r\n') + 4;
    if (typeof end === 'number' ? length - begin >= end : chunk.includes(end)) break;
  }
  return Buffer.concat(chunks).subarray(begin);
}

/** The bytes in the chunks of a body. */
function unchunked(body: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; ; ) {
    const begin = body.indexOf('\r\n', at) + 2;
    const bytes = Number.parseInt(body.toString('latin1', at, begin), 16);
    if (bytes === 0) return Buffer.concat(pieces);
    pieces.push(body.subarray(begin, begin + bytes));
    at = begin + bytes + 2;
  }
}

/** Asks for a picture each, one after the other, until all answers have begun: each throws the one before out of the tier. */
async function askAll(count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  onTestFinished(() => sockets.forEach((socket) => void socket.destroy()));
  for (let i = 0; i < count; i++) {
    const socket = await ask(`/${i}`);
    sockets.push(socket);
    await once(socket, 'readable');
  }
  return sockets;
}

/** Bytes of buffers that are still in use. */
function buffers(): number {
  gc();
  return process.memoryUsage().arrayBuffers;
}

test.each([
  ['kept', {}],
  ['not to be kept', { cacheControl: 'no-store' }],
  ['too large to be kept', { entryBytesMax: MiB }],
] as const)(
  'who does not read pictures that are %s holds no more than 256 KiB each, and gets them whole later',
  async (_, wishes) => {
    const before = buffers();
    const count = 8;
    const { rig } = startPictures(wishes);
    const sockets = await askAll(count);
    assert.equal(rig.records().length, 0, 'no client has all of its picture');
    // The tier has one of them, and each socket of this process a piece.
    await expect.poll(buffers).toBeLessThan(before + 10 * MiB + count * 0.25 * MiB + 4 * MiB);
    for (const [i, socket] of sockets.entries()) {
      expect((await bodyOf(socket, BYTES)).equals(pictureOf(`/${i}`))).toBe(true);
      socket.destroy();
    }
    expect(rig.faults).toEqual([]);
  },
  30_000,
);

test('a part of a picture, and the last answer of a connection, are read slowly as well', async () => {
  const { rig } = startPictures({ memoryBytes: 0 });
  const part = await ask('/a', 'Range: bytes=1000001-8000000');
  await once(part, 'readable');
  rig.wire.closing = true;
  const last = await ask('/b');
  await once(last, 'readable');
  expect((await bodyOf(part, 7_000_000)).equals(pictureOf('/a').subarray(1_000_001, 8_000_001))).toBe(true);
  expect(unchunked(await bodyOf(last, '\r\n0\r\n\r\n')).equals(pictureOf('/b'))).toBe(true);
  await expect.poll(() => rig.records().map(({ out }) => out)).toEqual([7_000_000, BYTES]);
});

test('where no file can be had, slow clients hold a bounded sum, and those beyond it are closed', async () => {
  const before = buffers();
  const count = 8;
  const { dir } = startPictures({ memoryBytes: 0 });
  // A file where the folder should be: nothing can be written.
  rmSync(dir, { recursive: true });
  writeFileSync(dir, '');
  const sockets = await askAll(count);
  await expect.poll(buffers).toBeLessThan(before + 32 * MiB + count * 0.25 * MiB + 4 * MiB);
  const whole = await Promise.all(sockets.map((socket) => bodyOf(socket, BYTES)));
  const wholes = whole.filter(({ length }) => length === BYTES).length;
  expect([wholes >= 1, wholes < count]).toEqual([true, true]);
});

test('a disk that hangs holds up no answer of its thread', async () => {
  startPictures({ hangs: true });
  for (const state of ['MISS', 'HIT']) {
    const answer = await fetch(`http://127.0.0.1:${port}/a`, { headers: { 'X-API-Key': 'good' } });
    expect([answer.headers.get('x-cache'), (await answer.arrayBuffer()).byteLength]).toEqual([state, BYTES]);
  }
});

test('those who want a picture that is too large to be kept wait for one request, and have ETag and Range', async () => {
  const { asked, dir } = startPictures({ entryBytesMax: MiB });
  const get = (headers: Readonly<Record<string, string>> = {}) =>
    fetch(`http://127.0.0.1:${port}/a`, { headers: { 'X-API-Key': 'good', ...headers } });
  const answers = await Promise.all(Array.from({ length: 30 }, () => get()));
  for (const answer of answers) {
    expect([answer.status, answer.headers.get('x-cache')]).toEqual([200, 'MISS']);
    expect(Buffer.from(await answer.arrayBuffer()).equals(pictureOf('/a'))).toBe(true);
  }
  expect(asked).toEqual(['/a']);
  const etag = answers[0]!.headers.get('etag')!;
  expect((await get({ 'if-none-match': etag })).status).toBe(304);
  const part = await get({ range: 'bytes=5000000-5000099', 'if-range': etag });
  expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 5000000-5000099/${BYTES}`]);
  expect(Buffer.from(await part.arrayBuffer()).equals(pictureOf('/a').subarray(5_000_000, 5_000_100))).toBe(true);
  // Where the disk takes nothing, each client gets it as it comes.
  rmSync(dir, { recursive: true });
  writeFileSync(dir, '');
  expect((await (await get()).arrayBuffer()).byteLength).toBe(BYTES);
});
