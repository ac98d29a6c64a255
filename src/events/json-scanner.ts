/**
 * JSON scanner: checks RFC 8259 strictly, byte by byte, in one pass. It returns positions and makes no values, so
 * numbers keep every digit and strings their escapes.
 *
 *   accepts        exactly the bytes that JSON.parse accepts
 *   does not check whether the bytes are UTF-8: the caller calls isUtf8 once for the whole body (5 ns for 8 KB)
 *   notes in `how` white space between tokens and escapes of lone surrogates: copy such a value with copyMended
 *   notes          nesting beyond depthMax (tooDeep), and objects that may hold two equal names (twins)
 *
 * SLACK zero bytes must follow the text. Zero is valid nowhere, so every loop ends there without comparing lengths.
 * A failed scan returns -1 and sets `failedAt` and `reason`.
 */
import { arePair, escapedUnit, isHalf } from './json-mend.ts';
import { hexValue, lowestByte, unsafeBytes } from './json-text.ts';
import { MEND } from './line-plan.ts';
import { grown } from './name-index.ts';

const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const LETTER_E = 0x65;
const LETTER_U = 0x75;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Odd numbers without a pattern in their bits. */
const FACTOR = 0x5bd1e995;
const MIDDLE_FACTOR = 0x2c1b3c6d;

const NAME_AFTER_OPEN = 'expected a name in double quotes or }';
const NAME_AFTER_COMMA = 'expected a name in double quotes';
const EXPECTED_COLON = 'expected :';
const EXPECTED_VALUE = 'expected a value';

/** 1: white space. */
const blank = new Uint8Array(256);
for (const char of ' \t\n\r') blank[char.charCodeAt(0)] = 1;
/** 1: the byte may follow a backslash; u is handled apart. */
const simpleEscape = new Uint8Array(256);
for (const char of '"\\/bfnrt') simpleEscape[char.charCodeAt(0)] = 1;
/** 1: a decimal digit. */
const digit = new Uint8Array(256).fill(1, ZERO, ZERO + 10);

/** Words of #open per container: where the names of the container around it begin, and their mask. */
const OPEN_WORDS = 2;
const DEEPER_AT_START = 1024;
const NONE = new Uint8Array(0);
/** Names that are remembered at once, and per object. An object with more is one that may hold twins. */
const NAMES_MAX = 512;
const OBJECT_NAMES_MAX = 64;

const TRUE = Buffer.from('true').readInt32LE(0);
const NULL = Buffer.from('null').readInt32LE(0);
const ALSE = Buffer.from('alse').readInt32LE(0);

export class JsonScanner {
  /** Where the last scan failed, and why. */
  reason = '';
  failedAt = 0;
  /** PLAIN or MEND: covers everything scanned since the caller set it to PLAIN. */
  how = 0;
  /** Where the last backslash was seen. A string that begins at or before it must be unescaped to be compared. */
  escapedAt = -1;
  /** How many values of the last value(), the outermost included, are not strings. */
  others = 0;
  /** More than depthMax containers were open at once since the caller set it to false. */
  tooDeep = false;
  /**
   * Since the caller set it to false, an object within a value was met that may hold two equal names: always set when
   * one does, rarely when none does.
   */
  twins = false;
  readonly #depthMax: number;
  /** For each open container, outermost first, what value() knew of the container around it. */
  readonly #open: Int32Array;
  /** Hashes of the names of all open objects, the outermost object first. */
  readonly #names = new Int32Array(NAMES_MAX);
  #text: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** `depthMax`: how many containers one call of value() may have open at once without being tooDeep. */
  constructor(depthMax: number) {
    this.#depthMax = depthMax;
    this.#open = new Int32Array(OPEN_WORDS * depthMax);
  }

  /** Selects a text; `view` covers the same bytes. */
  use(text: Buffer, view: DataView): void {
    this.#text = text;
    this.#view = view;
    this.escapedAt = -1;
  }

  /** Position of the first byte at or after p that is not white space. */
  skip(start: number): number {
    const text = this.#text;
    let p = start;
    while (blank[text[p]!] === 1) p += 1;
    return p;
  }

  /** Scans the string whose opening quote is at p - 1. Returns the position behind its closing quote. */
  string(start: number): number {
    const text = this.#text;
    const view = this.#view;
    let p = start;
    for (;;) {
      let mask = unsafeBytes(view.getInt32(p, true));
      while (mask === 0) {
        p += 4;
        mask = unsafeBytes(view.getInt32(p, true));
      }
      p += lowestByte(mask);
      const byte = text[p]!;
      if (byte === QUOTE) return p + 1;
      if (byte !== BACKSLASH) return this.fail(p, 'expected no control character and a closing quote');
      this.escapedAt = p;
      const letter = text[p + 1]!;
      if (simpleEscape[letter] === 1) p += 2;
      else if (letter === LETTER_U) {
        p = this.#unit(p);
        if (p < 0) return -1;
      } else return this.fail(p + 1, 'expected one of "\\/bfnrtu after a backslash');
    }
  }

  /** Scans the value at p, which is not white space. Returns the position behind it. */
  value(start: number): number {
    const text = this.#text;
    const names = this.#names;
    const open = this.#open;
    const depthMax = this.#depthMax;
    // Beyond depthMax only the kind of the container around it is kept, for names no longer matter.
    let deeper = NONE;
    let others = 0;
    let depth = 0;
    // Names in use; where those of the current object begin, -1 in an array; a bit per hash of them.
    let count = 0;
    let first = -1;
    let mask = 0;
    let reason = NAME_AFTER_OPEN;
    let p = start;
    for (;;) {
      if (first >= 0) {
        // A name begins at p.
        if (text[p] !== QUOTE) return this.fail(p, reason);
        const from = p + 1;
        p = this.string(from);
        if (p < 0) return -1;
        const hash = this.#hash(from, p - 1);
        const bit = 1 << (hash >>> 27);
        // An escape may spell a name that stands there in plain letters.
        if (this.escapedAt >= from || count - first >= OBJECT_NAMES_MAX || count === NAMES_MAX) this.twins = true;
        else {
          if ((mask & bit) !== 0) {
            for (let i = first; i < count; i += 1) if (names[i] === hash) this.twins = true;
          }
          mask |= bit;
          names[count++] = hash;
        }
        if (text[p] !== COLON) {
          p = this.#pass(p);
          if (text[p] !== COLON) return this.fail(p, EXPECTED_COLON);
        }
        p += 1;
        if (text[p]! <= SPACE) p = this.#pass(p);
      }
      // A value begins at p.
      const byte = text[p]!;
      if (byte === QUOTE) p = this.string(p + 1);
      else if (byte === OPEN || byte === OPEN_ARRAY) {
        others += 1;
        if (depth >= depthMax) this.tooDeep = true;
        p = this.#pass(p + 1);
        if (text[p] === (byte === OPEN ? CLOSE : CLOSE_ARRAY)) p += 1;
        else {
          if (depth < depthMax) {
            open[OPEN_WORDS * depth] = first;
            open[OPEN_WORDS * depth + 1] = mask;
          } else {
            // At most a byte for each byte of the text, given back at the end of this value.
            if (depth - depthMax === deeper.length) deeper = grown(deeper, 2 * deeper.length + DEEPER_AT_START);
            deeper[depth - depthMax] = first >= 0 ? 1 : 0;
          }
          depth += 1;
          first = byte === OPEN ? count : -1;
          mask = 0;
          reason = NAME_AFTER_OPEN;
          continue;
        }
      } else {
        others += 1;
        p = this.#scalar(p);
      }
      if (p < 0) return -1;
      // A value has ended before p.
      for (;;) {
        if (depth === 0) {
          this.others = others;
          return p;
        }
        if (text[p]! <= SPACE) p = this.#pass(p);
        const next = text[p]!;
        if (next === COMMA) {
          p += 1;
          if (text[p]! <= SPACE) p = this.#pass(p);
          reason = NAME_AFTER_COMMA;
          break;
        }
        if (next !== (first >= 0 ? CLOSE : CLOSE_ARRAY)) {
          return this.fail(p, first >= 0 ? 'expected , or }' : 'expected , or ]');
        }
        p += 1;
        depth -= 1;
        if (first >= 0) count = first;
        if (depth < depthMax) {
          first = open[OPEN_WORDS * depth]!;
          mask = open[OPEN_WORDS * depth + 1]!;
        } else {
          first = deeper[depth - depthMax] === 1 ? count : -1;
          mask = 0;
        }
      }
    }
  }

  /** Records where and why the scan failed. */
  fail(at: number, reason: string): -1 {
    this.failedAt = at;
    this.reason = reason;
    return -1;
  }

  /** Skips white space within a value and notes that the value needs mending. */
  #pass(start: number): number {
    const p = this.skip(start);
    if (p !== start) this.how = MEND;
    return p;
  }

  /**
   * Hash of the name [from, to): of its length and at most twelve of its bytes. Names that differ elsewhere only look
   * like twins.
   */
  #hash(from: number, to: number): number {
    const view = this.#view;
    const length = to - from;
    let hash = view.getInt32(from, true);
    if (length < 4) hash &= (1 << (length << 3)) - 1;
    else {
      hash ^= Math.imul(view.getInt32(to - 4, true), FACTOR);
      if (length > 8) hash ^= Math.imul(view.getInt32(from + (length >> 1) - 2, true), MIDDLE_FACTOR);
    }
    return Math.imul(hash + length, FACTOR);
  }

  #scalar(p: number): number {
    const byte = this.#text[p]!;
    if (byte === MINUS || digit[byte] === 1) return this.#number(p);
    const word = this.#view.getInt32(p, true);
    if (word === TRUE || word === NULL) return p + 4;
    if (byte === 0x66 && this.#view.getInt32(p + 1, true) === ALSE) return p + 5;
    return this.fail(p, EXPECTED_VALUE);
  }

  #number(start: number): number {
    const text = this.#text;
    let p = start;
    if (text[p] === MINUS) p += 1;
    if (text[p] === ZERO) p += 1;
    else {
      p = this.#digits(p);
      if (p < 0) return -1;
    }
    if (text[p] === POINT) {
      p = this.#digits(p + 1);
      if (p < 0) return -1;
    }
    if ((text[p]! | 0x20) === LETTER_E) {
      p += 1;
      if (text[p] === PLUS || text[p] === MINUS) p += 1;
      p = this.#digits(p);
    }
    return p;
  }

  /** Scans one digit or more. */
  #digits(start: number): number {
    const text = this.#text;
    let p = start;
    while (digit[text[p]!] === 1) p += 1;
    return p === start ? this.fail(p, 'expected a digit') : p;
  }

  /** Scans \uXXXX at p, and the low surrogate that follows a high one. */
  #unit(p: number): number {
    if (!this.#isUnit(p)) return this.fail(p + 2, 'expected four hexadecimal digits after \\u');
    const unit = escapedUnit(this.#text, p);
    if (!isHalf(unit)) return p + 6;
    const next = p + 6;
    if (this.#isUnit(next) && arePair(unit, escapedUnit(this.#text, next))) return next + 6;
    // The text behind a lone surrogate is scanned on its own.
    this.how = MEND;
    return next;
  }

  #isUnit(p: number): boolean {
    const text = this.#text;
    if (text[p] !== BACKSLASH || text[p + 1] !== LETTER_U) return false;
    // Four comparisons in a row; each fails on the zeros behind the text.
    for (let i = 2; i < 6; i += 1) if (hexValue[text[p + i]!]! > 15) return false;
    return true;
  }
}
