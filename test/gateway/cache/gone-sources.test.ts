/**
 * Goal: nothing of an upload is kept that is deleted while a backend makes a picture of it, or while the disk takes one.
 * Method: a client, the front and a backend on real sockets; the test holds what the backend answers, or the disk.
 */
import { readdirSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { RetryBudget } from '../../../src/gateway/balance/retry-budget.ts';
import { DiskTier, hashOf } from '../../../src/gateway/cache/disk.ts';
import { DiskIndex } from '../../../src/gateway/cache/disk-index.ts';
import { createFlights, Flights } from '../../../src/gateway/cache/flights.ts';
import { MemoryTier } from '../../../src/gateway/cache/memory.ts';
import { PictureCache } from '../../../src/gateway/cache/picture-cache.ts';
import { SlowBodies } from '../../../src/gateway/cache/slow-bodies.ts';
import { PoolUpstream } from '../../../src/gateway/proxy/pool-upstream.ts';
import { freePort } from '../../http/raw.ts';
import { leaveIdleConnections, type TestScope, temporaryFolder } from '../../servers/process.ts';
import { balanced } from '../balance/table.ts';
import { startRig } from '../front/rig.ts';
import { standIn } from '../proxy/stand-in.ts';

const [port, backendPort] = [await freePort(24210), await freePort(24260)];
const SOURCE = '/ab/cd.jpg';

interface Started {
  readonly cache: PictureCache;
  readonly disk: DiskTier;
  /** How often the backend was asked. */
  asked(): number;
  /** From now on the backend waits with its answers; what is returned lets go those that wait. */
  hold(): () => void;
  /** Whether the picture came from the cache: HIT, MISS. */
  get(): Promise<string | null>;
  /** Files of pictures. */
  files(): readonly string[];
}

/** The cache in front of one backend; each path is its own source. */
async function start(t: TestScope): Promise<Started> {
  leaveIdleConnections();
  const waiting: (() => void)[] = [];
  let holds = false;
  const { url, seen } = await standIn(t, backendPort, (_req, res) => {
    const answer = () => res.writeHead(200, { 'Cache-Control': 'max-age=60' }).end('a picture');
    if (holds) waiting.push(answer);
    else answer();
  });
  const { balancer, table } = balanced([{ url }]);
  const upstream = new PoolUpstream(
    { balancer, budget: new RetryBudget(table, 20), retried: () => undefined },
    { connectMs: 5000, headMs: 30_000, bodyMs: 5000, wholeMs: 30_000 },
  );
  onTestFinished(() => upstream.close());
  const { folder } = temporaryFolder('ringmain-gone-');
  const flights = new Flights(createFlights(), 50);
  const index = new DiskIndex(DiskIndex.create(1 << 20));
  index.scan().end();
  const disk = new DiskTier({ flights, index, failed: () => undefined, now: Date.now }, { folder, bytesMax: 1 << 20 });
  const memory = new MemoryTier(
    1 << 20,
    () => undefined,
    () => undefined,
  );
  const slow = new SlowBodies(disk, (entry) => memory.holds(entry));
  const cache = new PictureCache(
    { upstream, memory, disk, flights, slow, now: Date.now, count: () => undefined },
    { ttlMs: 60_000, staleMs: 0, staleErrorMs: 0, entryBytesMax: 1 << 20, secret: undefined },
  );
  startRig(port, {
    routes: (guard) => {
      const get = guard.route({ route: 'image', scope: 'read' }, (exchange) => {
        const { path: key } = exchange;
        const known = { key, hash: hashOf(key), source: key, path: () => key, accept: '', varies: false };
        cache.serve(exchange, { ...known, owner: undefined, expiresAtMs: 1e15 }, undefined);
      });
      return [{ name: 'image', path: '/*', cors: guard.cors, on: { GET: get } }];
    },
  });
  return {
    cache,
    disk,
    asked: () => seen.length,
    hold() {
      holds = true;
      return () => {
        holds = false;
        for (const answer of waiting.splice(0)) answer();
      };
    },
    async get() {
      const answer = await fetch(`http://127.0.0.1:${port}${SOURCE}`, { headers: { 'X-API-Key': 'good' } });
      expect([answer.status, await answer.text()]).toEqual([200, 'a picture']);
      return answer.headers.get('x-cache');
    },
    files: () =>
      readdirSync(folder, { recursive: true })
        .map(String)
        .filter((name) => /-[0-9a-f]{32}$/.test(name)),
  };
}

test('a picture whose source goes while a backend makes it reaches who asked, and is not kept', async (t) => {
  const { cache, get, hold, asked, files } = await start(t);
  const release = hold();
  const first = get();
  await expect.poll(asked).toBe(1);
  cache.forget(new Set([SOURCE]));
  // Who comes now does not wait for what was made of the source before.
  const second = get();
  await expect.poll(asked).toBe(2);
  cache.forget(new Set([SOURCE]));
  release();
  expect([await first, await second, files()]).toEqual(['MISS', 'MISS', []]);
  expect([await get(), asked()]).toEqual(['MISS', 3]);
  // Of another source it would have been kept.
  expect([await get(), asked()]).toEqual(['HIT', 3]);
  await expect.poll(files).toHaveLength(1);
});

test('the file of a picture goes when its source went while the disk took it', async (t) => {
  const { cache, disk, get, asked, files } = await start(t);
  const gate = Promise.withResolvers<void>();
  const written = Promise.withResolvers<void>();
  const write = disk.write.bind(disk);
  disk.write = async (entry) => {
    await gate.promise;
    await write(entry);
    expect(files()).toHaveLength(1);
    written.resolve();
  };
  expect(await get()).toBe('MISS');
  cache.forget(new Set([SOURCE]));
  // The removal of what is there has gone by.
  await disk.removeSource('another one');
  gate.resolve();
  await written.promise;
  await expect.poll(files).toEqual([]);
  expect([await get(), asked()]).toEqual(['MISS', 2]);
});
