import '../collect/head-limit.ts';
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DeviceLookup } from '../../src/visitor/device.ts';
import { BoundedCache } from '../../src/visitor/enrich.ts';
import { GeoLookup } from '../../src/visitor/geo.ts';
import { startRig } from '../collect/rig.ts';
import { freePort, request } from '../http/raw.ts';
import { buildMmdb } from './mmdb.ts';

const port = await freePort(21290);
const city = (country: string, name: string) => ({
  country: { iso_code: country },
  subdivisions: [{ iso_code: 'BE' }],
  city: { names: { en: name, de: 'x' } },
});

test('GEOIP_DB gives country, region and city, from the full address, and takes a changed file', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-geo-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'city.mmdb');
  const replace = (bytes: Buffer) => {
    writeFileSync(`${file}.new`, bytes);
    renameSync(`${file}.new`, file);
  };
  replace(buildMmdb({ '203.0.113.0/24': city('DE', 'Berlin'), '198.51.100.0/25': { country: { iso_code: 'FR' } } }));
  const env = { GEOIP_DB: file, TRUST_PROXY: 'true', IP_MODE: 'none', DNT_MODE: 'anonymize' };
  const rig = await startRig(t, port, { env });
  const geoOf = async (address: string, headers: readonly string[] = []) => {
    await request(port, '/px.gif', { headers: [`X-Forwarded-For: ${address}`, ...headers] });
    return rig.events().at(-1)!['geo'];
  };
  const berlin = { country: 'DE', region: 'BE', city: 'Berlin' };
  assert.deepEqual(await geoOf('203.0.113.9'), berlin);
  assert.deepEqual(await geoOf('203.0.113.9'), berlin);
  assert.deepEqual(await geoOf('198.51.100.7'), { country: 'FR' });
  assert.deepEqual(await geoOf('198.51.100.200'), undefined);
  assert.deepEqual(await geoOf('2001:db8::1'), undefined);
  assert.deepEqual(
    await geoOf('203.0.113.9', ['DNT: 1']),
    berlin,
    'an anonymous event keeps where it came from, roughly',
  );
  assert.equal(rig.events().at(-1)!['ip'], undefined);
  assert.equal(rig.count('ringmain_cache_hits_total', { cache: 'geo' }), 2);
  assert.equal(rig.count('ringmain_cache_misses_total', { cache: 'geo' }), 4);

  replace(buildMmdb({ '203.0.113.0/24': city('AT', 'Wien') }));
  const cityOf = async (address: string) => ((await geoOf(address)) as { city: string }).city;
  await expect.poll(() => cityOf('203.0.113.9'), { message: 'a changed database must be taken' }).toBe('Wien');
  writeFileSync(file, 'no database');
  await expect.poll(() => rig.faults.length).toBeGreaterThan(0);
  assert.equal(await cityOf('203.0.113.9'), 'Wien', 'the last good database stays');
});

test('a GEOIP_DB that is none refuses to open', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-geo-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'bad.mmdb');
  const meters = { hits: { add: () => {} }, misses: { add: () => {} } };
  await assert.rejects(
    GeoLookup.open(file, meters, () => {}),
    { code: 'CONFIG', exit: 78 },
  );
  writeFileSync(file, 'no database');
  await assert.rejects(
    GeoLookup.open(file, meters, () => {}),
    { code: 'CONFIG', message: /bad\.mmdb/ },
  );
});

test('a cache stays within its bound and keeps what is in use', () => {
  const cache = new BoundedCache<number>(100);
  for (let i = 0; i < 10_000; i++) {
    cache.set(`key ${i}`, i);
    assert.equal(cache.get('key 0'), 0, 'an entry that is asked for again and again stays');
    assert.ok(cache.size <= 101);
  }
  assert.equal(cache.get('key 5'), undefined);
});

test('a user agent is read once, and one of absurd length not at all', () => {
  let hits = 0;
  let misses = 0;
  const lookup = new DeviceLookup({ hits: { add: () => (hits += 1) }, misses: { add: () => (misses += 1) } });
  const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
  assert.deepEqual(JSON.parse(lookup.find(agent)!.toString()), {
    type: 'desktop',
    browser: 'Firefox',
    browser_version: '140.0',
    os: 'Linux',

    bot: false,
  });
  lookup.find(agent);
  assert.deepEqual([hits, misses], [1, 1]);
  assert.equal(lookup.find(''), undefined);
  assert.equal(lookup.find('x'.repeat(513)), undefined);
  assert.equal(JSON.parse(lookup.find('curl/8.0')!.toString()).bot, true);
});
