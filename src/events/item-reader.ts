/**
 * Item reader: scans one item of a /collect body and files its members under the fields of the event model, as ranges
 * of the body.
 *
 *   known keys     compared after unescaping ("\u0065" is "e"); the last of two equal keys counts, as in JSON.parse;
 *                  null means absent
 *   texts          strings, else the item is invalid; an empty string means absent
 *   event_id, ts   strings that spell a UUID or an RFC 3339 time, else the item is invalid
 *   utm            an object whose values are all strings, else the item is invalid
 *   props          an object, else the item is invalid
 *                  an empty object means absent
 *   ip, geo        dropped, whatever they hold: the server determines them
 *   other keys     moved into props; the last of two equal keys counts; a key that props already has is dropped
 *
 * The content of props and utm is passed through unchanged, order and digits; only of equal names in one object the
 * last one stays (json-twins.ts).
 */
import { parseTimestamp } from '../kernel/timestamp.ts';
import { decodeString } from './json-mend.ts';
import type { JsonScanner } from './json-scanner.ts';
import { TwinEraser } from './json-twins.ts';
import { KeyTable } from './key-table.ts';
import { F, firstOf, firstText, MEND, objectSet, PLAIN, Slots, textSet } from './line-plan.ts';
import { grown, NameIndex } from './name-index.ts';
import { eventFields, type Field, keysWhere } from './schema.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
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
const knownField = Uint8Array.from(knownKeys, (key) => F[key]);
const dropped = Uint8Array.from(fields, (field) => (field.collect === 'drop' ? 1 : 0));

/** Numbers stored per moved member: its range, how to copy it, and the range of its unescaped name. */
const MEMBER = 5;

/** An answer repeats at most this much of a bad value. */
const SHOWN_BYTES = 64;

/** Why an item is not a valid event. */
export interface Invalid {
  readonly field: string;
  readonly must: string;
  readonly found: string;
}

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
  /** Number of members that move into props; after read() without the members that a later equal name replaces. */
  movedCount = 0;
  /** The fields that were given as strings, empty ones included. */
  #given = 0;
  /** How many values within utm, utm itself included, are not strings. */
  #utmOthers = 0;
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
   * Judges what scan() found and settles which members move. Returns undefined for a valid event; only the text of its
   * id is not checked yet.
   */
  settle(): Invalid | undefined {
    const text = this.#text;
    const { slots } = this;
    const { from, to } = slots;
    for (let set = slots.present & (textSet | ID_AND_TS); set !== 0; set &= set - 1) {
      const field = firstOf(set);
      const byte = text[from[field]!]!;
      if (byte === LETTER_N) slots.drop(field);
      else if (byte !== QUOTE) return { field: fields[field]!.key, must: 'a string', found: kindOf(byte) };
      else {
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
      if (byte === LETTER_N) slots.drop(field);
      else if (byte !== OPEN) return { field: fields[field]!.key, must: 'an object', found: kindOf(byte) };
      else if (text[this.#scanner.skip(from[field]! + 1)] === CLOSE) slots.drop(field);
    }
    if (this.#scanner.twins) this.#eraseTwins();
    this.tsMs = Number.NaN;
    if (slots.has(TS)) {
      this.tsMs = parseTimestamp(text, from[TS]!, to[TS]!);
      if (Number.isNaN(this.tsMs)) return this.#invalid(TS, 'an RFC 3339 time');
    }
    if (slots.has(UTM) && this.#utmOthers !== 1) {
      const found = `${kindOf(text[this.#oddValue(from[UTM]!)]!)} in it`;
      return { field: 'utm', must: 'an object of strings', found };
    }
    if (this.movedCount > 0) this.#settleMoved();
    return undefined;
  }

  /** The error of an item whose event_id is not a UUID. */
  invalidId(): Invalid {
    return this.#invalid(EVENT_ID, 'a UUID');
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

  #invalid(field: number, must: string): Invalid {
    const from = this.slots.from[field]!;
    const to = Math.min(this.slots.to[field]!, from + SHOWN_BYTES);
    return { field: fields[field]!.key, must, found: `"${this.#text.toString('utf8', from, to)}"` };
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

  /** Offset of the first value of the object at p that is not a string. The object is scanned and has such a value. */
  #oddValue(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    let p = start;
    do {
      // Step over a brace or comma, a name and its colon.
      p = scanner.skip(scanner.string(scanner.skip(p + 1) + 1));
      p = scanner.skip(p + 1);
      if (text[p] !== QUOTE) return p;
      p = scanner.skip(scanner.string(p + 1));
    } while (text[p] === COMMA);
    return p;
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
