/** Tiers of the cache: what is not whole is not read, what is too much goes, and threads wait for each other's flights. */
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rangeOf } from '../../../src/gateway/cache/answer-entry.ts';
import { DiskTier, decodeEntry, encodeEntry, hashIn, hashOf } from '../../../src/gateway/cache/disk.ts';
import { DiskIndex } from '../../../src/gateway/cache/disk-index.ts';
import { Entry, etagOf, freshnessOf } from '../../../src/gateway/cache/entry.ts';
import { createFlights, Flights } from '../../../src/gateway/cache/flights.ts';
import { sweep } from '../../../src/gateway/cache/janitor-worker.ts';
import { MemoryTier } from '../../../src/gateway/cache/memory.ts';
import { Purges } from '../../../src/gateway/cache/purges.ts';
import { temporaryFolder } from '../../servers/process.ts';

function entryOf(key: string, bytes: number, purgeId = 0): Entry {
  const body = Buffer.alloc(bytes, key);
  const times = { storedAtMs: 0, freshUntilMs: 1, staleUntilMs: 2, errorUntilMs: 3, maxAgeS: 1 };
  const meta = { key, source: `local:///${key}`, headers: [], etag: etagOf(body), validator: '', varies: false };
  return new Entry({ ...meta, ...times, purgeId }, body);
}

test('a file of the disk tier is read whole or not at all', async () => {
  const file = encodeEntry(entryOf('a', 300));
  expect(decodeEntry(file)?.body.length).toBe(300);
  for (let at = 0; at < file.length; at++) {
    expect(decodeEntry(file.subarray(0, at))).toBeUndefined();
    const wrong = Buffer.from(file);
    wrong[at]! ^= 1;
    expect([at, decodeEntry(wrong)]).toEqual([at, undefined]);
  }
  const { folder } = temporaryFolder('ringmain-cache-');
  const flights = new Flights(createFlights(), 10);
  const index = new DiskIndex(DiskIndex.create(1 << 20));
  const parts = { flights, index, failed: (error: unknown) => expect.unreachable(String(error)), now: () => 1000 };
  const disk = new DiskTier(parts, { folder, bytesMax: 1 << 20 });
  await disk.write(entryOf('a', 300));
  expect((await disk.read('a', 'local:///a'))?.body.length).toBe(300);
  const [shard = ''] = readdirSync(folder).filter((name) => name !== 'tmp');
  const [name = ''] = readdirSync(join(folder, shard));
  writeFileSync(join(folder, shard, name), readFileSync(join(folder, shard, name)).subarray(0, -1));
  expect(await disk.read('a', 'local:///a')).toBeUndefined();
  expect(readdirSync(join(folder, shard))).toEqual([]);
  await disk.write(entryOf('a', 300));
  await disk.removeSource('local:///a');
  expect(await disk.read('a', 'local:///a')).toBeUndefined();
});

test('what was used longest ago goes first, in memory and on the disk', async () => {
  let evicted = 0;
  const memory = new MemoryTier(3 * 3100, () => evicted++);
  for (const key of ['a', 'b', 'c']) memory.put(entryOf(key, 1000));
  memory.get('a');
  memory.put(entryOf('d', 1000));
  expect([evicted, memory.get('b'), memory.get('a')?.meta.key]).toEqual([1, undefined, 'a']);
  const { folder } = temporaryFolder('ringmain-sweep-');
  mkdirSync(join(folder, 'aa'));
  mkdirSync(join(folder, 'tmp'));
  for (const [name, used] of [
    ['aa/old', 10],
    ['aa/new', 30],
    ['aa/mid', 20],
    ['tmp/left', 0],
  ] as const) {
    writeFileSync(join(folder, name), Buffer.alloc(1000));
    utimesSync(join(folder, name), used, used);
  }
  expect(await sweep(folder, 2500, 1_000_000)).toEqual({ bytes: 2000, evicted: 1 });
  expect([readdirSync(join(folder, 'aa')).sort(), readdirSync(join(folder, 'tmp'))]).toEqual([['mid', 'new'], []]);
});

test('the index of the disk never denies what is there, and forgets what a scan does not find', () => {
  const memory = DiskIndex.create(1 << 20);
  const [writer, reader] = [new DiskIndex(memory), new DiskIndex(memory)];
  const hashes = Array.from({ length: 1000 }, (_, i) => hashOf(`key ${i}`));
  const there = (): number => hashes.filter((hash) => reader.may(hash)).length;
  expect(there(), 'before the first scan anything may be there').toBe(1000);
  writer.add(hashes[0]!);
  const first = writer.scan();
  first.found(hashes[1]!);
  // Written while the scan goes on, behind its back.
  writer.add(hashes[2]!);
  expect(there()).toBe(1000);
  first.end();
  expect([reader.may(hashes[1]!), reader.may(hashes[2]!)]).toEqual([true, true]);
  expect(there()).toBeLessThan(10);
  for (const hash of hashes) writer.add(hash);
  expect(there()).toBe(1000);
  writer.scan().end();
  expect(there(), 'entries that were evicted').toBe(0);
  const name = `${'0'.repeat(32)}-${hashes[0]!.toString('hex')}`;
  expect([hashIn(name)?.equals(hashes[0]!), hashIn('leftover')]).toEqual([true, undefined]);
});

test('a flight is waited for until it lands, or until nobody believes in it any more', async () => {
  const memory = createFlights();
  const [one, other] = [new Flights(memory, 50), new Flights(memory, 50)];
  const hash = Buffer.from('0123456789abcdef');
  const elsewhere = Buffer.from('0123x56789abcdef');
  expect(one.claim(hash).kind).toBe('mine');
  expect(other.claim(elsewhere).kind).toBe('alone');
  const waits = other.claim(hash);
  one.land(hash);
  if (waits.kind === 'other') await waits.landed;
  expect([waits.kind, other.claim(hash).kind]).toEqual(['other', 'mine']);
  const vain = one.claim(hash);
  if (vain.kind === 'other') await vain.landed;
  expect(one.claim(hash).kind).toBe('mine');
});

test('purges end what began before them; headers say how long an answer lives', () => {
  const purges = new Purges();
  purges.begin([
    { id: 3, source: 'local:///a', prefix: false, atMs: 0 },
    { id: 5, source: 'local:///b', prefix: true, atMs: 0 },
  ]);
  const ends = (key: string, id: number) => purges.ends(entryOf(key, 1, id).meta);
  expect([ends('a', 2), ends('a', 3), ends('ab', 0), ends('bc', 4), ends('bc', 5)]).toEqual([
    true,
    false,
    false,
    true,
    false,
  ]);
  // The rule for everything that takes the place of the oldest ones, and a rule that is gone.
  purges.put({ id: 3, source: '', prefix: true, atMs: 0 });
  purges.drop(5);
  expect([ends('x', 2), ends('a', 3), ends('bc', 4), purges.newest]).toEqual([true, false, false, 5]);
  purges.put({ id: 6, source: 'local:///a', prefix: false, atMs: 0 });
  purges.put({ id: 7, source: 'local:///a', prefix: false, atMs: 0 });
  purges.drop(6);
  expect([ends('a', 6), ends('a', 7)]).toEqual([true, false]);
  purges.begin([{ id: 8, source: 'local:///c', prefix: false, atMs: 0 }]);
  expect([ends('a', 6), ends('c', 7)]).toEqual([false, true]);
  const lives = { ttlMs: 7000, staleMs: 100, staleErrorMs: 500 };
  const of = (name: string, value: string, end = Infinity) => freshnessOf([[name, value]], lives, 1000, end);
  expect(of('cache-control', 'public, max-age=60')).toMatchObject({
    keeps: true,
    freshUntilMs: 61_000,
    staleUntilMs: 61_100,
    maxAgeS: 60,
  });
  expect(of('cache-control', 'max-age=60, s-maxage=5').freshUntilMs).toBe(6000);
  expect(of('cache-control', 'no-store').keeps).toBe(false);
  // What is stale must be asked for again: nothing stands in for it, whatever this gateway was told.
  for (const strict of ['no-cache', 'max-age=0, must-revalidate', 'proxy-revalidate, max-age=0', 's-maxage=0'])
    expect([strict, of('cache-control', `stale-if-error=9, ${strict}`)]).toMatchObject([
      strict,
      { keeps: true, freshUntilMs: 1000, staleUntilMs: 1000, errorUntilMs: 1000 },
    ]);
  expect(of('cache-control', 'max-age=1, stale-while-revalidate=2, stale-if-error="3"')).toMatchObject({
    freshUntilMs: 2000,
    staleUntilMs: 4000,
    errorUntilMs: 5000,
  });
  expect(of('expires', new Date(9000).toUTCString()).freshUntilMs).toBe(9000);
  expect(of('expires', '0').freshUntilMs).toBe(1000);
  expect(of('x', '').errorUntilMs).toBe(8500);
  expect(of('x', '', 3000)).toMatchObject({ freshUntilMs: 3000, errorUntilMs: 3000 });
  expect([
    rangeOf('bytes=5-', 10),
    rangeOf('bytes=-0', 10),
    rangeOf('bytes=3-1', 10),
    rangeOf('items=0-1', 10),
  ]).toEqual([[5, 9], 'none', undefined, undefined]);
});
