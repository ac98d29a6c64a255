/**
 * Decoder: turns an event record back into values, for readers that need more than the finished line: other services,
 * tools, tests.
 */
import { jsonLength, jsonStart, receivedMsAt, sourceAt, tsMsAt } from './record.ts';
import type { EventLine } from './schema.ts';

export interface DecodedEvent {
  readonly source: number;
  readonly receivedMs: number;
  readonly tsMs: number;
  /** The line's text. Big integers in props keep all digits here and nowhere else. */
  readonly line: string;
  readonly event: EventLine;
}

/** Decodes the record at `record`. An encoder of this room made the line, so the decoder does not check it again. */
export function decodeEvent(buffer: Buffer, record: number): DecodedEvent {
  const start = jsonStart(record);
  const line = buffer.toString('utf8', start, start + jsonLength(buffer, record));
  return {
    source: sourceAt(buffer, record),
    receivedMs: receivedMsAt(buffer, record),
    tsMs: tsMsAt(buffer, record),
    line,
    event: JSON.parse(line) as EventLine,
  };
}
