import assert from 'node:assert/strict';
import { test } from 'vitest';
import { claimedBytes, FRAME_HEADER, laneSeed, openFrame, sealFrame, seekMagic } from '../../src/engine/frame.ts';
import {
  laneFolder,
  PAGE,
  parseLaneFolder,
  parseSegmentName,
  readableSegments,
  readSegmentHeader,
  segmentName,
  writeSegmentHeader,
} from '../../src/engine/segment.ts';
import { LOG_ID } from './lanes.ts';

const SEED = laneSeed(LOG_ID, 3, 1);

function sealed(position: number, bodyBytes: number): { buffer: Buffer; view: DataView } {
  const buffer = Buffer.from(new ArrayBuffer(FRAME_HEADER + bodyBytes));
  for (let i = FRAME_HEADER; i < buffer.length; i++) buffer[i] = i * 7;
  const view = new DataView(buffer.buffer);
  sealFrame(buffer, view, 0, { bytes: buffer.length, records: 2, position, firstRecord: 40, ms: 1234.5 }, SEED);
  return { buffer, view };
}

test('a sealed frame opens with what it was given', () => {
  const { buffer, view } = sealed(8192, 88);
  assert.deepEqual(openFrame(buffer, view, 0, buffer.length, 8192, SEED), {
    bytes: 128,
    records: 2,
    position: 8192,
    firstRecord: 40,
    ms: 1234.5,
  });
});

test('a frame torn at any byte, or with any bit turned, does not open', () => {
  const { buffer, view } = sealed(8192, 88);
  for (let length = 0; length < buffer.length; length++) {
    assert.equal(openFrame(buffer, view, 0, length, 8192, SEED), undefined, `torn at ${length}`);
    const torn = Buffer.from(new ArrayBuffer(buffer.length));
    buffer.copy(torn, 0, 0, length);
    // What was torn off may be zeros that stood there already.
    if (torn.equals(buffer)) continue;
    assert.equal(
      openFrame(torn, new DataView(torn.buffer), 0, torn.length, 8192, SEED),
      undefined,
      `zeros from ${length}`,
    );
  }
  for (let bit = 0; bit < 8 * buffer.length; bit++) {
    buffer[bit >> 3] ^= 1 << (bit & 7);
    assert.equal(openFrame(buffer, view, 0, buffer.length, 8192, SEED), undefined, `bit ${bit}`);
    buffer[bit >> 3] ^= 1 << (bit & 7);
  }
  assert.ok(openFrame(buffer, view, 0, buffer.length, 8192, SEED));
});

// A segment that is used again still holds the frames of its former life.
test('a frame at another position, of another lane, life or log does not open', () => {
  const { buffer, view } = sealed(8192, 88);
  assert.equal(openFrame(buffer, view, 0, buffer.length, 8200, SEED), undefined);
  for (const seed of [laneSeed(LOG_ID, 3, 2), laneSeed(LOG_ID, 4, 1), laneSeed(Buffer.alloc(16), 3, 1)])
    assert.equal(openFrame(buffer, view, 0, buffer.length, 8192, seed), undefined);
});

test('the claim of a frame is believed only with its magic and position', () => {
  const { buffer, view } = sealed(8192, 88);
  assert.equal(claimedBytes(view, 0, FRAME_HEADER, 8192), 128);
  assert.equal(claimedBytes(view, 0, FRAME_HEADER, 8184), 0);
  assert.equal(claimedBytes(view, 0, FRAME_HEADER - 1, 8192), 0);
  buffer[4] ^= 1;
  assert.equal(claimedBytes(view, 0, FRAME_HEADER, 8192), 0);
  assert.equal(seekMagic(view, 0, buffer.length), -1);
});

test('a segment header opens only whole, of this format and of this log', () => {
  const page = Buffer.alloc(PAGE);
  const header = { life: 3, lane: 1, generation: 2, base: 65_536, baseRecord: 100, created: 99 };
  writeSegmentHeader(page, header, LOG_ID);
  assert.deepEqual(readSegmentHeader(page, LOG_ID), header);
  assert.equal(readSegmentHeader(page, Buffer.alloc(16, 1)), undefined);
  for (let at = 0; at < 72; at++) {
    page[at] ^= 0x10;
    assert.equal(readSegmentHeader(page, LOG_ID), undefined, `byte ${at}`);
    page[at] ^= 0x10;
  }
  assert.equal(readSegmentHeader(Buffer.alloc(PAGE), LOG_ID), undefined);
});

test('names of segments and lanes are read as they were written, strangers are left out', () => {
  assert.deepEqual(parseSegmentName(segmentName(12_345, 2)), {
    name: '0000000000012345-2.seg',
    base: 12_345,
    generation: 2,
  });
  for (const name of ['spare-1.seg', 'x.seg', '0000000000012345-2.seg~', 'lost+found'])
    assert.equal(parseSegmentName(name), undefined);
  assert.deepEqual(parseLaneFolder(laneFolder({ life: 1_234_567, lane: 12 })), { life: 1_234_567, lane: 12 });
  assert.equal(parseLaneFolder('pool-1-2.seg'), undefined);
});

test('a higher generation replaces what begins at or behind its base', () => {
  const names = [
    segmentName(0, 0),
    segmentName(1000, 0),
    segmentName(1500, 1),
    segmentName(2000, 0),
    segmentName(3000, 1),
  ];
  assert.deepEqual(
    readableSegments(names.toReversed()).map(({ base, generation }) => [base, generation]),
    [
      [0, 0],
      [1000, 0],
      [1500, 1],
      [3000, 1],
    ],
  );
});
