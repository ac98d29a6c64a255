/**
 * Format of the columns of a site's UTC day. A column is a row of `day_columns`: its name and its bytes.
 *
 *   order      visitors with a user id first; within these two halves by visitor, then timestamp, then event id. Events
 *              that nobody is known for come last. So the events of a visit are neighbours, and so are the visits of a
 *              visitor: nothing has to name its visit or its visitor.
 *   events     slot (quarter of an hour of the day, + 128 for a page_view), path, event_type (codes), prop_count
 *              (values of `prop` that an event has) and prop (their codes, one event's after another's)
 *   visits     visit_events, visit_views (how many), begin (slot, + 128 for the first visit of its visitor), duration
 *              (ms) and a code for each dimension of level `visit`
 *   engaged    engaged_slot, engaged_path (code), engaged_ms and engaged_visit (its number, from 1; 0: none) of each
 *              `engagement` event. A day that was sealed before there were such columns has none
 *   visitors   user: a hash of 8 bytes for each visitor with a user id
 *   d.<name>   dictionary of a dimension; path, entry_page and exit_page share one. Code 0 is '', which stands for none
 *   head       the counts of the day; when all the columns together are small, they lie in its bytes as well
 *
 * Numbers are little-endian. Numbers and codes take 1, 2 or 4 bytes each, whichever the largest of a column needs; the
 * first byte of a column says which, and 7 bytes follow that keep the numbers aligned.
 */
import { dimensions } from '../dimensions.ts';
import type { AskedDimension } from '../query/types.ts';

export type Numbers = Uint8Array | Uint16Array | Uint32Array;

/** Dimensions that a visit has a code for, in the order in which a raw event is read. Entry and exit page are made. */
export const attributes = [
  'referrer',
  'source',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
  'country',
  'region',
  'device',
  'browser',
  'os',
] as const satisfies readonly AskedDimension[];

const eventColumns = ['slot', 'path', 'event_type', 'prop_count', 'prop'] as const;
const engagedColumns = ['engaged_slot', 'engaged_path', 'engaged_ms', 'engaged_visit'] as const;
const visitColumns = ['visit_events', 'visit_views', 'begin', 'duration', 'entry_page', 'exit_page'] as const;
export type ColumnName =
  | (typeof eventColumns)[number]
  | (typeof engagedColumns)[number]
  | (typeof visitColumns)[number]
  | (typeof attributes)[number]
  | 'user'
  | `d.${AskedDimension}`;

const names: readonly ColumnName[] = [...eventColumns, ...engagedColumns, ...visitColumns, ...attributes, 'user'];
const dictionaryNames = [...new Set([...(['path', 'event_type', 'prop'] as const), ...attributes])];
export const columnNames: readonly ColumnName[] = [...names, ...dictionaryNames.map((name) => `d.${name}` as const)];

const isEngaged = (name: ColumnName): boolean => (engagedColumns as readonly ColumnName[]).includes(name);

/** Name of the dictionary of a dimension. */
export function dictionaryOf(dimension: AskedDimension): `d.${AskedDimension}` {
  return dimensions[dimension].dictionary === dimensions.path.dictionary ? 'd.path' : `d.${dimension}`;
}

/** Bit of `slot` and `begin`. */
export const FLAG = 128;
const HEADER_BYTES = 8;

/** The first `length` numbers as a column. */
export function packNumbers(values: Numbers, length: number): Uint8Array<ArrayBuffer> {
  let max = 0;
  for (let i = 0; i < length; i++) if (values[i]! > max) max = values[i]!;
  const width = max < 1 << 8 ? 1 : max < 1 << 16 ? 2 : 4;
  const bytes = new Uint8Array(HEADER_BYTES + length * width);
  bytes[0] = width;
  unpackNumbers(bytes).set(length === values.length ? values : values.subarray(0, length));
  return bytes;
}

export function unpackNumbers(bytes: Uint8Array<ArrayBuffer>): Numbers {
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset, length } = aligned;
  const at = byteOffset + HEADER_BYTES;
  const width = aligned[0]!;
  const count = (length - HEADER_BYTES) / width;
  if (width === 1) return new Uint8Array(buffer, at, count);
  return width === 2 ? new Uint16Array(buffer, at, count) : new Uint32Array(buffer, at, count);
}

/** Texts by code: their number, where each begins, where the last ends, then their UTF-8. */
export class Dictionary {
  readonly #offsets: Uint32Array;
  readonly #text: Buffer;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const { buffer, byteOffset, length } = aligned;
    const [count] = new Uint32Array(buffer, byteOffset, 1);
    this.#offsets = new Uint32Array(buffer, byteOffset + 4, count! + 1);
    const at = 4 * (count! + 2);
    this.#text = Buffer.from(buffer, byteOffset + at, length - at);
  }

  get size(): number {
    return this.#offsets.length - 1;
  }

  text(code: number): string {
    return this.#text.toString('utf8', this.#offsets[code]!, this.#offsets[code + 1]!);
  }

  /** Marks in `found` the codes whose text is `value`, or contains it. */
  mark(value: string, whole: boolean, found: Uint8Array): void {
    const wanted = Buffer.from(value);
    if (wanted.length === 0) {
      if (whole) found[0] = 1;
      else found.fill(1);
      return;
    }
    const offsets = this.#offsets;
    for (let at = this.#text.indexOf(wanted); at >= 0; ) {
      const code = this.#codeAt(at);
      const end = offsets[code + 1]!;
      const fits = whole ? at === offsets[code] && at + wanted.length === end : at + wanted.length <= end;
      if (fits) found[code] = 1;
      // A value that is contained need be found once; UTF-8 is never found in the middle of a character.
      at = this.#text.indexOf(wanted, fits ? end : at + 1);
    }
  }

  /** The text that the byte at `at` belongs to. */
  #codeAt(at: number): number {
    const offsets = this.#offsets;
    let low = 0;
    let high = offsets.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (offsets[middle]! <= at) low = middle;
      else high = middle;
    }
    return low;
  }
}

export function packTexts(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const head = 4 * (texts.length + 2);
  let bytes = 0;
  for (const text of texts) bytes += Buffer.byteLength(text);
  const packed = Buffer.from(new ArrayBuffer(head + bytes));
  packed.writeUInt32LE(texts.length, 0);
  let at = 0;
  for (const [code, text] of texts.entries()) {
    packed.writeUInt32LE(at, 4 + 4 * code);
    at += packed.write(text, head + at);
  }
  packed.writeUInt32LE(at, head - 4);
  return packed;
}

export interface DayCounts {
  readonly events: number;
  readonly visits: number;
  readonly visitors: number;
  /** Visitors with a user id: the first ones. */
  readonly users: number;
}

export type PackedColumns = ReadonlyMap<ColumnName, Uint8Array<ArrayBuffer>>;

/** A day, whole or as many of its columns as a question needs. */
export class Day {
  readonly counts: DayCounts;
  readonly #packed: PackedColumns;

  constructor(counts: DayCounts, packed: PackedColumns) {
    this.counts = counts;
    this.#packed = packed;
  }

  get packed(): PackedColumns {
    return this.#packed;
  }

  numbers(name: Exclude<ColumnName, `d.${AskedDimension}`>): Numbers {
    if (isEngaged(name) && !this.#packed.has(name)) return new Uint8Array();
    return unpackNumbers(this.#bytes(name));
  }

  dictionary(dimension: AskedDimension): Dictionary {
    return new Dictionary(this.#bytes(dictionaryOf(dimension)));
  }

  #bytes(name: ColumnName): Uint8Array<ArrayBuffer> {
    const bytes = this.#packed.get(name);
    if (bytes === undefined) throw new TypeError(`a day must have the columns that it is asked for: missing=${name}`);
    return bytes;
  }
}

/** Days whose columns are no larger together lie in one row. */
const WHOLE_BYTES_MAX = 64 * 1024;

interface Head extends DayCounts {
  /** Name, begin and length of what lies behind the head. */
  readonly columns: readonly (readonly [ColumnName, number, number])[];
}

/** Rows of `day_columns`: name and bytes. */
export function packDay(day: Day): Map<string, Uint8Array> {
  let bytes = 0;
  for (const column of day.packed.values()) bytes += align(column.length);
  const whole = bytes <= WHOLE_BYTES_MAX;
  const columns: Head['columns'][number][] = [];
  let at = 0;
  if (whole) {
    for (const [name, column] of day.packed) {
      columns.push([name, at, column.length]);
      at += align(column.length);
    }
  }
  const text = Buffer.from(JSON.stringify({ ...day.counts, columns } satisfies Head));
  const begin = align(4 + text.length);
  const head = Buffer.alloc(begin + at);
  head.writeUInt32LE(text.length, 0);
  text.copy(head, 4);
  for (const [name, offset] of columns) head.set(day.packed.get(name)!, begin + offset);
  return new Map<string, Uint8Array>(whole ? [['head', head]] : [['head', head], ...day.packed]);
}

const align = (bytes: number): number => (bytes + 7) & ~7;

/** A day from its head; columns that lie in rows of their own are added to `packed` by the reader. */
export function readHead(bytes: Uint8Array<ArrayBuffer>, packed: Map<ColumnName, Uint8Array<ArrayBuffer>>): Day {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + 4, length).toString();
  const { columns, ...counts } = JSON.parse(text) as Head;
  const begin = align(4 + length);
  for (const [name, at, size] of columns) packed.set(name, bytes.subarray(begin + at, begin + at + size));
  return new Day(counts, packed);
}
