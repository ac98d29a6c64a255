/** Batches of finished event lines as a sink gets them from the runner: records of 64 bytes of fixed fields and a line, one after the other. */

import type { SinkBatch } from '../../src/delivery/contract.ts';
import { packRecords } from '../../src/events/record.ts';

const HEAD =
  '{"event_id":"00000000-0000-7000-8000-000000000000","ts":"2026-11-21T08:00:00.123Z","e":"pageview","props":{"x":"';
const TAIL = '"}}';

/** A batch of `count` lines of `lineBytes` each, the newline included. */
export function lineBatch(count: number, lineBytes: number): SinkBatch {
  const line = Buffer.from(`${HEAD}${'x'.repeat(lineBytes - 1 - HEAD.length - TAIL.length)}${TAIL}`);
  const { buffer, offsets } = packRecords(Array.from({ length: count }, () => ({ line, receivedMs: 0 })));
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
