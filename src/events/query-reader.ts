/**
 * Query reader: splits and decodes application/x-www-form-urlencoded bytes in place, in one pass, and files every
 * parameter under a field of the event model. Values stay in the scratch; the reader yields ranges of it.
 *
 *   rule             what happens
 *   splitting        at '&'; the first '=' of a piece ends the name; without '=' the value is empty; empty pieces are
 *                    skipped
 *   decoding         names and values, exactly once: '+' is a space, %XX a byte; a '%' without two hex digits stays
 *   UTF-8            bytes that are not UTF-8 become U+FFFD, one for each run that the WHATWG decoder would replace
 *   known names      the first value that is not empty wins, later values are dropped
 *   utm_<name>       the same per name; `utm_` alone is not a known name
 *   any other name   kept as a string; a repeated name keeps all its values in order, as an array
 *
 * Decoding in place works because nothing grows: three characters (%FF) make at most three bytes (U+FFFD).
 */
import { hexValue, lowestByte, needsEscape, viewOf } from './json-text.ts';
import { KeyTable } from './key-table.ts';
import { ESCAPE, F, PLAIN, Slots } from './line-plan.ts';
import { grown, NameIndex } from './name-index.ts';
import { eventFields, type Field, keysWhere } from './schema.ts';

/** The byte that ends a query. The caller writes it behind the last byte, so no loop compares lengths. */
export const QUERY_END = 0x26;

const SPACE = 0x20;
const EQUALS_SIGN = 0x3d;
const PERCENT = 0x25;
const END = 1;
const EQUALS = 2;
const CODED = 4;
const PLUS = 8;
const UNSAFE = 16;

const classes: Uint8Array = needsEscape.map((flag) => flag * UNSAFE);
classes[QUERY_END] = END;
classes[EQUALS_SIGN] = EQUALS;
classes[PERCENT] = CODED;
classes[0x2b] = PLUS;

const knownKeys = keysWhere((field) => field.pixel === 'take' && field.kind !== 'texts');
const known = new KeyTable(knownKeys);
const knownField = Uint8Array.from(knownKeys, (key) => F[key]);
const prefix = Buffer.from(
  (eventFields as readonly Field[]).find((field) => field.kind === 'texts')!.prefix!,
  'latin1',
);
if (prefix.length !== 4) throw new Error(`the prefix is compared as one word: prefix=${prefix}`);
const prefixWord = viewOf(prefix).getInt32(0, true);

/** Values filed by name. The values of a name form a chain: first[entry], next[first], ... -1. */
export class NamedValues {
  readonly names = new NameIndex();
  /** First value of each entry. */
  first = new Int32Array(64);
  #last = new Int32Array(64);
  /** By value: its range, how to copy it, the next value of the same name. */
  from = new Int32Array(64);
  to = new Int32Array(64);
  how = new Uint8Array(64);
  next = new Int32Array(64);
  #count = 0;
  /** By entry: how to copy its name. */
  nameHow = new Uint8Array(64);

  reset(): void {
    this.names.reset();
    this.#count = 0;
  }

  /** Files a value behind the others of its name; with `once` only if the name is new. */
  add(
    view: DataView,
    nameFrom: number,
    nameTo: number,
    nameHow: number,
    from: number,
    to: number,
    how: number,
    once: boolean,
  ): void {
    const before = this.names.count;
    const entry = this.names.put(view, nameFrom, nameTo);
    const isNew = entry === before;
    if (once && !isNew) return;
    if (this.#count === this.from.length) this.#grow();
    const value = this.#count++;
    this.from[value] = from;
    this.to[value] = to;
    this.how[value] = how;
    this.next[value] = -1;
    if (isNew) {
      this.first[entry] = value;
      this.nameHow[entry] = nameHow;
    } else this.next[this.#last[entry]!] = value;
    this.#last[entry] = value;
  }

  #grow(): void {
    const length = this.from.length * 2;
    this.first = grown(this.first, length);
    this.#last = grown(this.#last, length);
    this.from = grown(this.from, length);
    this.to = grown(this.to, length);
    this.next = grown(this.next, length);
    this.how = grown(this.how, length);
    this.nameHow = grown(this.nameHow, length);
  }
}

export class QueryReader {
  /** Known texts, uuid and instant included, by field number. */
  readonly slots = new Slots();
  /** utm_* without its prefix. */
  readonly campaign = new NamedValues();
  /** All other parameters. */
  readonly rest = new NamedValues();
  /** By known field: the name that it came under. */
  readonly #nameFrom = new Int32Array(eventFields.length);
  readonly #nameTo = new Int32Array(eventFields.length);
  // Results of the last call of #decode.
  #end = 0;
  #how = PLAIN;

  reset(): void {
    this.slots.present = 0;
    this.campaign.reset();
    this.rest.reset();
  }

  /** Files all parameters of [from, to); scratch[to] must be QUERY_END. */
  read(scratch: Buffer, view: DataView, from: number, to: number): void {
    this.#read(scratch, view, from, to, false);
  }

  /** Files only those utm_* of [from, to) that are not filed yet; scratch[to] must be QUERY_END. */
  readCampaign(scratch: Buffer, view: DataView, from: number, to: number): void {
    this.#read(scratch, view, from, to, true);
  }

  /** Files a known field's value among the other parameters as well, under the name that it came under. */
  keep(view: DataView, field: number): void {
    const { from, to, how } = this.slots;
    this.rest.add(
      view,
      this.#nameFrom[field]!,
      this.#nameTo[field]!,
      PLAIN,
      from[field]!,
      to[field]!,
      how[field]!,
      false,
    );
  }

  #read(scratch: Buffer, view: DataView, from: number, to: number, campaignOnly: boolean): void {
    for (let p = from; p < to; p += 1) {
      const nameFrom = p;
      p = plainEnd(view, p);
      let nameTo = p;
      let nameHow = PLAIN;
      if (scratch[p] !== EQUALS_SIGN && scratch[p] !== QUERY_END) {
        p = this.#decode(scratch, p, END | EQUALS);
        nameTo = this.#end;
        nameHow = this.#how;
      }
      let valueFrom = p;
      let valueTo = p;
      let how = PLAIN;
      if (scratch[p] === EQUALS_SIGN) {
        valueFrom = p + 1;
        p = plainEnd(view, valueFrom);
        valueTo = p;
        if (scratch[p] !== QUERY_END) {
          p = this.#decode(scratch, p, END);
          valueTo = this.#end;
          how = this.#how;
        }
      } else if (p === nameFrom) continue;
      // p is at the end of the piece; the loop steps over it.
      if (isCampaign(view, nameFrom, nameTo)) {
        if (valueFrom !== valueTo) {
          this.campaign.add(view, nameFrom + prefix.length, nameTo, nameHow, valueFrom, valueTo, how, true);
        }
      } else if (!campaignOnly) {
        const index = known.find(view, nameFrom, nameTo);
        if (index === -1) this.rest.add(view, nameFrom, nameTo, nameHow, valueFrom, valueTo, how, false);
        else this.#take(knownField[index]!, nameFrom, nameTo, valueFrom, valueTo, how);
      }
    }
  }

  #take(field: number, nameFrom: number, nameTo: number, from: number, to: number, how: number): void {
    if (from === to || this.slots.has(field)) return;
    this.slots.put(field, from, to, how);
    this.#nameFrom[field] = nameFrom;
    this.#nameTo[field] = nameTo;
  }

  /**
   * Decodes in place from `start`, where a plain run ended, up to a byte whose class is in `stops`. Returns the offset
   * of that byte; the decoded text ends at #end and #how says how to copy it.
   */
  #decode(scratch: Buffer, start: number, stops: number): number {
    const kinds = classes;
    const hex = hexValue;
    let flags = 0;
    let p = start;
    // Nothing moves before the first %XX.
    for (;;) {
      const kind = kinds[scratch[p]!]!;
      if ((kind & (stops | CODED)) !== 0) break;
      if (kind === PLUS) scratch[p] = SPACE;
      flags |= kind;
      p += 1;
    }
    let end = p;
    // From the first %XX on, the text moves to the left, byte by byte.
    while (scratch[p] === PERCENT) {
      const high = hex[scratch[p + 1]!]!;
      const low = high > 15 ? high : hex[scratch[p + 2]!]!;
      if (low > 15) {
        scratch[end++] = PERCENT;
        p += 1;
      } else if (high < 8) {
        const decoded = high * 16 + low;
        flags |= kinds[decoded]!;
        scratch[end++] = decoded;
        p += 3;
      } else {
        p = decodeSequence(scratch, p, end);
        end += sequenceBytes(scratch[end]!);
      }
      for (;;) {
        const byte = scratch[p]!;
        const kind = kinds[byte]!;
        if ((kind & (stops | CODED)) !== 0) break;
        flags |= kind;
        scratch[end++] = kind === PLUS ? SPACE : byte;
        p += 1;
      }
    }
    this.#end = end;
    this.#how = (flags & UNSAFE) === 0 ? PLAIN : ESCAPE;
    return p;
  }
}

/** Where the plain run from p on ends, at the latest at QUERY_END. */
function plainEnd(view: DataView, start: number): number {
  let p = start;
  let mask = specials(view.getInt32(p, true));
  while (mask === 0) {
    p += 4;
    mask = specials(view.getInt32(p, true));
  }
  return p + lowestByte(mask);
}

/**
 * Sets a bit for each byte of the word that may end a plain run: '=', backslash and all below 0x2c (controls, quote,
 * %, &, + and some harmless ones). 0 when the word has none. Only the lowest set bit is reliable.
 */
function specials(word: number): number {
  const equals = word ^ 0x3d3d3d3d;
  const slash = word ^ 0x5c5c5c5c;
  const hit = ((word - 0x2c2c2c2c) & ~word) | ((equals - 0x01010101) & ~equals) | ((slash - 0x01010101) & ~slash);
  return hit & 0x80808080;
}

/** utm_ and at least one more character. */
function isCampaign(view: DataView, from: number, to: number): boolean {
  if (to - from <= prefix.length) return false;
  return view.getInt32(from, true) === prefixWord;
}

/** The byte that %XX at p stands for, else -1. Never reads past QUERY_END, because QUERY_END is not a hex digit. */
function codedByte(scratch: Buffer, p: number): number {
  if (scratch[p] !== PERCENT) return -1;
  const high = hexValue[scratch[p + 1]!]!;
  if (high > 15) return -1;
  const low = hexValue[scratch[p + 2]!]!;
  return low > 15 ? -1 : high * 16 + low;
}

const sequenceBytes = (lead: number): number => (lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);

/**
 * Decodes one character from the %XX at p, whose byte is not ASCII, and writes it at `end`; bytes that are no character
 * become U+FFFD. Returns the position behind them. The scratch holds well-formed UTF-8, so the bytes of a character are
 * all coded or all raw, and only a %XX continues a coded one.
 */
function decodeSequence(scratch: Buffer, start: number, end: number): number {
  const lead = codedByte(scratch, start);
  let p = start + 3;
  if (lead >= 0xc2 && lead <= 0xf4) {
    const bytes = sequenceBytes(lead);
    // The bounds of the second byte exclude overlong forms, surrogates and characters above U+10FFFF.
    let lower = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    let upper = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    scratch[end] = lead;
    let have = 1;
    for (; have < bytes; have += 1) {
      const next = codedByte(scratch, p);
      if (next < lower || next > upper) break;
      scratch[end + have] = next;
      lower = 0x80;
      upper = 0xbf;
      p += 3;
    }
    if (have === bytes) return p;
  }
  scratch[end] = 0xef;
  scratch[end + 1] = 0xbf;
  scratch[end + 2] = 0xbd;
  return p;
}
