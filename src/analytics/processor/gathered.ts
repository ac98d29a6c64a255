/**
 * Gathered: what a batch comes to while its records are read. An event is let go of as soon as its row is encoded and
 * the rollups have taken it: events that live until their batch is committed fill the heap with what the collector copies
 * and then finds dead. What is known of an event afterwards is its id, its receipt and where its record stands; the few
 * that are needed again (their id was counted before) are read again.
 */
import { dayOf } from '../dimensions.ts';
import type { CountedEvent } from '../event.ts';
import type { Prepared } from '../rollup/rollup.ts';
import { Books } from './outcomes.ts';
import type { RowEncoder } from './raw-copy.ts';
import type { ReadEvent, Refusal } from './record-line.ts';

export interface Refused {
  readonly record: number;
  readonly refusal: Refusal;
  readonly text: string;
  /** By what it is known when it comes again: its event, or an id of the record. */
  readonly known: ReadEvent | string;
}

export class Gathered {
  /** Of each event's id: the receipt of the first one that has it. */
  readonly claims = new Map<string, number>();
  /** Events whose id stood before them in the batch. */
  readonly later: ReadEvent[] = [];
  readonly refused: Refused[];
  /** Events of sites whose number is not known. */
  readonly strangers: ReadEvent[] = [];
  /** UTC day of the oldest event of each site, by its name. */
  readonly oldest = new Map<string, number>();
  readonly books = new Books();
  readonly rollups: Prepared;
  readonly #encoder: RowEncoder;
  /** Of events that are counted, in their order. */
  readonly #ids: string[] = [];
  readonly #records: number[] = [];
  #latenessMs: number[] = [];
  readonly #days = new Map<number, number>();
  #left: ReadonlySet<number> = new Set();

  constructor(encoder: RowEncoder, rollups: Prepared, refused: readonly Refused[]) {
    this.#encoder = encoder;
    this.rollups = rollups;
    this.refused = [...refused];
  }

  /** Events that are counted, or will be when their site is known. */
  get size(): number {
    return this.#latenessMs.length + this.strangers.length;
  }

  /** How much later than its own time each event came that is counted, ms. */
  get latenessMs(): readonly number[] {
    return this.#latenessMs;
  }

  /** UTC days of the events that are counted. */
  days(): Iterable<number> {
    return this.#days.keys();
  }

  /** Notes an event. False: its id stood before it in the batch. */
  take(one: ReadEvent): boolean {
    const { eventId, siteId, timestampMs } = one.event;
    const day = dayOf(timestampMs);
    if (!(this.oldest.get(siteId)! <= day)) this.oldest.set(siteId, day);
    if (this.claims.has(eventId)) {
      this.later.push(one);
      return false;
    }
    this.claims.set(eventId, one.receipt);
    return true;
  }

  count({ event, foreign, record }: Omit<ReadEvent, 'receipt'>, counted: CountedEvent): void {
    const { eventId, siteId, timestampMs, receivedMs } = event;
    if (this.#ids.length === 0) this.#encoder.begin();
    this.#encoder.add(counted);
    this.rollups.add(counted);
    this.#ids.push(eventId);
    this.#records.push(record);
    this.#latenessMs.push(receivedMs - timestampMs);
    this.books.count(siteId, receivedMs, 'stored', foreign);
    const day = dayOf(timestampMs);
    this.#days.set(day, (this.#days.get(day) ?? 0) + 1);
  }

  /**
   * Takes those back whose id is `known`, and returns them. Called once at most. `read` gives an event once more by its
   * record, `countedOf` makes of it what was counted.
   */
  leaveOut(
    known: { has(id: string): boolean },
    read: (record: number) => ReadEvent,
    countedOf: (one: ReadEvent) => CountedEvent,
  ): readonly ReadEvent[] {
    const numbers = new Set<number>();
    for (let number = 0; number < this.#ids.length; number += 1) if (known.has(this.#ids[number]!)) numbers.add(number);
    if (numbers.size === 0) return [];
    const readAt = (number: number) => read(this.#records[number]!);
    this.#encoder.leaveOut(numbers);
    this.rollups.leaveOut(numbers, (number) => countedOf(readAt(number)));
    this.#latenessMs = this.#latenessMs.filter((_, number) => !numbers.has(number));
    this.#left = numbers;
    const left = Array.from(numbers, readAt);
    for (const { event, foreign } of left) {
      this.books.uncount(event.siteId, event.receivedMs, foreign);
      const day = dayOf(event.timestampMs);
      const others = this.#days.get(day)! - 1;
      if (others > 0) this.#days.set(day, others);
      else this.#days.delete(day);
    }
    return left;
  }

  /** Reads the events that are counted once more. */
  counted(read: (record: number) => ReadEvent): readonly ReadEvent[] {
    return this.#records.filter((_, number) => !this.#left.has(number)).map(read);
  }

  /** Nobody has got the rows that were encoded. */
  release(): void {
    this.#encoder.done();
  }
}
