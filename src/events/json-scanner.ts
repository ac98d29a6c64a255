/**
 * JSON scanner: checks RFC 8259 strictly, byte by byte, in one pass. It returns positions and makes no values, so
 * numbers keep every digit and strings their escapes.
 *
 *   accepts        exactly the bytes that JSON.parse accepts, as long as nesting stays within depthMax
 *   does not check whether the bytes are UTF-8: the caller calls isUtf8 once for the whole body (5 ns for 8 KB)
 *   notes in `how` white space between tokens and escapes of lone surrogates: copy such a value with copyMended
 *
 * SLACK zero bytes must follow the text. Zero is valid nowhere, so every loop ends there without comparing lengths.
 * A failed scan returns -1 and sets `failedAt` and `reason`.
 */
import { arePair, escapedUnit, isHalf } from './json-mend.ts';
import { hexValue, lowestByte, unsafeBytes } from './json-text.ts';
import { MEND } from './line-plan.ts';

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

const TRUE = Buffer.from('true').readInt32LE(0);
const NULL = Buffer.from('null').readInt32LE(0);
const ALSE = Buffer.from('alse').readInt32LE(0);

export class JsonScanner {
  /** Where the last scan failed, and why. */
  reason = '';
  failedAt = 0;
  /** PLAIN or MEND: covers everything scanned since the caller set it to PLAIN. */
  how = 0;
  /** Backslashes seen since the caller set it to 0; not 0: a name must be unescaped before it is compared. */
  escapes = 0;
  /** How many values of the last value(), the outermost included, are not strings. */
  others = 0;
  readonly #depthMax: number;
  /** For each open container, outermost first: whether it is an object. */
  readonly #isObject: Uint8Array;
  #text: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** `depthMax`: how many containers one call of value() may have open at once. */
  constructor(depthMax: number) {
    this.#depthMax = depthMax;
    this.#isObject = new Uint8Array(depthMax);
  }

  /** Selects a text; `view` covers the same bytes. */
  use(text: Buffer, view: DataView): void {
    this.#text = text;
    this.#view = view;
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
      this.escapes += 1;
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
    const isObject = this.#isObject;
    let others = 0;
    let depth = 0;
    let p = start;
    for (;;) {
      // A value begins at p.
      const byte = text[p]!;
      if (byte === QUOTE) p = this.string(p + 1);
      else if (byte === OPEN || byte === OPEN_ARRAY) {
        others += 1;
        if (depth === this.#depthMax) return this.fail(p, `expected at most ${this.#depthMax} nested values`);
        isObject[depth++] = byte === OPEN ? 1 : 0;
        p = this.#pass(p + 1);
        if (byte === OPEN && text[p] !== CLOSE) {
          p = this.#name(p, NAME_AFTER_OPEN);
          if (p < 0) return -1;
          continue;
        }
        if (byte === OPEN_ARRAY && text[p] !== CLOSE_ARRAY) continue;
        p += 1;
        depth -= 1;
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
        p = this.#pass(p);
        const next = text[p]!;
        const inObject = isObject[depth - 1] === 1;
        if (next === COMMA) {
          p = this.#pass(p + 1);
          if (inObject) p = this.#name(p, NAME_AFTER_COMMA);
          if (p < 0) return -1;
          break;
        }
        if (next !== (inObject ? CLOSE : CLOSE_ARRAY)) {
          return this.fail(p, inObject ? 'expected , or }' : 'expected , or ]');
        }
        p += 1;
        depth -= 1;
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

  /** Scans "name": at p. Returns where the value begins. */
  #name(start: number, reason: string): number {
    if (this.#text[start] !== QUOTE) return this.fail(start, reason);
    let p = this.string(start + 1);
    if (p < 0) return -1;
    p = this.#pass(p);
    if (this.#text[p] !== COLON) return this.fail(p, EXPECTED_COLON);
    return this.#pass(p + 1);
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
