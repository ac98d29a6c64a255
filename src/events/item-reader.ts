/**
 * Item reader: scans one item of a /collect body and files its members under the fields of the event model, as ranges
 * of the body.
 *
 *   known keys     compared after unescaping ("\u0065" is "e"); the last of two equal keys counts, as in JSON.parse;
 *                  null means absent
 *   event_id       a string that spells a UUID, else the item is invalid; no other key makes it so
 *   texts          strings, an empty one means absent; a number becomes its spelling, any other value is absent
 *   ts             an RFC 3339 time, or a number since 1970 (epoch.ts), also in a string; any other text or number
 *                  moves into props, any other value is absent
 *   utm            an object of strings; a number in it becomes its spelling, any other value in it is dropped
 *   utm, props     an empty object means absent, and so does a value that is no object
 *   ip, geo        dropped, whatever they hold: the server determines them
 *   other keys     moved into props; the last of two equal keys counts; a key that props already has is dropped
 *
 * The content of props and utm is passed through unchanged, order and digits; only of equal names in one object the
 * last one stays (json-twins.ts).
 */
import { parseTimestamp } from '../kernel/timestamp.ts';
import { epochMs } from './epoch.ts';
import { hintFor } from './hints.ts';
import { decodeString } from './json-mend.ts';
import type { JsonScanner } from './json-scanner.ts';
import { TwinEraser } from './json-twins.ts';
import { KeyTable } from './key-table.ts';
import { F, firstOf, firstText, MEND, objectSet, PLAIN, Slots, textSet } from './line-plan.ts';
import { grown, NameIndex } from './name-index.ts';
import { eventFields, type Field, keysWhere } from './schema.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const LETTER_F = 0x66;
const LETTER_N = 0x6e;
const LETTER_T = 0x74;
const OPEN = 0x7b;
const CLOSE = 0x7d;

const EVENT_ID = F.event_id;
const TS = F.ts;
const UTM = F.utm;
const PROPS = F.props;
const ID_AND_TS = (1 << EVENT_ID) | (1 << TS);

const fields: readonly Field[] = eventFields;
const knownKeys = keysWhere((field) => field.collect !== 'no');
const known = new KeyTable(knownKeys);
const takenKeys = keysWhere((field) => field.collect === 'take').join(', ');
const envelopes = new KeyTable(['batch', 'events']);
const knownField = Uint8Array.from(knownKeys, (key) => F[key]);
const dropped = Uint8Array.from(fields, (field) => (field.collect === 'drop' ? 1 : 0));

/** Numbers stored per moved member: its range, how to copy it, and the range of its unescaped name. */
const MEMBER = 5;

/** An answer repeats at most this much of a bad value, and so many names. */
const SHOWN_BYTES = 64;
const SHOWN_NAMES = 3;

/** Why an item is not a valid event. */
export interface Invalid {
  readonly field: string;
  readonly must: string;
  readonly found: string;
}

/** An item without a key that a client may set. What it has instead is put into words only when an answer lists it. */
export const nothingKnown: Invalid = { field: 'event', must: '', found: '' };

/** Whether a number begins with this byte, among those with which a value begins. */
export const beginsNumber = (byte: number): boolean => byte === MINUS || (byte >= ZERO && byte <= NINE);

/** What kind of value begins with this byte. */
export function kindOf(byte: number): string {
  if (byte === QUOTE) return 'a string';
  if (byte === OPEN) return 'an object';
  if (byte === OPEN_ARRAY) return 'an array';
  if (byte === LETTER_N) return 'null';
  return byte === LETTER_T || byte === LETTER_F ? 'a boolean' : 'a number';
}

export class ItemReader {
  /** After settle() the range of a text excludes its quotes, the range of utm and props includes the braces. */
  readonly slots = new Slots();
  /** The item's ts in ms; NaN when it has none. */
  tsMs = Number.NaN;
  /** The fields whose value was not of their kind, as a set. */
  mended = 0;
  /** utm holds values that are no strings: numbers to spell, others to drop. */
  utmMixed = false;
  /** Number of members that move into props; after settle() without the members that a later equal name replaces. */
  movedCount = 0;
  /** The fields that were given as strings, empty ones included. */
  #given = 0;
  /** How many values within utm, utm itself included, are not strings. */
  #utmOthers = 0;
  /** The range of the member "ts". */
  #tsFrom = 0;
  #tsTo = 0;
  #moved = new Int32Array(64 * MEMBER);
  readonly #names = new NameIndex();
  readonly #scanner: JsonScanner;
  readonly #depthMax: number;
  readonly #twins: TwinEraser;
  #text: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** Where unescaped texts are written: behind the body, where as many bytes again are free. */
  #arena = 0;
  #arenaAt = 0;

  /** `depthMax`: how deep an item may be nested; the scanner's bound is one less, for it does not count the item. */
  constructor(scanner: JsonScanner, depthMax: number) {
    this.#scanner = scanner;
    this.#depthMax = depthMax;
    this.#twins = new TwinEraser(scanner, this.#names);
  }

  /** Selects a text, the same one as the scanner's. From `arena` on it has as many free bytes as the body has bytes. */
  use(text: Buffer, view: DataView, arena: number): void {
    this.#text = text;
    this.#view = view;
    this.#arena = arena;
  }

  /** Scans the object at p. Returns the position behind it, or -1 for invalid JSON (the scanner says why). */
  scan(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    this.forget();
    let p = scanner.skip(start + 1);
    if (text[p] === CLOSE) return p + 1;
    for (;;) {
      if (text[p] !== QUOTE) return scanner.fail(p, 'expected a name in double quotes');
      p = this.#member(p);
      if (p < 0) return -1;
      p = scanner.skip(p);
      const next = text[p];
      if (next === CLOSE) return p + 1;
      if (next !== COMMA) return scanner.fail(p, 'expected , or }');
      p = scanner.skip(p + 1);
    }
  }

  /** Forgets the previous item. */
  forget(): void {
    this.slots.present = 0;
    this.#given = 0;
    this.movedCount = 0;
    this.#arenaAt = this.#arena;
    this.#scanner.tooDeep = false;
    this.#scanner.twins = false;
  }

  /**
   * Judges what scan() found, mends what can be mended and settles which members move. Returns undefined for a valid
   * event; only the text of its id is not checked yet.
   */
  settle(): Invalid | undefined {
    const text = this.#text;
    const { slots } = this;
    const { from, to } = slots;
    this.mended = 0;
    if (slots.present === 0 && !this.#scanner.tooDeep) return nothingKnown;
    for (let set = slots.present & (textSet | ID_AND_TS); set !== 0; set &= set - 1) {
      const field = firstOf(set);
      const byte = text[from[field]!]!;
      if (byte !== QUOTE) {
        if (field === EVENT_ID && byte !== LETTER_N) return this.#notText(byte);
        this.mended |= 1 << field;
        if (!beginsNumber(byte)) slots.drop(field);
      } else {
        this.#given |= 1 << field;
        from[field]! += 1;
        to[field]! -= 1;
        if (field < firstText) this.#unescape(field);
        else if (from[field] === to[field]) slots.drop(field);
      }
    }
    if (this.#scanner.tooDeep) {
      return { field: 'event', must: `nested at most ${this.#depthMax} levels deep`, found: 'more' };
    }
    for (let set = slots.present & objectSet; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      const byte = text[from[field]!]!;
      if (byte !== OPEN) {
        this.mended |= 1 << field;
        slots.drop(field);
      } else if (text[this.#scanner.skip(from[field]! + 1)] === CLOSE) slots.drop(field);
    }
    if (this.#scanner.twins) this.#eraseTwins();
    this.tsMs = Number.NaN;
    if (slots.has(TS)) {
      this.tsMs = parseTimestamp(text, from[TS]!, to[TS]!);
      if (Number.isNaN(this.tsMs)) this.#mendTs();
    }
    this.utmMixed = slots.has(UTM) && this.#utmOthers !== 1;
    if (this.utmMixed) this.mended |= 1 << UTM;
    if (this.movedCount > 0) this.#settleMoved();
    return undefined;
  }

  /** The error of an item whose event_id is not a UUID. */
  invalidId(): Invalid {
    const from = this.slots.from[EVENT_ID]!;
    const to = Math.min(this.slots.to[EVENT_ID]!, from + SHOWN_BYTES);
    return { field: 'event_id', must: 'a UUID', found: `"${this.#text.toString('utf8', from, to)}"` };
  }

  /** The error of an item that has no key that a client may set: what it has instead, and what that may be here. */
  invalidKeys(): Invalid {
    const names: string[] = [];
    for (let index = 0; index < Math.min(this.movedCount, SHOWN_NAMES); index += 1) {
      const from = this.#moved[index * MEMBER + 3]!;
      const to = Math.min(this.#moved[index * MEMBER + 4]!, from + SHOWN_BYTES);
      const name = this.#text.toString('utf8', from, to);
      const hint = hintFor(name);
      names.push(`"${name}"${hint === undefined ? '' : ` (did you mean ${hint}?)`}`);
    }
    if (this.movedCount > SHOWN_NAMES) names.push('...');
    const must = `an object with at least one of ${takenKeys}`;
    return { field: 'event', must, found: names.length === 0 ? 'none' : names.join(', ') };
  }

  /**
   * Where the array begins that an envelope holds, {"batch":[...]} or {"events":[...]}; -1: the scanned item is none.
   * Asked of an item without a known key. The last of two equal names counts; between arrays of both there is no
   * choice.
   */
  envelope(): number {
    const moved = this.#moved;
    const found = [-1, -1];
    for (let index = 0; index < this.movedCount; index += 1) {
      const key = envelopes.find(this.#view, moved[index * MEMBER + 3]!, moved[index * MEMBER + 4]!);
      if (key === -1) continue;
      const value = this.#movedValue(index);
      found[key] = this.#text[value] === OPEN_ARRAY ? value : -1;
    }
    const [batch, events] = found as [number, number];
    return batch !== -1 && events !== -1 ? -1 : Math.max(batch, events);
  }

  /** The item's event_id as it was sent, for the answer; undefined when it is absent or very long. */
  eventId(): string | undefined {
    const from = this.slots.from[EVENT_ID]!;
    const length = this.slots.to[EVENT_ID]! - from;
    return (this.#given & (1 << EVENT_ID)) === 0 || length > SHOWN_BYTES
      ? undefined
      : this.#text.toString('utf8', from, from + length);
  }

  /** Offset of a moved member: the opening quote of its name. */
  movedFrom(index: number): number {
    return this.#moved[index * MEMBER]!;
  }

  movedTo(index: number): number {
    return this.#moved[index * MEMBER + 1]!;
  }

  movedHow(index: number): number {
    return this.#moved[index * MEMBER + 2]!;
  }

  #notText(byte: number): Invalid {
    return { field: 'event_id', must: 'a string', found: kindOf(byte) };
  }

  /** A ts that is no RFC 3339 time. A text or number that is no time at all moves into props, as on the pixel. */
  #mendTs(): void {
    const { slots } = this;
    const from = slots.from[TS]!;
    const to = slots.to[TS]!;
    this.mended |= 1 << TS;
    this.tsMs = epochMs(this.#text, from, to);
    if (!Number.isNaN(this.tsMs)) return;
    slots.drop(TS);
    if (from === to) return;
    const nameFrom = this.#tsFrom + 1;
    const nameTo = this.#scanner.string(nameFrom) - 1;
    const keyFrom = this.#arenaAt;
    this.#arenaAt = decodeString(this.#text, nameFrom, nameTo, this.#text, keyFrom);
    this.#move(this.#tsFrom, this.#tsTo, MEND, keyFrom, this.#arenaAt);
  }

  /** Scans "name": value at p and files it. Returns the position behind it. */
  #member(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    scanner.how = PLAIN;
    const nameFrom = start + 1;
    let p = scanner.string(nameFrom);
    if (p < 0) return -1;
    const nameTo = p - 1;
    const escaped = scanner.escapedAt >= nameFrom;
    let how = scanner.how;
    p = scanner.skip(p);
    if (text[p] !== COLON) return scanner.fail(p, 'expected :');
    p = scanner.skip(p + 1);
    if (p !== nameTo + 2) how = MEND;
    scanner.how = PLAIN;
    const valueFrom = p;
    p = text[p] === QUOTE ? scanner.string(p + 1) : scanner.value(p);
    if (p < 0) return -1;

    let keyFrom = nameFrom;
    let keyTo = nameTo;
    if (escaped) {
      keyFrom = this.#arenaAt;
      keyTo = decodeString(text, nameFrom, nameTo, text, keyFrom);
      this.#arenaAt = keyTo;
    }
    const index = known.find(this.#view, keyFrom, keyTo);
    if (index === -1) this.#move(start, p, how | scanner.how, keyFrom, keyTo);
    else {
      const field = knownField[index]!;
      if (dropped[field] === 1) return p;
      this.slots.put(field, valueFrom, p, scanner.how);
      if (field === UTM) this.#utmOthers = scanner.others;
      else if (field === TS) {
        this.#tsFrom = start;
        this.#tsTo = p;
      }
    }
    return p;
  }

  #move(from: number, to: number, how: number, keyFrom: number, keyTo: number): void {
    const at = this.movedCount * MEMBER;
    if (at === this.#moved.length) this.#moved = grown(this.#moved, 2 * at);
    const moved = this.#moved;
    moved[at] = from;
    moved[at + 1] = to;
    moved[at + 2] = how;
    moved[at + 3] = keyFrom;
    moved[at + 4] = keyTo;
    this.movedCount += 1;
  }

  /** Unescapes an id or a time, so that "\u0030" reads as 0. The line never holds the unescaped text itself. */
  #unescape(field: number): void {
    const { from, to } = this.slots;
    let p = from[field]!;
    while (p < to[field]! && this.#text[p] !== BACKSLASH) p += 1;
    if (p === to[field]) return;
    const end = decodeString(this.#text, from[field]!, to[field]!, this.#text, this.#arenaAt);
    from[field] = this.#arenaAt;
    to[field] = end;
    this.#arenaAt = end;
  }

  /** In the values of props, utm and the moved members; the item's own names are settled apart. */
  #eraseTwins(): void {
    const { slots } = this;
    for (let set = slots.present & objectSet; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      this.#twins.erase(this.#text, this.#view, slots.from[field]!, this.#arenaAt);
      slots.how[field] = MEND;
    }
    for (let index = 0; index < this.movedCount; index += 1) {
      this.#twins.erase(this.#text, this.#view, this.#movedValue(index), this.#arenaAt);
      this.#moved[index * MEMBER + 2] = MEND;
    }
  }

  /** Offset of a moved member's value. */
  #movedValue(index: number): number {
    const scanner = this.#scanner;
    const colon = scanner.skip(scanner.string(this.movedFrom(index) + 1));
    return scanner.skip(colon + 1);
  }

  /** Drops moved members whose name is in props or follows again; keeps the order of the others. */
  #settleMoved(): void {
    const names = this.#names;
    const view = this.#view;
    const moved = this.#moved;
    names.reset();
    this.#nameProps();
    for (let index = this.movedCount - 1; index >= 0; index -= 1) {
      const at = index * MEMBER;
      const before = names.count;
      if (names.put(view, moved[at + 3]!, moved[at + 4]!) !== before) moved[at] = -1;
    }
    let kept = 0;
    for (let index = 0; index < this.movedCount; index += 1) {
      const at = index * MEMBER;
      if (moved[at] === -1) continue;
      if (kept !== index) moved.copyWithin(kept * MEMBER, at, at + MEMBER);
      kept += 1;
    }
    this.movedCount = kept;
  }

  /** Puts the names within props into the index. */
  #nameProps(): void {
    if (!this.slots.has(PROPS)) return;
    const from = this.slots.from[PROPS]!;
    const text = this.#text;
    const scanner = this.#scanner;
    let p = scanner.skip(from + 1);
    while (text[p] !== CLOSE) {
      const nameFrom = p + 1;
      p = scanner.string(nameFrom);
      let keyFrom = nameFrom;
      let keyTo = p - 1;
      if (scanner.escapedAt >= nameFrom) {
        keyFrom = this.#arenaAt;
        keyTo = decodeString(text, nameFrom, p - 1, text, keyFrom);
        this.#arenaAt = keyTo;
      }
      this.#names.put(this.#view, keyFrom, keyTo);
      p = scanner.skip(scanner.value(scanner.skip(scanner.skip(p) + 1)));
      if (text[p] === COMMA) p = scanner.skip(p + 1);
    }
  }
}
