import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'vitest';
import {
  parseUuid,
  SID_TEXT_BYTES,
  SidMaker,
  UUID_TEXT_BYTES,
  UuidMaker,
  writeUuidText,
} from '../../src/kernel/ids.ts';

const v7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

function textOf(bytes: Uint8Array): string {
  const text = Buffer.alloc(UUID_TEXT_BYTES);
  writeUuidText(bytes, 0, text, 0);
  return text.toString('latin1');
}

function next(maker: UuidMaker, ms: number): Buffer {
  const bytes = Buffer.alloc(16);
  maker.write(bytes, 0, ms);
  return bytes;
}

test('an id is a version 7 UUID whose first 48 bits are the ms it was asked for', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 48 - 2 }), (ms) => {
      const bytes = next(new UuidMaker(), ms);
      assert.match(textOf(bytes), v7);
      assert.equal(bytes.readUIntBE(0, 6), ms);
    }),
  );
});

// Goal: order within a thread whatever the clock does. Method: a clock that stands, jumps and goes back, 5,000 ids per run.
test('each id is greater than the one before, also when the clock stands, jumps or goes back', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5_000, max: 5_000 }), { minLength: 1, maxLength: 50 }), (steps) => {
      const maker = new UuidMaker();
      let ms = 1_800_000_000_000;
      let before = next(maker, ms);
      for (const step of steps) {
        ms += step;
        for (let i = 0; i < 100; i += 1) {
          const id = next(maker, ms);
          assert.ok(Buffer.compare(before, id) < 0, `${textOf(before)} is not below ${textOf(id)}`);
          assert.match(textOf(id), v7);
          before = id;
        }
      }
    }),
    { numRuns: 20 },
  );
});

test('a full counter takes the ms one further, and the clock catches up with it', () => {
  const maker = new UuidMaker((bytes) => bytes.fill(0xff));
  const ids = Array.from({ length: 5_000 }, () => next(maker, 1_000));
  // 0x7ff..0xfff are 2,049 ids per ms.
  assert.equal(ids[2_048]!.readUIntBE(0, 6), 1_000);
  assert.equal(ids[2_049]!.readUIntBE(0, 6), 1_001);
  assert.equal(ids[4_999]!.readUIntBE(0, 6), 1_002);
  assert.equal(next(maker, 5_000).readUIntBE(0, 6), 5_000);
});

test('no two of 200,000 ids of two makers in one ms are equal, and their random bits are balanced', () => {
  const makers = [new UuidMaker(), new UuidMaker()];
  const seen = new Set<string>();
  const ones = new Array<number>(64).fill(0);
  for (let i = 0; i < 100_000; i += 1) {
    for (const maker of makers) {
      const id = next(maker, 1_800_000_000_000);
      seen.add(id.toString('hex'));
      const random = id.readBigUInt64BE(8);
      if (i < 5_000) for (let bit = 0; bit < 64; bit += 1) ones[bit]! += Number((random >> BigInt(bit)) & 1n);
    }
  }
  assert.equal(seen.size, 200_000);
  // 10,000 throws: 5 standard deviations are 250. The two highest bits are the variant.
  for (const [bit, count] of ones.slice(0, 62).entries()) {
    assert.ok(Math.abs(count - 5_000) < 300, `bit ${bit} was set ${count} times of 10,000`);
  }
});

test('an id is written at its offset and nowhere else', () => {
  const target = Buffer.alloc(64, 0xaa);
  new UuidMaker().write(target, 7, 1);
  assert.ok(target.subarray(0, 7).every((byte) => byte === 0xaa) && target.subarray(23).every((byte) => byte === 0xaa));
  target.fill(0xaa);
  writeUuidText(Buffer.alloc(16, 1), 0, target, 5);
  assert.ok(target.subarray(0, 5).every((byte) => byte === 0xaa) && target.subarray(41).every((byte) => byte === 0xaa));
  target.fill(0xaa);
  new SidMaker().write(target, 3);
  assert.ok(target.subarray(0, 3).every((byte) => byte === 0xaa) && target.subarray(37).every((byte) => byte === 0xaa));
});

test('every UUID that is read is written again in lower case', () => {
  const bytes = Buffer.alloc(20);
  const check = (uuid: string) => {
    const source = Buffer.from(`..${uuid}..`);
    assert.ok(parseUuid(source, 2, 36, bytes, 4), uuid);
    assert.equal(textOf(bytes.subarray(4)), uuid.toLowerCase());
    assert.equal(bytes.toString('hex', 4), uuid.toLowerCase().replaceAll('-', ''));
  };
  fc.assert(
    fc.property(fc.uuid(), fc.boolean(), (uuid, upper) => {
      check(upper ? uuid.toUpperCase() : uuid);
    }),
  );
  for (let i = 0; i < 100; i += 1) check(randomUUID());
  check('00000000-0000-0000-0000-000000000000');
});

test('what is not exactly a UUID is refused: one byte changed, cut or added', () => {
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
  const bytes = Buffer.alloc(16);
  const refused = (text: string | Buffer) => {
    const source = Buffer.from(text);
    assert.equal(parseUuid(source, 0, source.length, bytes, 0), false, String(text));
  };
  for (const text of ['', '{8f14e45f-ceea-467f-a83c-0d1e2f3a4b5c}', 'urn:uuid:8f14e45f-ceea-467f-a83c-0d1e2f3a4b5c'])
    refused(text);
  refused('8f14e45fceea467fa83c0d1e2f3a4b5c');
  fc.assert(
    fc.property(fc.uuid(), fc.nat(35), fc.nat(255), (uuid, at, byte) => {
      const source = Buffer.from(uuid);
      source[at] = byte;
      assert.equal(parseUuid(source, 0, 36, bytes, 0), form.test(source.toString('latin1')), source.toString('latin1'));
      refused(uuid.slice(0, at));
      refused(`${uuid}0`);
    }),
    { numRuns: 1_000 },
  );
  assert.equal(parseUuid(Buffer.from(randomUUID()), 1, 36, bytes, 0), false, 'read behind the end');
});

test('a visitor id is s_ and 128 random bits in hex', () => {
  const maker = new SidMaker();
  const seen = new Set<string>();
  for (let i = 0; i < 10_000; i += 1) {
    const text = Buffer.alloc(SID_TEXT_BYTES);
    maker.write(text, 0);
    assert.match(text.toString('latin1'), /^s_[0-9a-f]{32}$/);
    seen.add(text.toString('latin1'));
  }
  assert.equal(seen.size, 10_000);
});

// Goal: no random byte serves two ids. Method: the source counts in 32-bit words, so that a word seen twice would show.
test('every id takes random bytes that no other id has had, also across a refill', () => {
  let word = 0;
  const count = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += 4) new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, word++);
  };
  const sids = new SidMaker(count);
  const text = Buffer.alloc(SID_TEXT_BYTES);
  const words = new Set<string>();
  for (let i = 0; i < 2_000; i += 1) {
    sids.write(text, 0);
    for (let at = 2; at < SID_TEXT_BYTES; at += 8) words.add(text.toString('latin1', at, at + 8));
  }
  assert.equal(words.size, 8_000);
  // An id takes 10 bytes: its 8 random ones and 2 for the counter's start, so the bytes come in a known order.
  let byte = 0;
  const uuids = new UuidMaker((bytes) => {
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = byte++ % 251;
  });
  for (let i = 0; i < 1_700; i += 1) {
    const id = next(uuids, i);
    // 819 ids fit into a pool of 8 KiB; its last 2 bytes serve nobody.
    const first = Math.floor(i / 819) * 8_192 + (i % 819) * 10;
    const expected = Array.from({ length: 7 }, (_, k) => (first + 1 + k) % 251);
    assert.deepEqual([...id.subarray(9)], expected, `id ${i}`);
  }
});
