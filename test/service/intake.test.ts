/** The protocol between a route and the engine, over a fake lane that refuses on demand. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { refusals } from '../../src/engine/refusal.ts';
import type { Draft } from '../../src/events/draft.ts';
import { EVENT_KIND, EVENT_VERSION, putRecord, recordBytes } from '../../src/events/record.ts';
import { type Encoding, LaneIntake, statusOfRefusal } from '../../src/service/intake.ts';
import { FakeLane } from '../collect/fake-lane.ts';

const answer = { settled: () => {} };

const ID = '0198c0de-0000-7000-8000-000000000000';
const line = (name: string) => Buffer.from(`{"event_id":"${ID}","ts":"2026-01-01T00:00:00.000Z","e":"${name}"}`);

/** Encodes an event of each name; `then` is what encode() says afterwards. */
function events(names: readonly string[], then: ReturnType<Encoding['encode']> = 'ok') {
  const encoding = {
    calls: 0,
    encode(draft: Draft) {
      encoding.calls += 1;
      for (const name of names) {
        const json = line(name);
        const record = draft.begin(recordBytes(json.length));
        draft.commit(putRecord(draft.buffer, record, json, 0), EVENT_KIND, EVENT_VERSION);
      }
      return then;
    },
  };
  return encoding;
}

const stored = (lane: FakeLane) => lane.lines.map((text) => (JSON.parse(text) as { e: string }).e);

test('a full lane costs no encoding', () => {
  const lane = new FakeLane();
  lane.refuses = 'ring_full';
  const encoding = events(['a']);
  assert.equal(new LaneIntake(lane, lane).take(encoding, 'journal', answer), 'ring_full');
  assert.equal(encoding.calls, 0);
});

test('records that find no room when their size is known are forgotten, those before them stay', () => {
  const lane = new FakeLane();
  lane.mode = 'later';
  const intake = new LaneIntake(lane, lane);
  assert.equal(intake.take(events(['first']), 'journal', answer), 'held');
  let looks = 0;
  lane.refusal = () => (++looks === 2 ? 'journal_full' : undefined);
  assert.equal(intake.take(events(['second', 'third']), 'journal', answer), 'journal_full');
  lane.release('stored');
  assert.deepEqual(stored(lane), ['first']);
});

test('what is too large or nothing is rewound and not settled, whatever was committed of it', () => {
  const lane = new FakeLane();
  const intake = new LaneIntake(lane, lane);
  for (const then of ['too_large', 'nothing'] as const)
    assert.equal(intake.take(events(['a'], then), 'journal', answer), then);
  assert.equal(intake.take(events(['b']), 'journal', answer), 'stored');
  assert.deepEqual(stored(lane), ['b']);
});

test('records that do not fit behind others publish the others first; larger than a whole draft is too large', () => {
  const lane = new FakeLane();
  lane.mode = 'later';
  lane.draftBytesMax = 3000;
  const intake = new LaneIntake(lane, lane);
  const big = (name: string) => [name.repeat(1600)];
  assert.equal(intake.take(events(big('a')), 'journal', answer), 'held');
  const second = events(big('b'));
  assert.equal(intake.take(second, 'journal', answer), 'held');
  assert.equal(second.calls, 2);
  assert.equal(lane.lines.length, 1, 'the first must be published before the second is encoded again');
  const batch = events([...big('c'), ...big('d')]);
  assert.equal(intake.take(batch, 'journal', answer), 'too_large');
  assert.equal(batch.calls, 2);
  lane.release('stored');
  assert.deepEqual(
    stored(lane).map((name) => name[0]),
    ['a', 'b'],
    'nothing of the batch may be stored',
  );
});

test('an error while encoding goes on and leaves nothing behind', () => {
  const lane = new FakeLane();
  const intake = new LaneIntake(lane, lane);
  const half = events(['half']);
  const failing: Encoding = {
    encode(draft) {
      half.encode(draft);
      throw new Error('a bug');
    },
  };
  assert.throws(() => intake.take(failing, 'journal', answer), /a bug/);
  assert.equal(intake.take(events(['next']), 'journal', answer), 'stored');
  assert.deepEqual(stored(lane), ['next']);
});

test('an answer is held only when the result is held; a failed write is unknown', () => {
  const lane = new FakeLane();
  const intake = new LaneIntake(lane, lane);
  for (const [mode, taken, held] of [
    ['now', 'stored', 0],
    ['failed', 'unknown', 0],
    ['later', 'held', 1],
  ] as const) {
    lane.mode = mode;
    assert.equal(intake.take(events(['x']), 'sync', answer), taken);
    assert.equal(lane.held.length, held);
  }
  assert.equal(lane.held[0], answer);
  intake.dropped(answer);
  assert.equal(lane.dropped_, 1);
});

test('every refusal has a status: 503 only where the server needs an operator', () => {
  const needsOperator = refusals.filter((refusal) => statusOfRefusal[refusal] === 503);
  assert.deepEqual(needsOperator, ['journal_failed']);
});
