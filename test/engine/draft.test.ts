/** Draft: how records become frames, before anything is written. */
import { expect, test } from 'vitest';
import { Draft, DraftTooLarge } from '../../src/engine/draft.ts';
import { FRAME_BODY_MAX, FRAME_HEADER, openFrame } from '../../src/engine/frame.ts';
import { align8, RECORD_HEADER } from '../../src/kernel/record.ts';

const SEED = 7;

function append(draft: Draft, bytes: number, fill: number): void {
  const at = draft.begin(RECORD_HEADER + bytes);
  draft.buffer.fill(fill, at + RECORD_HEADER, at + RECORD_HEADER + bytes);
  draft.commit(at + RECORD_HEADER + bytes, 1, 1);
}

/** The frames of a sealed draft that begins at `position` of its lane. */
function framesOf(draft: Draft, position: number) {
  const frames = [];
  for (let at = draft.start; at < draft.end; ) {
    const frame = openFrame(draft.buffer, draft.view, at, draft.end, position + at - draft.start, SEED);
    if (frame === undefined) throw new Error(`no frame: offset=${at}`);
    frames.push(frame);
    at += frame.bytes;
  }
  return frames;
}

test('records share a frame until its body is full; each frame knows its position and its first record', () => {
  const draft = new Draft(4 * FRAME_BODY_MAX);
  const bytes = 20_000;
  for (let n = 0; n < 5; n++) append(draft, bytes, n);
  expect(draft.records).toBe(5);
  expect(draft.close()).toBe(true);
  draft.seal(4096, 100, 1234, SEED);
  const frames = framesOf(draft, 4096);
  expect(frames.map(({ records, firstRecord }) => [records, firstRecord])).toEqual([
    [3, 100],
    [2, 103],
  ]);
  expect(frames.map(({ position, ms }) => [position, ms])).toEqual([
    [4096, 1234],
    [4096 + frames[0]!.bytes, 1234],
  ]);
  expect(frames[0]!.bytes).toBe(FRAME_HEADER + 3 * align8(RECORD_HEADER + bytes));
});

test('a record larger than a frame has one of its own, and the draft grows for it without losing what it holds', () => {
  const draft = new Draft(16 * FRAME_BODY_MAX);
  append(draft, 10, 1);
  append(draft, 5 * FRAME_BODY_MAX, 2);
  append(draft, 10, 3);
  draft.close();
  draft.seal(0, 0, 1, SEED);
  expect(framesOf(draft, 0).map(({ records }) => records)).toEqual([1, 1, 1]);
  expect(draft.buffer[draft.start + FRAME_HEADER + RECORD_HEADER]).toBe(1);
  expect(draft.buffer[draft.end - align8(RECORD_HEADER + 10) + RECORD_HEADER]).toBe(3);
});

test('rewind forgets what came after the mark, also when a frame was closed in between', () => {
  const draft = new Draft(8 * FRAME_BODY_MAX);
  append(draft, 100, 1);
  const mark = draft.mark();
  const bytes = draft.bytes;
  for (let n = 0; n < 10; n++) append(draft, 20_000, 2);
  draft.rewind(mark);
  expect([draft.records, draft.bytes]).toEqual([1, bytes]);
  append(draft, 100, 3);
  draft.close();
  draft.seal(0, 0, 1, SEED);
  expect(framesOf(draft, 0).map(({ records }) => records)).toEqual([2]);
});

test('a begin without a commit leaves nothing behind', () => {
  const draft = new Draft(4 * FRAME_BODY_MAX);
  draft.begin(100);
  expect(draft.close()).toBe(false);
  expect(draft.bytes).toBe(0);
});

test('more than the largest draft is refused, and what was in it stays', () => {
  const draft = new Draft(4 * FRAME_BODY_MAX);
  append(draft, 1000, 1);
  const { end, records } = draft;
  expect(() => draft.begin(4 * FRAME_BODY_MAX)).toThrow(DraftTooLarge);
  expect([draft.end, draft.records]).toEqual([end, records]);
});

test('clear keeps the last bytes in front of the next frames', () => {
  const draft = new Draft(4 * FRAME_BODY_MAX);
  append(draft, 1000, 9);
  draft.close();
  const tail = Buffer.from(draft.buffer.subarray(draft.end - 300, draft.end));
  draft.clear(300);
  expect([draft.start, draft.end, draft.bytes, draft.records]).toEqual([300, 300, 0, 0]);
  expect(draft.buffer.subarray(0, 300).equals(tail)).toBe(true);
});
