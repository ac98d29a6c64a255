import assert from 'node:assert/strict';
import { test } from 'vitest';
import { BatchEncoder } from '../../../src/sinks/postgres/encode.ts';
import { makeStorable } from '../../../src/sinks/postgres/storable.ts';
import { event, events, TestLane } from './fixture.ts';

test('a row of binary COPY has the bytes that the format asks for', () => {
  const one = event(1, { ts: Date.UTC(2000, 0, 1, 0, 0, 1, 5) });
  const lane = new TestLane([one]);
  const bytes = new BatchEncoder().rows(lane.batch(0, 1));
  const line = Buffer.from(one.line);
  const length = Buffer.alloc(4);
  length.writeInt32BE(line.length + 1);
  assert.deepEqual(
    bytes,
    Buffer.concat([
      Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex'),
      Buffer.from('0003', 'hex'),
      Buffer.from('00000010', 'hex'),
      Buffer.from(one.id.replaceAll('-', ''), 'hex'),
      Buffer.from('00000008', 'hex'),
      Buffer.from(1_005_000n.toString(16).padStart(16, '0'), 'hex'),
      length,
      Buffer.from([1]),
      line,
      Buffer.from('ffff', 'hex'),
    ]),
  );
});

test('instants before 2000, before 1970 and far away are counted right', () => {
  for (const ts of [
    -1, 0, 946_684_799_999, 946_684_800_000, -62_135_596_800_000, 4_102_444_800_000, 8_000_000_000_001,
  ]) {
    const bytes = new BatchEncoder().rows(new TestLane([event(1, { ts })]).batch(0, 1));
    assert.equal(bytes.readBigInt64BE(19 + 2 + 4 + 16 + 4), (BigInt(ts) - 946_684_800_000n) * 1000n, String(ts));
  }
});

test('an array is the lines with commas between', () => {
  const lane = new TestLane(events(3));
  const bytes = new BatchEncoder().array(lane.batch(0, 3));
  assert.equal(bytes[0], 1);
  assert.deepEqual(
    JSON.parse(bytes.toString('utf8', 1)),
    lane.events.map(({ line }) => JSON.parse(line)),
  );
});

test('a buffer is used again only after its batch is done, and never after a failure', () => {
  const encoder = new BatchEncoder();
  const lane = new TestLane(events(4));
  const first = encoder.rows(lane.batch(0, 2));
  assert.throws(() => encoder.rows(lane.batch(2, 4)), /still belongs to the batch before/);
  encoder.done();
  const second = encoder.rows(lane.batch(2, 4));
  assert.equal(second.buffer, first.buffer);
  const kept = Buffer.from(second);
  encoder.abandon();
  const third = encoder.rows(lane.batch(0, 4));
  assert.notEqual(third.buffer, second.buffer);
  assert.deepEqual(second, kept, 'what may still be in a socket was overwritten');
});

test('lines with such escapes are found among others, whatever the bytes between them are', () => {
  const odd = String.raw`{"a":"\u0000","b":"\\u0000"}`;
  const list = Array.from({ length: 200 }, (_, n) => {
    const id = n % 3 === 0 ? '5c755c75-5c75-755c-8575-5c755c755c75' : undefined;
    return event(n, { ...(id === undefined ? {} : { id }), ...(n % 7 === 0 ? { props: odd } : {}) });
  });
  const lane = new TestLane(list);
  const encoder = new BatchEncoder();
  const array = encoder.array(lane.batch(0, 200)).toString('utf8', 1);
  encoder.done();
  const rows = encoder.rows(lane.batch(0, 200)).toString('latin1');
  const stored = list.map(({ line }) => line.replace(String.raw`"\u0000"`, String.raw`"\ufffd"`));
  assert.equal(array, `[${stored.join(',')}]`);
  for (const line of stored) assert.ok(rows.includes(line), line);
});

test('the rule for escapes touches those that jsonb refuses and nothing else', () => {
  const cases: [json: string, stored: string][] = [
    [String.raw`"\u0000"`, String.raw`"\ufffd"`],
    [String.raw`"\\u0000"`, String.raw`"\\u0000"`],
    [String.raw`"\\\u0000"`, String.raw`"\\\ufffd"`],
    [String.raw`"\ud83d\ude00"`, String.raw`"\ud83d\ude00"`],
    [String.raw`"\uD83D\uDE00\uD83D"`, String.raw`"\uD83D\uDE00\ufffd"`],
    [String.raw`"\ud83d\ud83d\ude00"`, String.raw`"\ufffd\ud83d\ude00"`],
    [String.raw`"\ude00\ud83d"`, String.raw`"\ufffd\ufffd"`],
    [String.raw`"\ud83d\\ude00"`, String.raw`"\ufffd\\ude00"`],
    [String.raw`"\u0001\n\"\u00e4"`, String.raw`"\u0001\n\"\u00e4"`],
  ];
  for (const [json, stored] of cases) {
    const bytes = Buffer.from(`${json}"\\u0000"`); // what follows the line is another's
    makeStorable(bytes.subarray(0, json.length));
    assert.equal(bytes.toString(), `${stored}"\\u0000"`, json);
  }
});
