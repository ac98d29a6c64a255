/**
 * Line plan: what both encoders need of the schema, compiled once at start-up into tables of numbers and ready bytes.
 *
 *   field numbers   indexes in eventFields, so the order in the line; `F.props` is the number of "props"
 *   fragments       per field the bytes that stand before its value: {"event_id":"   ,"e":"   ,"utm":
 *   texts           the text fields; they lie between the instant and the first object
 *   objects         the object fields; they end the line
 *   sets            sets of fields, as bit masks
 *
 * Always true (checked here, at start-up): the first key is the uuid, the second the instant; then texts, then objects.
 */
import { type EventKey, eventFields, type Field } from './schema.ts';

const fields: readonly Field[] = eventFields;

/** Field number by key. */
export const F = Object.fromEntries(fields.map((field, number) => [field.key, number])) as Readonly<
  Record<EventKey, number>
>;

const numbersOf = (...kinds: readonly Field['kind'][]): readonly number[] =>
  fields.flatMap((field, number) => (kinds.includes(field.kind) ? [number] : []));

const fieldCount: number = fields.length;
const texts: readonly number[] = numbersOf('text');
/** The texts are the fields [firstText, firstObject). */
export const firstText: number = texts[0]!;
export const firstObject: number = firstText + texts.length;
const objects: readonly number[] = numbersOf('texts', 'made', 'rest');

const setOf = (numbers: readonly number[]): number => numbers.reduce((set, number) => set | (1 << number), 0);
export const textSet: number = setOf(texts);
export const objectSet: number = setOf(objects);
/** Text fields that an anonymous event lacks. */
export const personalSet: number = setOf(texts.filter((number) => fields[number]!.personal === true));

const order = [...numbersOf('uuid'), ...numbersOf('instant'), ...texts, ...objects];
if (order.length !== fieldCount || order.some((number, place) => number !== place)) {
  throw new Error(`the event schema must hold uuid, instant, texts, objects in this order: found=${order.join()}`);
}

const fragmentTexts = fields.map(({ key }, number) => {
  const quote = number < texts.length + 2 ? '"' : '';
  return `${number === 0 ? '{' : ','}"${key}":${quote}`;
});
const FRAGMENT_WORDS = 4;
const fragmentBytes = Int32Array.from(fragmentTexts, (text) => text.length);
if (Math.max(...fragmentBytes) > 4 * FRAGMENT_WORDS) throw new Error(`a key is too long: ${fragmentTexts.join(' ')}`);
const fragments = Buffer.from(fragmentTexts.map((text) => text.padEnd(4 * FRAGMENT_WORDS)).join(''), 'latin1');
/** Each fragment as words, padded. */
const fragmentWords = Int32Array.from({ length: fieldCount * FRAGMENT_WORDS }, (_, i) => fragments.readInt32LE(4 * i));

/** Writes the fragment before a field's value; returns the end. Always writes two words, since nearly all fit them. */
export function putFragment(field: number, target: DataView, at: number): number {
  const words = fragmentWords;
  const bytes = fragmentBytes[field]!;
  const word = field * FRAGMENT_WORDS;
  target.setInt32(at, words[word]!, true);
  target.setInt32(at + 4, words[word + 1]!, true);
  for (let done = 8; done < bytes; done += 4) target.setInt32(at + done, words[word + (done >> 2)]!, true);
  return at + bytes;
}

/** Length of a line whose texts and objects are all present and empty, with braces, quotes and newline. */
export const emptyLineBytes: number =
  fragmentTexts.join('').length +
  (texts.length + 2) +
  2 * objects.length +
  '00000000-0000-0000-0000-000000000000'.length +
  '2000-01-01T00:00:00.000Z'.length +
  '}\n'.length;

/** Can be copied between the quotes of a JSON string as it is. */
export const PLAIN = 0;
/** UTF-8 text that may hold characters which JSON must escape. */
export const ESCAPE = 1;
/** JSON with white space between tokens, or with escapes of lone surrogates (see json-mend.ts). */
export const MEND = 2;

/**
 * Where the fields of one event lie in an encoder's scratch. A set of fields is a bit mask: visiting the present fields
 * costs less than asking every field, and clearing is one store.
 */
export class Slots {
  /** By field; valid only for fields that are present. */
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** PLAIN, ESCAPE or MEND. */
  readonly how: Uint8Array;
  /** The fields that are present. */
  present = 0;

  /** `count`: of fields, at most 31; default: those of the event model. */
  constructor(count: number = fieldCount) {
    this.from = new Int32Array(count);
    this.to = new Int32Array(count);
    this.how = new Uint8Array(count);
  }

  has(field: number): boolean {
    return (this.present & (1 << field)) !== 0;
  }

  put(field: number, from: number, to: number, how: number): void {
    this.from[field] = from;
    this.to[field] = to;
    this.how[field] = how;
    this.present |= 1 << field;
  }

  drop(field: number): void {
    this.present &= ~(1 << field);
  }
}

/** The lowest field number of a set that is not empty. `set &= set - 1` removes it. */
export const firstOf = (set: number): number => 31 - Math.clz32(set & -set);
