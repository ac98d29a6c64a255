/**
 * Event record: one event as it lies in a lane, made by the encoders and read by every sink. Little-endian, 8-byte aligned.
 *
 *   byte  field       kind      meaning
 *      0  length      u32       header and body without the padding      } the engine's, stored by Draft.commit()
 *      4  kind        u16       EVENT_KIND       6 version u16           }
 *      8  source      u32       which of a service's sources the event came by; 0 for the only one
 *     12  jsonLength  u32       bytes of the JSON line without its newline
 *     16  receivedMs  f64       when the event was accepted, ms since 1970
 *     24  eventId     16 bytes  the event_id of the line, as a database keeps it
 *     40  tsMs        f64       the ts of the line, ms since 1970; whole, may be negative
 *     48  eOffset     u32       text of "e" inside its quotes, from the start of the line    52 eLength u32 bytes
 *     56  uidOffset   u32       the same of "uid"; length 0 when absent                      60 uidLength u32 bytes
 *     64  line        the finished JSON, then '\n'; of a traced request (version 2) the 16 bytes of its trace id and the 8 of its span id,
 *                     the record's last; then zeros up to a multiple of 8
 *
 * Always true: the line is one valid JSON object without a raw newline, its keys in the order of schema.ts; it starts with
 * {"event_id":" and the id in lower case, so the id's text lies at a fixed place.
 */
export const EVENT_KIND = 1;
export const EVENT_VERSION = 1;
/** As version 1, with the ids of a trace behind the line; who does not look for them reads it as version 1. */
export const TRACED_VERSION = 2;
/** Bytes of those ids. */
export const TRACE_BYTES = 24;

/** Byte offsets within a record; the encoders' writer and the readers below share them. */
export const at = {
  version: 6,
  source: 8,
  jsonLength: 12,
  receivedMs: 16,
  eventId: 24,
  tsMs: 40,
  eOffset: 48,
  eLength: 52,
  uidOffset: 56,
  uidLength: 60,
  json: 64,
} as const;

const EVENT_ID_TEXT = at.json + '{"event_id":"'.length;
const EVENT_ID_CHARS = 36;
const BACKSLASH = 0x5c;

/** Trace id and span id of the request that an event came by, a view of TRACE_BYTES; undefined: it was not traced. */
export function traceOf(buffer: Buffer, record: number): Buffer | undefined {
  if (buffer.readUInt16LE(record + at.version) !== TRACED_VERSION) return undefined;
  const end = record + buffer.readUInt32LE(record);
  return buffer.subarray(end - TRACE_BYTES, end);
}

/** Offset of the line in the buffer that holds the record at `record`. */
export const jsonStart = (record: number): number => record + at.json;

/** Bytes of the line, without its newline. */
export const jsonLength = (buffer: Buffer, record: number): number => buffer.readUInt32LE(record + at.jsonLength);

export const sourceAt = (buffer: Buffer, record: number): number => buffer.readUInt32LE(record + at.source);

/** When the collector accepted the event, ms since 1970. */
export const receivedMsAt = (buffer: Buffer, record: number): number => buffer.readDoubleLE(record + at.receivedMs);

/** The instant in "ts", ms since 1970. */
export const tsMsAt = (buffer: Buffer, record: number): number => buffer.readDoubleLE(record + at.tsMs);

/** The 16 bytes of the event id: a view, as long-lived as the buffer's content. */
export const eventIdAt = (buffer: Buffer, record: number): Buffer =>
  buffer.subarray(record + at.eventId, record + at.eventId + 16);

/** The 36 lower-case characters of the event id: a view into the line. */
export const eventIdTextAt = (buffer: Buffer, record: number): Buffer =>
  buffer.subarray(record + EVENT_ID_TEXT, record + EVENT_ID_TEXT + EVENT_ID_CHARS);

/** The event's name, the "e" of the line. */
export const eventType = (buffer: Buffer, record: number): string => textAt(buffer, record, at.eOffset, at.eLength);

/** The user id, undefined when the line has none. */
export const uidOf = (buffer: Buffer, record: number): string | undefined =>
  buffer.readUInt32LE(record + at.uidLength) === 0 ? undefined : textAt(buffer, record, at.uidOffset, at.uidLength);

function textAt(buffer: Buffer, record: number, offset: number, length: number): string {
  const from = record + at.json + buffer.readUInt32LE(record + offset);
  const to = from + buffer.readUInt32LE(record + length);
  const text = buffer.toString('utf8', from, to);
  return buffer.subarray(from, to).includes(BACKSLASH) ? (JSON.parse(`"${text}"`) as string) : text;
}
