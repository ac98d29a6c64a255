/**
 * Props reader: the properties of an event, a flat object of strings, numbers and booleans.
 *
 *   an object, an array or null as a value      dropped
 *   a name of more than 100 characters          dropped: cut, it could be another one
 *   a string of more than 500                   cut
 *   a number that no double or numeric holds,   its digits as a string, cut like one: who reads the line would take
 *   a whole one beyond 2^53                     two ids for one
 *   members beyond the 30th                     dropped
 *   equal names                                 the last one counts, as in JSON.parse
 *   U+0000, a half of a surrogate pair          U+FFFD
 *
 * All but the last two count as mended. An object in which nothing is to be done, as JSON.stringify writes it, is
 * copied as it is after one scan; any other is read a second time, member by member. Linear in its length.
 */
import type { JsonScanner } from '../../events/json-scanner.ts';
import { copyEscaped, copyPlain } from '../../events/json-text.ts';
import { grown, NameIndex } from '../../events/name-index.ts';
import { limits } from '../event.ts';
import { cutAt, unescapeTo } from './chars.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const NINE = 0x39;
const OPEN_ARRAY = 0x5b;
const LETTER_E = 0x65;
const LETTER_N = 0x6e;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Numbers of at most so many characters fit everywhere; those of the second length, when they have no exponent. */
const TINY_NUMBER = 4;
const SHORT_NUMBER = 15;
/** Nearer to 0, a number may be none for Postgres: its numeric has 16,383 digits behind the point. */
const TINY = 1e-300;
const FACTOR = 0x5bd1e995;
/** Numbers stored per member: its name and its value as ranges, and the entry of its name. */
const MEMBER = 5;
/** Numbers stored per member that is kept: its name and its value as ranges, and whether the value gets quotes. */
const KEPT = 5;

export class PropsReader {
  /** After scan(): the object can be copied as it is. */
  clean = true;
  /** After scan(): a value is an object or an array. */
  nested = false;
  /** After settle(): something was dropped, cut or became a string. */
  mended = false;
  /** After settle(): how many members are kept. */
  kept = 0;
  readonly #scanner: JsonScanner;
  readonly #names = new NameIndex();
  readonly #hashes = new Int32Array(limits.props);
  #members = new Int32Array(64 * MEMBER);
  /** By entry of #names: the last member that has the name. */
  #last = new Int32Array(64);
  /** Where the next unescaped text goes. */
  #arenaAt = 0;
  readonly #keep = new Int32Array(limits.props * KEPT);
  #text: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(scanner: JsonScanner) {
    this.#scanner = scanner;
  }

  use(text: Buffer, view: DataView): void {
    this.#text = text;
    this.#view = view;
  }

  /** Scans the object at p. Returns the position behind it, or -1 for invalid JSON (the scanner says why). */
  scan(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    const hashes = this.#hashes;
    const { props, propKey, propValue } = limits;
    let clean = true;
    let count = 0;
    let mask = 0;
    this.nested = false;
    let p = scanner.skip(start + 1);
    if (text[p] === CLOSE) {
      this.clean = p === start + 1;
      return p + 1;
    }
    let before = start + 1;
    let reason = 'expected a name in double quotes or }';
    for (;;) {
      // White space between tokens would stand in the line.
      if (p !== before) clean = false;
      if (text[p] !== QUOTE) return scanner.fail(p, reason);
      const from = p + 1;
      p = scanner.string(from);
      if (p < 0) return -1;
      const length = p - 1 - from;
      if (count === props || length > propKey) clean = false;
      else {
        const hash = this.#hash(from, length);
        const bit = 1 << (hash >>> 27);
        if ((mask & bit) !== 0) for (let i = 0; i < count; i += 1) if (hashes[i] === hash) clean = false;
        mask |= bit;
        hashes[count++] = hash;
      }
      before = p;
      p = scanner.skip(p);
      if (text[p] !== COLON) return scanner.fail(p, 'expected :');
      p += 1;
      if (p !== before + 1) clean = false;
      before = p;
      p = scanner.skip(p);
      if (p !== before) clean = false;
      const value = p;
      const byte = text[p]!;
      if (byte === QUOTE) {
        p = scanner.string(p + 1);
        if (p - value - 2 > propValue) clean = false;
      } else {
        p = scanner.value(p);
        if (byte === OPEN || byte === OPEN_ARRAY) this.nested = true;
        if (this.nested || byte === LETTER_N) clean = false;
        else if (byte <= NINE && !this.#isPlainNumber(value, p)) clean = false;
      }
      if (p < 0) return -1;
      before = p;
      p = scanner.skip(p);
      if (p !== before) clean = false;
      if (text[p] === CLOSE) break;
      if (text[p] !== COMMA) return scanner.fail(p, 'expected , or }');
      before = p + 1;
      p = scanner.skip(before);
      reason = 'expected a name in double quotes';
    }
    this.clean = clean && scanner.escapedAt < start;
    return p + 1;
  }

  /**
   * Reads the scanned object at `start` again and settles which members are kept. From `arena` on there is room for its
   * texts; returns the end of what was used of it.
   */
  settle(start: number, arena: number): number {
    const text = this.#text;
    const names = this.#names;
    const members = this.#find(start, arena);
    let at = this.#arenaAt;
    this.mended = false;
    this.kept = 0;
    for (let index = 0; index < members; index += 1) {
      const table = this.#members;
      const row = index * MEMBER;
      if (this.#last[table[row + 4]!] !== index) continue;
      const nameFrom = table[row]!;
      const nameTo = table[row + 1]!;
      let from = table[row + 2]!;
      let to = table[row + 3]!;
      const byte = text[from]!;
      let quotes = 0;
      if (
        byte === OPEN ||
        byte === OPEN_ARRAY ||
        byte === LETTER_N ||
        this.kept === limits.props ||
        cutAt(text, nameFrom, nameTo, limits.propKey) !== nameTo
      ) {
        this.mended = true;
        continue;
      }
      if (byte === QUOTE) {
        quotes = 1;
        from += 1;
        to -= 1;
        if (hasBackslash(text, from, to)) {
          const end = unescapeTo(text, from, to, at);
          from = at;
          to = end;
          at = end;
        }
      } else if (byte <= NINE && !this.#isPlainNumber(from, to) && !isStorable(text.toString('latin1', from, to))) {
        quotes = 1;
        this.mended = true;
      }
      if (quotes === 1) {
        const end = cutAt(text, from, to, limits.propValue);
        if (end !== to) this.mended = true;
        to = end;
      }
      const keep = this.#keep;
      const slot = this.kept * KEPT;
      keep[slot] = nameFrom;
      keep[slot + 1] = nameTo;
      keep[slot + 2] = from;
      keep[slot + 3] = to;
      keep[slot + 4] = quotes;
      this.kept += 1;
    }
    names.reset();
    return at;
  }

  /** Writes the kept members as an object; returns its end. */
  write(buffer: Buffer, bufferView: DataView, start: number): number {
    const text = this.#text;
    const view = this.#view;
    const keep = this.#keep;
    let at = start;
    buffer[at++] = OPEN;
    for (let index = 0; index < this.kept; index += 1) {
      const slot = index * KEPT;
      if (index !== 0) buffer[at++] = COMMA;
      buffer[at++] = QUOTE;
      at = copyEscaped(text, view, keep[slot]!, keep[slot + 1]!, buffer, bufferView, at);
      buffer[at++] = QUOTE;
      buffer[at++] = COLON;
      const from = keep[slot + 2]!;
      const to = keep[slot + 3]!;
      if (keep[slot + 4] === 0) at = copyPlain(text, view, from, to, buffer, bufferView, at);
      else {
        buffer[at++] = QUOTE;
        at = copyEscaped(text, view, from, to, buffer, bufferView, at);
        buffer[at++] = QUOTE;
      }
    }
    buffer[at++] = CLOSE;
    return at;
  }

  /** Files all members and their names; returns how many they are. */
  #find(start: number, arena: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    const names = this.#names;
    names.reset();
    this.#arenaAt = arena;
    let count = 0;
    let p = scanner.skip(start + 1);
    while (text[p] !== CLOSE) {
      let nameFrom = p + 1;
      p = scanner.string(nameFrom);
      let nameTo = p - 1;
      if (hasBackslash(text, nameFrom, nameTo)) {
        const end = unescapeTo(text, nameFrom, nameTo, this.#arenaAt);
        nameFrom = this.#arenaAt;
        nameTo = end;
        this.#arenaAt = end;
      }
      const from = scanner.skip(scanner.skip(p) + 1);
      p = scanner.value(from);
      const row = count * MEMBER;
      if (row === this.#members.length) this.#members = grown(this.#members, 2 * row);
      const entry = names.put(this.#view, nameFrom, nameTo);
      if (entry === this.#last.length) this.#last = grown(this.#last, 2 * entry);
      this.#last[entry] = count;
      const members = this.#members;
      members[row] = nameFrom;
      members[row + 1] = nameTo;
      members[row + 2] = from;
      members[row + 3] = p;
      members[row + 4] = entry;
      count += 1;
      p = scanner.skip(p);
      if (text[p] === COMMA) p = scanner.skip(p + 1);
    }
    return count;
  }

  /** Hash of a name, of its length and at most eight of its bytes: names that differ elsewhere only look equal. */
  #hash(from: number, length: number): number {
    const view = this.#view;
    let hash = view.getInt32(from, true);
    if (length < 4) hash &= (1 << (length << 3)) - 1;
    else hash ^= Math.imul(view.getInt32(from + length - 4, true), FACTOR);
    return Math.imul(hash + length, FACTOR);
  }

  #isPlainNumber(from: number, to: number): boolean {
    if (to - from <= TINY_NUMBER) return true;
    if (to - from > SHORT_NUMBER) return false;
    const text = this.#text;
    for (let p = from; p < to; p += 1) if ((text[p]! | 0x20) === LETTER_E) return false;
    return true;
  }
}

function hasBackslash(text: Buffer, from: number, to: number): boolean {
  for (let p = from; p < to; p += 1) if (text[p] === 0x5c) return true;
  return false;
}

const WHOLE = /^-?\d+$/;

/** Whether a number is one for JavaScript and for Postgres. */
function isStorable(spelled: string): boolean {
  if (spelled.length > limits.propValue) return false;
  const value = Math.abs(Number(spelled));
  if (WHOLE.test(spelled)) return value <= Number.MAX_SAFE_INTEGER;
  return Number.isFinite(value) && (value > TINY || !/e/i.test(spelled));
}
