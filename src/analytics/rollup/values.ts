/**
 * Values of dimensions: their ids, and what this process knows to be committed about them. An id is a hash, so that no
 * process asks for it; the text is stored once (dimension_values).
 */
import { hash } from 'node:crypto';
import { ALL, DIMENSIONS_MAX, OTHER } from '../dimensions.ts';

export interface Value {
  readonly site: number;
  readonly dictionary: number;
  readonly text: string;
  readonly id: bigint;
  /** Halves of the id, signed. */
  readonly high: number;
  readonly low: number;
  /** Of a value of a property: what stands for those of its values that a day has no place for. */
  property: Value | undefined;
  /** Its text is stored. Committed, as the two below: set in onCommit(). */
  stored: boolean;
  /** It was last seen to have rows on this day, under the dimensions of `admitted` (a bit each). */
  day: number;
  admitted: number;
}

/** First 8 bytes of SHA-256(site | dictionary | text), signed; never one of the two ids that have a meaning. */
export function valueId(site: number, dictionary: number, text: string): bigint {
  const digest = hash('sha256', `${site}|${dictionary}|${text}`, 'buffer');
  const id = digest.readBigInt64BE(0);
  return id === ALL || id === OTHER ? id + 2n : id;
}

/** Text of what stands for a property (dimensions.ts). */
export const propertyText = (eventType: string, key: string): string => JSON.stringify([eventType, key]);

type Generation = Map<number, Map<string, Value>>;
/** The values that were used last: between `max` and twice as many, in two generations. */
export class ValueCache {
  readonly #max: number;
  #young: Generation = new Map();
  #old: Generation = new Map();
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  of(site: number, dictionary: number, text: string): Value {
    const key = site * DIMENSIONS_MAX + dictionary;
    let texts = this.#young.get(key);
    const known = texts?.get(text);
    if (known !== undefined) return known;
    const value = this.#old.get(key)?.get(text) ?? make(site, dictionary, text);
    if (this.#count >= this.#max) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#count = 0;
      texts = undefined;
    }
    if (texts === undefined) {
      texts = new Map();
      this.#young.set(key, texts);
    }
    texts.set(text, value);
    this.#count += 1;
    return value;
  }

  /** Forgets everything: what was committed may be gone. */
  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#count = 0;
  }
}

function make(site: number, dictionary: number, text: string): Value {
  const id = valueId(site, dictionary, text);
  const high = Number(id >> 32n);
  const low = Number(BigInt.asIntN(32, id));
  return { site, dictionary, text, id, high, low, property: undefined, stored: false, day: Number.NaN, admitted: 0 };
}
