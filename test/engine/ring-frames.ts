/**
 * Frames for tests of the ring alone: the header that a ring looks at, and content that is a function of the position,
 * so that a torn or misplaced byte shows.
 */
import { FRAME_HEADER, frameAt } from '../../src/engine/frame.ts';
import type { RingProducer } from '../../src/engine/ring.ts';

/** Word that stands at `position`, a multiple of 4. */
export const wordAt = (position: number): number =>
  Math.imul(position >>> 2, 0x9e3779b1) ^ Math.floor(position / 2 ** 32);

/** The frame at `position`: `bytes` long, `records` of them, numbered `first`. */
export function frameOf(position: number, first: number, bytes: number, records = 1): Buffer {
  const frame = Buffer.from(new ArrayBuffer(bytes));
  for (let i = FRAME_HEADER; i < bytes; i += 4) frame.writeInt32LE(wordAt(position + i) | 0, i);
  frame.writeUInt32LE(bytes, frameAt.bytes);
  frame.writeUInt32LE(records, frameAt.records);
  frame.writeDoubleLE(position, frameAt.position);
  frame.writeDoubleLE(first, frameAt.firstRecord);
  return frame;
}

/** Publishes that frame at the producer's tail; room() must have allowed it. */
export function publishFrame(producer: RingProducer, n: number, bytes: number, records = 1): void {
  if (!producer.room(bytes)) throw new Error('no room');
  const frame = frameOf(producer.tail, n, bytes, records);
  producer.publish(frame, new Int32Array(frame.buffer), 0, bytes, n * records + records);
}

/**
 * Throws when a frame in `buffer` is not what frameOf() made for its position. Returns the position behind the last.
 */
export function checkFrames(buffer: Buffer, bytes: number, position: number): number {
  for (let at = 0; at < bytes; ) {
    const length = buffer.readUInt32LE(at + frameAt.bytes);
    if (length < FRAME_HEADER || at + length > bytes)
      throw new Error(`torn frame: position=${position}, bytes=${length}`);
    if (buffer.readDoubleLE(at + frameAt.position) !== position)
      throw new Error(`frame of another position: expected=${position}`);
    for (let i = FRAME_HEADER; i < length; i += 4)
      if (buffer.readInt32LE(at + i) !== (wordAt(position + i) | 0))
        throw new Error(`torn read: position=${position + i}`);
    at += length;
    position += length;
  }
  return position;
}
