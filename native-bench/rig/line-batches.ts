/** Batches of finished event lines as a sink gets them from the runner: records of 64 bytes of fixed fields and a line, one after the other. */

import type { SinkBatch } from '../../src/delivery/contract.ts';
import { at } from '../../src/events/record.ts';

const RECORD_ALIGN = 8;

/** A batch of `count` lines of `lineBytes` each, the newline included. */
export function lineBatch(count: number, lineBytes: number): SinkBatch {
  const record = Math.ceil((at.json + lineBytes) / RECORD_ALIGN) * RECORD_ALIGN;
  const buffer = Buffer.alloc(count * record, 'x');
  const offsets = Int32Array.from({ length: count }, (_, i) => i * record);
  for (const from of offsets) {
    buffer.writeUInt32LE(at.json + lineBytes, from);
    buffer.writeUInt32LE(lineBytes - 1, from + at.jsonLength);
    buffer[from + at.json + lineBytes - 1] = 0x0a;
  }
  return {
    lane: { life: 1, lane: 0 },
    count,
    buffer,
    offsets,
    positions: Float64Array.from(offsets),
    from: { position: 0, record: 0 },
    to: { position: buffer.length, record: count },
    commit: true,
  };
}
