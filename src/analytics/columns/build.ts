/**
 * Builds the columns of a site's day from its raw events, which come in the order of format.ts. Visits are found here
 * once more, by code of its own: what the rollups say and what the columns say are two answers to one question.
 *
 * Memory: 5 bytes for an event, some 30 for a visit, and the dictionaries. Room for twice of that where numbers have just
 * doubled, but the half that nothing was written to is no memory yet.
 */
import type { AskedDimension } from '../query/types.ts';
import { attributes, type ColumnName, Day, FLAG, packNumbers, packTexts } from './format.ts';

/** A raw event without `bot`. */
export interface RawEvent {
  /** 16 bytes, one character each; '' when nobody is known. */
  readonly visitor: string;
  readonly signedIn: boolean;
  readonly timestampMs: number;
  readonly eventType: string;
  readonly path: string;
  /** Values of `prop`: the JSON text of [event_type, key, value]. */
  readonly props: readonly string[];
  /** How long somebody looked, of an event that says so and nothing else; else 0. */
  readonly engagedMs: number;
  /** Value of attributes[index]; asked for the first event of a visit only. */
  attribute(index: number): string;
}

/** Numbers in memory that nobody else sees. */
type Owned = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/**
 * Numbers that come one by one. Each takes as many bytes as the largest of them needs so far: nearly all are codes and
 * counts of one or two, and a day of a million events is built beside the batches of a backlog.
 */
class Growing {
  #values: Owned = new Uint8Array(1024);
  #largest = 0xff;
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) this.#move(2 * this.length, this.#values.BYTES_PER_ELEMENT);
    if (value > this.#largest) this.#widen(value);
    this.#values[this.length++] = value;
  }

  get last(): number {
    return this.#values[this.length - 1]!;
  }

  set last(value: number) {
    if (value > this.#largest) this.#widen(value);
    this.#values[this.length - 1] = value;
  }

  /** Bytes that the numbers take. */
  get bytes(): number {
    return this.#values.byteLength;
  }

  /** The numbers as a column. Afterwards there are none: a day has some thirty columns, and each is packed alone. */
  pack(): Uint8Array<ArrayBuffer> {
    const packed = packNumbers(this.#values, this.length);
    giveBack(this.#values);
    this.#values = new Uint8Array();
    this.length = 0;
    return packed;
  }

  #widen(value: number): void {
    const bytes = value > 0xffff ? 4 : 2;
    this.#move(this.#values.length, bytes);
    this.#largest = bytes === 4 ? 0xffff_ffff : 0xffff;
  }

  #move(length: number, bytes: number): void {
    const values =
      bytes === 1 ? new Uint8Array(length) : bytes === 2 ? new Uint16Array(length) : new Uint32Array(length);
    values.set(this.#values);
    giveBack(this.#values);
    this.#values = values;
  }
}

/** Frees the memory of numbers at once. A thread that does little else collects its garbage when the day is long over. */
function giveBack(values: Owned): void {
  values.buffer.transfer(0);
}

class Codes {
  readonly texts = [''];
  readonly #codes = new Map([['', 0]]);

  of(text: string): number {
    let code = this.#codes.get(text);
    if (code === undefined) {
      code = this.texts.length;
      this.texts.push(text);
      this.#codes.set(text, code);
    }
    return code;
  }
}

export class DayBuilder {
  readonly #dayMs: number;
  readonly #gapMs: number;
  readonly #columns = new Map<ColumnName, Growing>();
  readonly #codes = new Map<AskedDimension, Codes>();
  readonly #slot = this.#column('slot');
  readonly #path = this.#column('path');
  readonly #type = this.#column('event_type');
  readonly #propCount = this.#column('prop_count');
  readonly #prop = this.#column('prop');
  readonly #engagedSlot = this.#column('engaged_slot');
  readonly #engagedPath = this.#column('engaged_path');
  readonly #engagedMs = this.#column('engaged_ms');
  readonly #engagedVisit = this.#column('engaged_visit');
  readonly #events = this.#column('visit_events');
  readonly #views = this.#column('visit_views');
  readonly #begin = this.#column('begin');
  readonly #duration = this.#column('duration');
  readonly #entry = this.#column('entry_page');
  readonly #exit = this.#column('exit_page');
  readonly #user = this.#column('user');
  readonly #attributes = attributes.map((name) => this.#column(name));
  readonly #paths = this.#dictionary('path');
  readonly #types = this.#dictionary('event_type');
  readonly #props = this.#dictionary('prop');
  readonly #texts = attributes.map((name) => this.#dictionary(name));
  #visitors = 0;
  #visitor = '';
  #beginMs = 0;
  #lastMs = 0;

  /** `dayMs`: begin of the UTC day. `gapMs`: a longer pause begins a new visit. */
  constructor(dayMs: number, gapMs: number) {
    this.#dayMs = dayMs;
    this.#gapMs = gapMs;
  }

  add(event: RawEvent): void {
    const slot = Math.floor((event.timestampMs - this.#dayMs) / 900_000);
    const view = event.eventType === 'page_view';
    const path = this.#paths.of(event.path);
    if (event.engagedMs > 0) {
      this.#addEngagement(event, slot, path);
      return;
    }
    this.#slot.push(view ? slot | FLAG : slot);
    this.#path.push(path);
    this.#type.push(this.#types.of(event.eventType));
    this.#propCount.push(event.props.length);
    for (const prop of event.props) this.#prop.push(this.#props.of(prop));
    if (event.visitor === '') return;

    const known = event.visitor === this.#visitor;
    if (!known) this.#addVisitor(event);
    if (!known || event.timestampMs - this.#lastMs > this.#gapMs) this.#addVisit(event, slot, known);
    this.#lastMs = event.timestampMs;
    this.#events.last += 1;
    this.#duration.last = event.timestampMs - this.#beginMs;
    if (!view) return;
    this.#views.last += 1;
    if (path === 0) return;
    if (this.#entry.last === 0) this.#entry.last = path;
    this.#exit.last = path;
  }

  /** Bytes of the columns so far, without the dictionaries. */
  get bytes(): number {
    return [...this.#columns.values()].reduce((sum, column) => sum + column.bytes, 0);
  }

  /** The day. Called once: the builder has nothing afterwards. */
  finish(): Day {
    const counts = {
      events: this.#slot.length,
      visits: this.#begin.length,
      visitors: this.#visitors,
      users: this.#user.length / 2,
    };
    const packed = new Map<ColumnName, Uint8Array<ArrayBuffer>>();
    for (const [name, column] of this.#columns) packed.set(name, column.pack());
    for (const [name, { texts }] of this.#codes) packed.set(`d.${name}`, packTexts(texts));
    return new Day(counts, packed);
  }

  /** It belongs to the visit of its visitor that began last; one that came before every visit belongs to none. */
  #addEngagement({ visitor, engagedMs }: RawEvent, slot: number, path: number): void {
    this.#engagedSlot.push(slot);
    this.#engagedPath.push(path);
    this.#engagedMs.push(engagedMs);
    this.#engagedVisit.push(visitor !== '' && visitor === this.#visitor ? this.#begin.length : 0);
  }

  #addVisitor({ visitor, signedIn }: RawEvent): void {
    this.#visitor = visitor;
    this.#visitors += 1;
    if (!signedIn) return;
    for (const at of [0, 4]) {
      let word = 0;
      for (let i = at; i < at + 4; i++) word = (word << 8) | visitor.charCodeAt(i);
      this.#user.push(word >>> 0);
    }
  }

  #addVisit(event: RawEvent, slot: number, known: boolean): void {
    this.#beginMs = event.timestampMs;
    this.#begin.push(known ? slot : slot | FLAG);
    for (const column of [this.#events, this.#views, this.#duration, this.#entry, this.#exit]) column.push(0);
    for (const [index, column] of this.#attributes.entries())
      column.push(this.#texts[index]!.of(event.attribute(index)));
  }

  #column(name: ColumnName): Growing {
    const column = new Growing();
    this.#columns.set(name, column);
    return column;
  }

  #dictionary(name: AskedDimension): Codes {
    const codes = new Codes();
    this.#codes.set(name, codes);
    return codes;
  }
}
