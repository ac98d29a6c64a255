/**
 * JSON twins: of the members of one object that have equal names only the last stays, at any depth, as JSON.parse has
 * it. Strict readers refuse a line with twins, and with it the file.
 *
 * Works on a scanned value in place: a member that goes is overwritten with spaces, which the copy into the line drops
 * (json-mend.ts). Names are compared as they read, so "\u0061" is "a", and all halves of surrogate pairs are U+FFFD.
 * The scanner says which items may hold twins; the others never come here. Linear in the length of the value.
 */
import { decodeString } from './json-mend.ts';
import type { JsonScanner } from './json-scanner.ts';
import { grown, type NameIndex } from './name-index.ts';

const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;

export class TwinEraser {
  readonly #scanner: JsonScanner;
  readonly #names: NameIndex;
  /** By entry of #names: the member that has the name, with the comma behind it. */
  #from = new Int32Array(64);
  #to = new Int32Array(64);
  #objects = 0;
  #text: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  #arenaAt = 0;

  /** `names` is used within erase() only. */
  constructor(scanner: JsonScanner, names: NameIndex) {
    this.#scanner = scanner;
    this.#names = names;
  }

  /** Erases within the value at p, which is scanned and not too deep. From `arena` on, names may be unescaped. */
  erase(text: Buffer, view: DataView, p: number, arena: number): void {
    this.#text = text;
    this.#view = view;
    this.#arenaAt = arena;
    this.#objects = 0;
    this.#names.reset();
    this.#value(p);
  }

  /** Returns the position behind the value at p. Recursive: the depth of values is bounded. */
  #value(p: number): number {
    const byte = this.#text[p];
    if (byte === OPEN) return this.#object(p);
    if (byte === OPEN_ARRAY) return this.#array(p);
    return byte === QUOTE ? this.#scanner.string(p + 1) : this.#scanner.value(p);
  }

  #array(start: number): number {
    const scanner = this.#scanner;
    let p = scanner.skip(start + 1);
    if (this.#text[p] === CLOSE_ARRAY) return p + 1;
    for (;;) {
      p = scanner.skip(this.#value(p));
      if (this.#text[p] !== COMMA) return p + 1;
      p = scanner.skip(p + 1);
    }
  }

  #object(start: number): number {
    const text = this.#text;
    const scanner = this.#scanner;
    this.#objects += 1;
    const scope = this.#objects;
    let p = scanner.skip(start + 1);
    if (text[p] === CLOSE) return p + 1;
    for (;;) {
      const from = p;
      p = scanner.string(from + 1);
      const entry = this.#file(from + 1, p - 1, scope);
      // Behind the colon.
      p = scanner.skip(scanner.skip(p) + 1);
      p = scanner.skip(this.#value(p));
      this.#from[entry] = from;
      this.#to[entry] = p + 1;
      if (text[p] !== COMMA) return p + 1;
      p = scanner.skip(p + 1);
    }
  }

  /** The entry of a name. Erases the member that had it so far; another follows, so its comma goes with it. */
  #file(from: number, to: number, scope: number): number {
    const names = this.#names;
    let keyFrom = from;
    let keyTo = to;
    if (this.#scanner.escapedAt >= from) {
      keyFrom = this.#arenaAt;
      keyTo = decodeString(this.#text, from, to, this.#text, keyFrom);
      this.#arenaAt = keyTo;
    }
    const before = names.count;
    const entry = names.put(this.#view, keyFrom, keyTo, scope);
    if (entry === before) {
      if (entry === this.#from.length) {
        this.#from = grown(this.#from, 2 * entry);
        this.#to = grown(this.#to, 2 * entry);
      }
      return entry;
    }
    this.#text.fill(SPACE, this.#from[entry]!, this.#to[entry]!);
    // The erased name can be compared no longer.
    names.from[entry] = keyFrom;
    names.to[entry] = keyTo;
    return entry;
  }
}
