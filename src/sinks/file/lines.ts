/** Lines: the records of a batch as NDJSON. */
import type { SinkBatch } from '../../delivery/contract.ts';
import { at as field, jsonStart } from '../../events/record.ts';

/** Copies the lines of the records, each with its newline, one after the other. Returns their bytes. */
export function gatherLines(batch: SinkBatch, into: Buffer): number {
  const { buffer, offsets, count } = batch;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const record = offsets[i];
    const from = jsonStart(record);
    end += buffer.copy(into, end, from, from + buffer.readUInt32LE(record + field.jsonLength) + 1);
  }
  return end;
}
