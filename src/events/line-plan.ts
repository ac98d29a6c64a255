/**
 * Line plan: what both encoders need of the schema, compiled once at start-up into tables of numbers and ready bytes.
 *
 *   field numbers   places in eventFields, so in the line; `F.props` is the number of "props"
 *   fragments       per field the bytes that stand before its value: {"event_id":"   ,"e":"   ,"utm":
 *   texts           the text fields, which lie between the instant and the first object
 *   objects         the object fields, which end the line
 *
 * Always true (checked here, at start-up): the first key is the uuid, the second the instant; then texts, then objects.
 */
import { copyPlain, SLACK, viewOf } from './json-text.ts';
import { type EventKey, eventFields, type Field } from './schema.ts';

const fields: readonly Field[] = eventFields;

/** Field number by key. */
export const F = Object.fromEntries(fields.map((field, number) => [field.key, number])) as Readonly<
  Record<EventKey, number>
>;

const numbersOf = (...kinds: readonly Field['kind'][]): readonly number[] =>
  fields.flatMap((field, number) => (kinds.includes(field.kind) ? [number] : []));

export const fieldCount: number = fields.length;
export const texts: readonly number[] = numbersOf('text');
/** The texts are the fields [firstText, firstObject). */
export const firstText: number = texts[0]!;
export const firstObject: number = firstText + texts.length;
export const objects: readonly number[] = numbersOf('texts', 'made', 'rest');

/** Text fields that an anonymous event does not have. */
export const personal: readonly number[] = texts.filter((number) => fields[number]!.personal === true);

const order = [...numbersOf('uuid'), ...numbersOf('instant'), ...texts, ...objects];
if (order.length !== fieldCount || order.some((number, place) => number !== place)) {
  throw new Error(`the event schema must hold uuid, instant, texts, objects in this order: found=${order.join()}`);
}

const fragmentTexts = fields.map(({ key }, number) => {
  const quote = number < texts.length + 2 ? '"' : '';
  return `${number === 0 ? '{' : ','}"${key}":${quote}`;
});
const fragments = Buffer.alloc(fragmentTexts.join('').length + SLACK);
fragments.write(fragmentTexts.join(''), 'latin1');
const fragmentsView = viewOf(fragments);
const ends = fragmentTexts.map((_, number) => fragmentTexts.slice(0, number + 1).join('').length);
const fragmentTo = Int32Array.from(ends);
const fragmentFrom = Int32Array.from([0, ...ends.slice(0, -1)]);

/** Writes what stands before the field's value; returns the end. */
export function putFragment(field: number, target: Buffer, targetView: DataView, at: number): number {
  return copyPlain(fragments, fragmentsView, fragmentFrom[field]!, fragmentTo[field]!, target, targetView, at);
}

/** Bytes of a line whose texts and objects are all empty but there, with its braces, quotes and newline. */
export const emptyLineBytes: number =
  fragments.length -
  SLACK +
  (texts.length + 2) +
  2 * objects.length +
  '00000000-0000-0000-0000-000000000000'.length +
  '2000-01-01T00:00:00.000Z'.length +
  '}\n'.length;

/**
 * Where the texts of one event lie in an encoder's scratch, by field number; from = to means absent.
 * `how` tells the writer what stands there.
 */
export interface Slots {
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly how: Uint8Array;
}

/** Ready to stand inside the quotes of a JSON string. */
export const PLAIN = 0;
/** UTF-8 text that may hold what JSON must escape. */
export const ESCAPE = 1;
/** JSON with white space between tokens, or with escapes of lone surrogates (see json-mend.ts). */
export const MEND = 2;

export const newSlots = (): Slots => ({
  from: new Int32Array(fieldCount),
  to: new Int32Array(fieldCount),
  how: new Uint8Array(fieldCount),
});
