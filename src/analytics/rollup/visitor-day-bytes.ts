/**
 * Bytes of `visitor_days.state`. All numbers are big-endian; times are ms of the day, slots are of the day, event ids
 * are 16 bytes.
 *
 *   head    u8: 1, or 3 when the visitor is signed in; then two bitmaps of 96 slots: any event, page_view
 *   visits  count u16; each: first u32, event id; length u32, events u32, views u32; flags u16: bits 0 to 11 say which
 *           attributes follow (i64 each), bit 12: there are pages; bit 13: the entry page is of the first event;
 *           bit 14: the exit page is of the same event as the entry page
 *           page: value i64, preceded by time u32 and event id unless the flags say whose it is
 *   values  count u16; each: dimension u8, first slot u8, last slot u8, value i64
 *
 * Bytes rather than JSON: 170 instead of 500 bytes for a visit of one page, and no text to parse on either side.
 */
import { type Ids, NONE } from './ids.ts';
import {
  attributeKeys,
  noSlots,
  type SeenValue,
  type Slots,
  VALUES_MAX,
  VISITS_MAX,
  type Visit,
  type VisitorDay,
} from './visitor-day.ts';

const PLAIN = 1;
const SIGNED_IN = 3;
const SLOT_BYTES = 12;
/** From the begin of the state: what gaps.ts reads of the days around. */
export const HEAD_BYTES = 1 + 2 * SLOT_BYTES;
const HAS_PAGES = 1 << 12;
const ENTRY_IS_FIRST = 1 << 13;
const EXIT_IS_ENTRY = 1 << 14;
const PAGE_BYTES = 28;
const VISIT_BYTES = 34 + 2 * PAGE_BYTES + 8 * attributeKeys.length;
const VALUE_BYTES = 11;

/** States are written here: what they need is known at the end. */
const scratch = Buffer.allocUnsafeSlow(HEAD_BYTES + 4 + VISITS_MAX * VISIT_BYTES + VALUES_MAX * VALUE_BYTES);

/** Valid until the next call. `ids`: those that the values are numbers of. */
export function encodeDay({ visits, values, any, views }: VisitorDay, signedIn: boolean, ids: Ids): Buffer {
  let at = scratch.writeUInt8(signedIn ? SIGNED_IN : PLAIN, 0);
  if (signedIn) for (const word of [...any, ...views]) at = scratch.writeUInt32BE(word, at);
  at = scratch.writeUInt16BE(visits.length, at);
  for (const visit of visits) at = writeVisit(at, visit, ids);
  at = scratch.writeUInt16BE(values.length, at);
  for (const { dimension, first, last, value } of values) {
    scratch[at] = dimension;
    scratch[at + 1] = first;
    scratch[at + 2] = last;
    at = writeValue(at + 3, value, ids);
  }
  return scratch.subarray(0, at);
}

function writeVisit(begin: number, visit: Visit, ids: Ids): number {
  let at = scratch.writeUInt32BE(visit.firstMs, begin);
  at += scratch.write(visit.firstId, at, 16, 'hex');
  at = scratch.writeUInt32BE(visit.lastMs - visit.firstMs, at);
  at = scratch.writeUInt32BE(visit.events, at);
  at = scratch.writeUInt32BE(visit.views, at);
  const flagsAt = at;
  at += 2;
  let flags = 0;
  for (let index = 0; index < visit.attributes.length; index += 1) {
    const value = visit.attributes[index]!;
    if (value === NONE) continue;
    flags |= 1 << index;
    at = writeValue(at, value, ids);
  }
  const { entry, exit } = visit;
  if (entry !== undefined && exit !== undefined) {
    flags |= HAS_PAGES;
    if (entry.id === visit.firstId) flags |= ENTRY_IS_FIRST;
    else at = writeMoment(at, entry.ms, entry.id);
    at = writeValue(at, entry.value, ids);
    if (exit.id === entry.id) flags |= EXIT_IS_ENTRY;
    else at = writeMoment(at, exit.ms, exit.id);
    at = writeValue(at, exit.value, ids);
  }
  scratch.writeUInt16BE(flags, flagsAt);
  return at;
}

function writeValue(at: number, value: number, ids: Ids): number {
  scratch.writeInt32BE(ids.high(value), at);
  return scratch.writeInt32BE(ids.low(value), at + 4);
}

function writeMoment(begin: number, ms: number, id: string): number {
  const at = scratch.writeUInt32BE(ms, begin);
  return at + scratch.write(id, at, 16, 'hex');
}

export function decodeDay(bytes: Buffer, ids: Ids): VisitorDay {
  const [any, views] = decodeSlots(bytes);
  let at = bytes[0] === SIGNED_IN ? HEAD_BYTES : 1;
  const visits: Visit[] = [];
  const visitCount = bytes.readUInt16BE(at);
  at += 2;
  while (visits.length < visitCount) {
    const firstMs = bytes.readUInt32BE(at);
    const firstId = bytes.toString('hex', at + 4, at + 20);
    const lastMs = firstMs + bytes.readUInt32BE(at + 20);
    const events = bytes.readUInt32BE(at + 24);
    const viewCount = bytes.readUInt32BE(at + 28);
    const flags = bytes.readUInt16BE(at + 32);
    at += 34;
    const attributes: number[] = [];
    for (let index = 0; index < attributeKeys.length; index += 1) {
      if ((flags & (1 << index)) === 0) attributes.push(NONE);
      else {
        attributes.push(readValue(bytes, at, ids));
        at += 8;
      }
    }
    let entry: Visit['entry'];
    let exit: Visit['exit'];
    if (flags & HAS_PAGES) {
      let [ms, id] = [firstMs, firstId];
      if ((flags & ENTRY_IS_FIRST) === 0) {
        [ms, id] = [bytes.readUInt32BE(at), bytes.toString('hex', at + 4, at + 20)];
        at += 20;
      }
      entry = { ms, id, value: readValue(bytes, at, ids) };
      at += 8;
      if ((flags & EXIT_IS_ENTRY) === 0) {
        [ms, id] = [bytes.readUInt32BE(at), bytes.toString('hex', at + 4, at + 20)];
        at += 20;
      }
      exit = { ms, id, value: readValue(bytes, at, ids) };
      at += 8;
    }
    visits.push({ firstMs, firstId, lastMs, events, views: viewCount, attributes, entry, exit });
  }
  const values: SeenValue[] = [];
  const valueCount = bytes.readUInt16BE(at);
  at += 2;
  while (values.length < valueCount) {
    const value = readValue(bytes, at + 3, ids);
    values.push({ dimension: bytes[at]!, first: bytes[at + 1]!, last: bytes[at + 2]!, value });
    at += VALUE_BYTES;
  }
  return { visits, values, any, views };
}

const readValue = (bytes: Buffer, at: number, ids: Ids): number =>
  ids.of(bytes.readInt32BE(at), bytes.readInt32BE(at + 4));

/** The bitmaps: of any event and of page_views. Needs HEAD_BYTES at most. */
export function decodeSlots(bytes: Buffer): [any: Slots, views: Slots] {
  if (bytes[0] !== SIGNED_IN) return [noSlots, noSlots];
  const read = (at: number): Slots => [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4), bytes.readUInt32BE(at + 8)];
  return [read(1), read(1 + SLOT_BYTES)];
}
