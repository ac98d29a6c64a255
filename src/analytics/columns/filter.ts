/** Filters, as tables over the codes of a day: the texts of a dictionary are looked at once, and never per event. */
import type { Filter } from '../query/types.ts';
import type { Dictionary } from './format.ts';
import { regexOf } from './regex.ts';

/** 1 for each code whose text is one that the filter's values name, whether it wants these or all others. */
export function markValues(filter: Filter, dictionary: Dictionary): Uint8Array {
  const found = new Uint8Array(dictionary.size);
  if (filter.within !== undefined) return markWithin(filter, filter.within, dictionary, found);
  if (isMatching(filter)) {
    const fits = patternsOf(filter);
    for (let code = 0; code < found.length; code++) if (fits(dictionary.text(code))) found[code] = 1;
    return found;
  }
  if (filter.ignoreCase === true) return markAny(filter, dictionary, found);
  const whole = filter.op === 'is' || filter.op === 'is_not';
  for (const value of filter.values) dictionary.mark(value, whole, found);
  return found;
}

/** Begin of the values of `prop` that are of this type and key. */
export const propPrefix = (...within: readonly string[]): string => `${JSON.stringify(within).slice(0, -1)},`;

/** What stands behind the prefix, as a text: the property's value, or the key for a prefix without one. */
export const propText = (value: string, prefix: string): string =>
  String((JSON.parse(`[${value.slice(prefix.length)}`) as readonly unknown[])[0]);

const isMatching = ({ op }: Filter): boolean => op === 'matches' || op === 'matches_not';

/** Whether a text fits one of the filter's patterns. */
function patternsOf({ values, regex, ignoreCase }: Filter): (text: string) => boolean {
  if (regex === true) {
    const found = values.map((value) => regexOf(value, ignoreCase === true));
    return (text) => found.some((finds) => finds(text));
  }
  const patterns = values.map((value) => new Pattern(value));
  return (text) => patterns.some((pattern) => pattern.fits(text));
}

/** By a look at each text. */
function markAny({ op, values }: Filter, dictionary: Dictionary, found: Uint8Array): Uint8Array {
  const wanted = values.map((value) => value.toLowerCase());
  const whole = op.startsWith('is');
  for (let code = 0; code < found.length; code++) {
    const text = dictionary.text(code).toLowerCase();
    if (whole ? wanted.includes(text) : wanted.some((value) => text.includes(value))) found[code] = 1;
  }
  return found;
}

function markWithin(filter: Filter, within: readonly string[], dictionary: Dictionary, found: Uint8Array): Uint8Array {
  const { op, values } = filter;
  const [eventType, wanted] = within;
  const prefix = eventType === '' ? '' : propPrefix(...within);
  const fits = op.startsWith('matches')
    ? patternsOf(filter)
    : op.startsWith('is')
      ? (text: string) => values.includes(text)
      : (text: string) => values.some((value) => text.includes(value));
  for (let code = 0; code < found.length; code++) {
    const text = dictionary.text(code);
    if (prefix !== '') {
      if (text.startsWith(prefix) && fits(propText(text, prefix))) found[code] = 1;
    } else if (text !== '') {
      const [, key, value] = JSON.parse(text) as readonly unknown[];
      if (key === wanted && fits(String(value))) found[code] = 1;
    }
  }
  return found;
}

/** The filter keeps what its values do not name. */
export function isNegative({ op }: Filter): boolean {
  return op === 'is_not' || op === 'contains_not' || op === 'matches_not';
}

/**
 * A pattern with `*` (any characters but `/`) and `**` (any characters). The positions of the text that can be reached
 * are kept as a set, so the work is bounded by parts x characters, whatever somebody asks for.
 */
export class Pattern {
  readonly #parts: readonly string[];

  constructor(pattern: string) {
    // '***' is '**' and '*', which is '**'.
    this.#parts = pattern.split(/(\*+)/).filter((part) => part !== '');
  }

  fits(text: string): boolean {
    const [first] = this.#parts;
    if (first !== undefined && !first.startsWith('*') && !text.startsWith(first)) return false;
    let reached = new Uint8Array(text.length + 1);
    reached[0] = 1;
    for (const part of this.#parts) {
      if (part === '*') {
        for (let i = 1; i <= text.length; i++) if (reached[i - 1] === 1 && text[i - 1] !== '/') reached[i] = 1;
      } else if (part.startsWith('*')) {
        const from = reached.indexOf(1);
        if (from < 0) return false;
        reached.fill(1, from);
      } else {
        const next = new Uint8Array(text.length + 1);
        for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1))
          if (reached[at] === 1) next[at + part.length] = 1;
        reached = next;
      }
    }
    return reached[text.length] === 1;
  }
}
