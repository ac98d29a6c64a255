/**
 * Event record: one event in a lane, made by the encoders and read by every sink. Little-endian, 8-byte aligned.
 *
 *   byte  field       kind      meaning
 *      0  length      u32       header and body without the padding   } kernel/record.ts; stored by Draft.commit(),
 *      4  kind        u16       EVENT_KIND       6 version u16        } or by putRecord()
 *      8  source      u32       which of a service's sources the event came by; 0 for the only one
 *     12  jsonLength  u32       bytes of the JSON line without its newline
 *     16  receivedMs  f64       when the event was accepted, ms since 1970
 *     24  eventId     16 bytes  the event_id of the line, as a database keeps it
 *     40  tsMs        f64       the ts of the line, ms since 1970; whole, may be negative
 *     48  eOffset     u32       text of "e" inside its quotes, from the start of the line    52 eLength u32 bytes
 *     56  uidOffset   u32       the same of "uid"; length 0 when absent                      60 uidLength u32 bytes
 *     64  line        the finished JSON, then '\n'
 *         key         only with the version bit KEYED (record-key.ts)
 *         trace       only with the version bit TRACED_VERSION: 16 bytes of the trace id, 8 of the span id
 *         zeros up to a multiple of 8
 *
 * Always true: the line is one valid JSON object without a raw newline, its keys in the order of schema.ts. It starts
 * with {"event_id":" and the id in lower case, so the text of the id has a fixed offset.
 */
import { align8, recordAt } from '../kernel/record.ts';

export const EVENT_KIND = 1;
export const EVENT_VERSION = 1;
/** Bit of the version: the record ends with the ids of a trace. Readers that ignore the ids read it as version 1. */
export const TRACED_VERSION = 2;
/** Bytes of the trace id and the span id. */
export const TRACE_BYTES = 24;

/** Byte offsets within a record, for every file that reads or writes one. */
export const at = {
  length: recordAt.length,
  kind: recordAt.kind,
  version: recordAt.version,
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

/** Every line begins with this text. */
const ID_LEAD = '{"event_id":"';
const EVENT_ID_TEXT = at.json + ID_LEAD.length;
const EVENT_ID_CHARS = 36;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Bytes of a record whose line has `jsonBytes`, padding included. */
export const recordBytes = (jsonBytes: number): number => align8(at.json + jsonBytes + 1);

/** Trace id and span id of the request that an event came by, a view of TRACE_BYTES; undefined: it was not traced. */
export function traceOf(buffer: Buffer, record: number): Buffer | undefined {
  if ((buffer[record + at.version]! & TRACED_VERSION) === 0) return undefined;
  const end = record + buffer.readUInt32LE(record + at.length);
  return buffer.subarray(end - TRACE_BYTES, end);
}

/** Offset of the line in the buffer that holds the record at `record`. */
export const jsonStart = (record: number): number => record + at.json;

/** Bytes of the line, without its newline. */
export const jsonLength = (buffer: Buffer, record: number): number => buffer.readUInt32LE(record + at.jsonLength);

/** The fixed fields of the record: a view, as long-lived as the buffer's content. */
export const headOf = (buffer: Buffer, record: number): Buffer => buffer.subarray(record, record + at.json);

export const kindAt = (buffer: Buffer, record: number): number => buffer.readUInt16LE(record + at.kind);

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

/** A text inside its quotes: [from, to) of the line. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** The string that `lead` introduces at `at`; undefined when something else stands there. */
function stringBehind(line: Buffer, at: number, lead: string): Span | undefined {
  const from = at + lead.length;
  if (line.toString('latin1', at, from) !== lead) return undefined;
  let to = from;
  while (to < line.length && line[to] !== QUOTE) to += line[to] === BACKSLASH ? 2 : 1;
  return to < line.length ? { from, to } : undefined;
}

/** Where a finished line has what the fixed fields repeat; undefined: no encoder has made this line. */
function readLine(line: Buffer): { id: string; tsMs: number; e: Span; uid: Span | undefined } | undefined {
  const id = stringBehind(line, 0, ID_LEAD);
  const ts = id && stringBehind(line, id.to + 1, ',"ts":"');
  const e = ts && stringBehind(line, ts.to + 1, ',"e":"');
  if (e === undefined) return undefined;
  const idText = line.toString('latin1', id!.from, id!.to);
  const tsMs = Date.parse(line.toString('latin1', ts!.from, ts!.to));
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(idText) || Number.isNaN(tsMs)) return undefined;
  return { id: idText, tsMs, e, uid: stringBehind(line, e.to + 1, ',"uid":"') };
}

/** Whether the line begins as an encoder writes one, so that putRecord() takes it. */
export const isEventLine = (line: Buffer): boolean => readLine(line) !== undefined;

/**
 * Makes a whole record of a finished line without an encoder: for a dead letter, a test, a benchmark. The fixed fields
 * are read from the line. Returns the offset behind the record, padding included.
 */
export function putRecord(buffer: Buffer, record: number, line: Buffer, receivedMs: number): number {
  const fields = readLine(line);
  if (fields === undefined) throw new TypeError(`not the line of an event: ${line.toString('utf8', 0, 100)}`);
  const { id, tsMs, e, uid } = fields;
  const newline = record + at.json + line.length;
  const end = record + recordBytes(line.length);
  buffer.fill(0, record, record + at.json);
  buffer.writeUInt32LE(newline + 1 - record, record + at.length);
  buffer.writeUInt16LE(EVENT_KIND, record + at.kind);
  buffer.writeUInt16LE(EVENT_VERSION, record + at.version);
  buffer.writeUInt32LE(line.length, record + at.jsonLength);
  buffer.writeDoubleLE(receivedMs, record + at.receivedMs);
  buffer.write(id.replaceAll('-', ''), record + at.eventId, 'hex');
  buffer.writeDoubleLE(tsMs, record + at.tsMs);
  putSpan(buffer, record + at.eOffset, record + at.eLength, e);
  if (uid !== undefined) putSpan(buffer, record + at.uidOffset, record + at.uidLength, uid);
  line.copy(buffer, record + at.json);
  buffer[newline] = NEWLINE;
  buffer.fill(0, newline + 1, end);
  return end;
}

function putSpan(buffer: Buffer, offset: number, length: number, { from, to }: Span): void {
  buffer.writeUInt32LE(from, offset);
  buffer.writeUInt32LE(to - from, length);
}

/** Records of finished lines, one behind the other, as a batch holds them. */
export function packRecords(lines: readonly { readonly line: Buffer; readonly receivedMs: number }[]): {
  buffer: Buffer;
  offsets: Int32Array<ArrayBuffer>;
} {
  const buffer = Buffer.alloc(lines.reduce((bytes, { line }) => bytes + recordBytes(line.length), 0));
  const offsets = new Int32Array(lines.length);
  let end = 0;
  for (const [i, { line, receivedMs }] of lines.entries()) {
    offsets[i] = end;
    end = putRecord(buffer, end, line, receivedMs);
  }
  return { buffer, offsets };
}
