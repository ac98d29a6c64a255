import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { dayOf, ipFilter, loadSaltLink } from '../../src/visitor/privacy.ts';

const DAY = 86_400_000;
const noon = Date.UTC(2026, 10, 21, 12);
const hash = (source: Parameters<typeof ipFilter>[1]) => ipFilter('hash', source);

function folderFor(t: { onTestFinished(fn: () => unknown): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-salt-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('full keeps the address, none keeps nothing, truncate keeps /24 and /48', () => {
  assert.equal(ipFilter('full', undefined)('203.0.113.9', noon), '203.0.113.9');
  assert.equal(ipFilter('none', undefined)('203.0.113.9', noon), '');
  const truncate = ipFilter('truncate', undefined);
  for (const [address, kept] of [
    ['203.0.113.9', '203.0.113.0'],
    ['255.255.255.255', '255.255.255.0'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::'],
    ['::1', '::'],
    ['', ''],
  ] as const) {
    assert.equal(truncate(address, noon), kept);
  }
});

test('with a secret the hash is the same on every host, until the UTC day ends', () => {
  const one = hash({ secret: 'a secret of some length' });
  const other = hash({ secret: 'a secret of some length' });
  const address = '203.0.113.9';
  assert.match(one(address, noon), /^[0-9a-f]{32}$/);
  assert.equal(one(address, noon), other(address, noon + 60_000));
  const midnight = Date.UTC(2026, 10, 22);
  assert.equal(one(address, midnight - 1), one(address, noon));
  assert.notEqual(one(address, midnight), one(address, midnight - 1));
  assert.notEqual(hash({ secret: 'another secret, as long' })(address, noon), other(address, noon));
  assert.notEqual(one('203.0.113.10', noon), one(address, noon));
  assert.equal(one('', noon), '');
});

test('without a secret all threads of a process agree, today and after midnight, and nobody else does', () => {
  const link = loadSaltLink(undefined, noon);
  const [one, other] = [hash({ link }), hash({ link })];
  const address = '2001:db8::1';
  assert.equal(one(address, noon), other(address, noon));
  const today = one(address, noon);
  // One of them has seen no request for two days.
  one(address, noon + DAY);
  assert.equal(one(address, noon + 2 * DAY), other(address, noon + 2 * DAY));
  assert.notEqual(one(address, noon + 2 * DAY), today);
  assert.notEqual(hash({ link: loadSaltLink(undefined, noon) })(address, noon), today);
});

test('a restart within the day goes on with its salt; the salt of a day that is over is nowhere', (t) => {
  const folder = folderFor(t);
  const address = '203.0.113.9';
  const first = loadSaltLink(folder, noon);
  assert.deepEqual(readdirSync(folder), ['ip-salt']);
  assert.equal(statSync(join(folder, 'ip-salt')).mode & 0o777, 0o600);
  assert.equal(hash({ link: loadSaltLink(folder, noon + 1000) })(address, noon), hash({ link: first })(address, noon));

  // A thread that lived through midnight and a process that started after it agree.
  const lived = hash({ link: first });
  lived(address, noon);
  const next = loadSaltLink(folder, noon + DAY);
  assert.equal(next.day, dayOf(noon + DAY));
  assert.equal(lived(address, noon + DAY), hash({ link: next })(address, noon + DAY));
  assert.ok(!readFileSync(join(folder, 'ip-salt'), 'latin1').includes(Buffer.from(first.salt).toString('hex')));
});

test('a torn or foreign salt file is replaced, and a clock that jumped years ahead does not stop the start', (t) => {
  const folder = folderFor(t);
  for (const text of ['', '20778', '20778 abc\n', 'x'.repeat(1000), `999999 ${'0'.repeat(64)}`]) {
    writeFileSync(join(folder, 'ip-salt'), text);
    assert.equal(loadSaltLink(folder, noon).day, dayOf(noon));
  }
  writeFileSync(join(folder, 'ip-salt'), `1 ${'0'.repeat(64)}\n`);
  const started = performance.now();
  assert.equal(loadSaltLink(folder, noon).day, dayOf(noon));
  assert.ok(performance.now() - started < 100);
});

test('a clock that steps back over midnight keeps the newer salt', () => {
  const one = hash({ link: loadSaltLink(undefined, noon) });
  const after = one('203.0.113.9', noon + DAY);
  assert.equal(one('203.0.113.9', noon), after);
});
