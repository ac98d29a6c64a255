import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { ManualClock } from '../../src/kernel/clock.ts';
import { ipFilter } from '../../src/visitor/privacy.ts';
import { SaltChain } from '../../src/visitor/salts.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
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

/** What threads of one process make of an address; each call asks a new thread and one that has been there before. */
function threads(chain: SaltChain): () => string {
  const old = hash({ chain: chain.memory });
  return () => {
    const [one, other] = [old('2001:db8::1', noon), hash({ chain: chain.memory })('2001:db8::1', noon)];
    assert.equal(one, other, 'threads agree');
    return one;
  };
}

test('without a secret all threads of a process agree, today and after midnight, and nobody else does', () => {
  const clock = new ManualClock(noon);
  const chain = new SaltChain(undefined, clock);
  const ask = threads(chain);
  const today = ask();
  clock.advance(DAY / 2 - 1);
  assert.equal(chain.look(), false);
  assert.equal(ask(), today);
  clock.advance(1);
  assert.equal(chain.look(), true);
  assert.notEqual(ask(), today);
  assert.notEqual(threads(new SaltChain(undefined, clock))(), ask());
});

test('a restart within the day goes on with its salt; the salt of a day that is over is nowhere', (t) => {
  const folder = folderFor(t);
  const clock = new ManualClock(noon);
  const first = new SaltChain(folder, clock);
  const ask = threads(first);
  const today = ask();
  assert.deepEqual(readdirSync(folder), ['ip-salt']);
  assert.equal(statSync(join(folder, 'ip-salt')).mode & 0o777, 0o600);
  assert.equal(threads(new SaltChain(folder, clock))(), today);

  // A process that lived through midnight and one that started after it agree, and so does one of an older version.
  const before = readFileSync(join(folder, 'ip-salt'), 'latin1');
  assert.match(before, /^20778 [0-9a-f]{64}\n$/);
  clock.advance(DAY);
  const next = new SaltChain(folder, clock);
  assert.ok(first.look());
  assert.equal(threads(next)(), ask());
  const after = readFileSync(join(folder, 'ip-salt'), 'latin1');
  assert.match(after, /^20779 /);
  assert.ok(!after.includes(before.slice(6, 70)));
  const salt = Buffer.from(before.slice(6, 70), 'hex');
  assert.ok(!Buffer.from(first.memory).includes(salt), 'nor in memory');
});

test('a torn or foreign salt file is replaced, and so is the salt of a day far away', (t) => {
  const folder = folderFor(t);
  const file = join(folder, 'ip-salt');
  const zeros = '0'.repeat(64);
  for (const text of [
    '',
    '20778',
    '20778 abc\n',
    'x'.repeat(1000),
    `999999 ${zeros}\n`,
    `1 ${zeros}\n`,
    `20779 ${zeros}\n`,
  ]) {
    writeFileSync(file, text);
    new SaltChain(folder, new ManualClock(noon));
    assert.match(readFileSync(file, 'latin1'), /^20778 /, text);
    assert.ok(!readFileSync(file, 'latin1').includes(zeros), text);
  }
});

// Goal: whatever somebody does to the wall clock, threads agree, a salt is not used for long, and none comes again.
// Method: a clock that is set; main looks once a minute of it.
test('a clock that is set back keeps the salt until the next midnight, and one that was years ahead is no harm', () => {
  const clock = new ManualClock(noon);
  const chain = new SaltChain(undefined, clock);
  const ask = threads(chain);
  const seen = [ask()];
  const turns = (ms: number): number => {
    let count = 0;
    for (let passed = 0; passed < ms; passed += 60_000) {
      clock.advance(60_000);
      if (!chain.look() || ask() === seen.at(-1)) continue;
      count += 1;
      assert.ok(!seen.includes(ask()), 'no salt comes again');
      seen.push(ask());
    }
    return count;
  };
  assert.equal(turns(DAY), 1, 'midnight');
  clock.set(noon - 10 * DAY);
  assert.equal(turns(DAY / 2 - 60_000), 0, 'set back by days: the salt stays');
  assert.equal(turns(60_000), 1, 'until midnight by the new clock');
  clock.set(noon + 20_000 * DAY);
  assert.equal(turns(60_000), 1, 'set ahead by years');
  clock.set(noon);
  assert.equal(turns(60_000), 0, 'and corrected');
  assert.equal(turns(3 * DAY), 3, 'then it turns day by day');
  clock.set(noon + 30 * DAY + DAY / 2 + 5_000);
  assert.equal(turns(60_000), 1);
  clock.set(noon + 30 * DAY + DAY / 2 - 90_000);
  assert.equal(turns(10 * 60_000), 0, 'a step of minutes over midnight is no second midnight');
  clock.set(noon);
  let waited = 0;
  for (; turns(60_000) === 0; waited += 60_000) clock.set(noon);
  assert.ok(waited <= 25 * HOUR, `a clock that is set back for ever turns it too: after ${waited / HOUR} h`);
});
