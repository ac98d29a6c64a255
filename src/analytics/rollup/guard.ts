/**
 * Guard: on a UTC day of a site, a dimension has at most DIMENSION_VALUES_MAX values; all others count as OTHER. Each
 * property is a dimension of its own here, so one with another value in each event takes no place of the others, and
 * what it has no place for counts under the property itself. A day has PROPERTIES_MAX of them; those beyond are OTHER. A
 * value that has a row of the day keeps it, so what a value counts under on a day never
 * changes. Used under the site's lock.
 *
 *   ask      notes that a value may be used on a day under a dimension
 *   load     asks the database which of these have a row
 *   map      decides: the value itself, or OTHER; a new value takes one of the day's places
 */
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import { int2Array, int4Array, int8Array } from '../../store/postgres/binary-array.ts';
import { grains } from '../dimensions.ts';
import { chunks } from './chunks.ts';
import { type Ids, OTHER_NUMBER } from './ids.ts';
import type { Value } from './values.ts';

/** A value on a day of the batch, and under which dimensions: bits of them. */
export interface Candidate {
  readonly value: Value;
  /** Which candidate of the batch it is. */
  readonly index: number;
  /** Of the value's id. */
  readonly number: number;
  asked: number;
  admitted: number;
  refused: number;
}

/** A day of a site in this batch. */
export interface GuardedDay {
  readonly site: number;
  readonly day: number;
  /** How many values the dimensions 1, 2, ... have. */
  readonly counts: number[];
  /** How many values each property has that has some. */
  readonly properties: Map<bigint, number>;
  /** By dictionary and text. */
  readonly candidates: readonly (ReadonlyMap<string, Candidate> | undefined)[];
}

interface Question {
  readonly day: GuardedDay;
  readonly dimension: number;
  readonly candidate: Candidate;
}

const FIND = `SELECT string_agg(int4send(u.ord::int4), ''::bytea) AS found
  FROM unnest($4::int8[]) WITH ORDINALITY AS u (value, ord),
    LATERAL (SELECT FROM rollups r
      WHERE r.site = ($1::int4[])[u.ord] AND r.dimension = ($2::int2[])[u.ord] AND r.grain = ${grains.day}
        AND r.t = ($3::int4[])[u.ord] AND r.value = u.value OFFSET 0) r`;

export class Guard {
  readonly #max: number;
  readonly #propertiesMax: number;
  readonly #ids: Ids;
  readonly #questions: Question[] = [];
  /** Values that have, or will have, rows under themselves. */
  readonly used = new Set<Value>();

  /** `max`: values of a dimension on a day; `propertiesMax`: properties that have values on a day. */
  constructor(ids: Ids, max: number, propertiesMax: number) {
    this.#ids = ids;
    this.#max = max;
    this.#propertiesMax = propertiesMax;
  }

  /** A value as it stands on a day, when the batch meets it there. */
  meet(day: GuardedDay, value: Value, index: number): Candidate {
    const known = value.day === day.day ? value.admitted : 0;
    return { value, index, number: this.#numberOf(value), asked: known, admitted: known, refused: 0 };
  }

  ask(day: GuardedDay, dimension: number, candidate: Candidate): void {
    const bit = 1 << dimension;
    if ((candidate.asked & bit) !== 0) return;
    candidate.asked |= bit;
    this.#questions.push({ day, dimension, candidate });
  }

  async load(transaction: Transaction): Promise<void> {
    for (const part of chunks(this.#questions)) {
      const { rows } = await transaction.query<{ found: Buffer | null }>(FIND, [
        int4Array(part, ({ day }) => day.site),
        int2Array(part, ({ dimension }) => dimension),
        int4Array(part, ({ day }) => day.day),
        int8Array(part, ({ candidate }) => candidate.value.id),
      ]);
      const found = rows[0]!.found;
      for (let at = 0; found !== null && at < found.length; at += 4) {
        const { candidate, dimension } = part[found.readInt32BE(at) - 1]!;
        candidate.admitted |= 1 << dimension;
      }
    }
  }

  map(day: GuardedDay, dimension: number, candidate: Candidate): number {
    const bit = 1 << dimension;
    const { value } = candidate;
    if ((candidate.admitted & bit) === 0) {
      if ((candidate.refused & bit) !== 0) return this.#rest(day, value);
      if (!this.#takePlace(day, dimension, value.property?.id)) {
        candidate.refused |= bit;
        return this.#rest(day, value);
      }
      candidate.admitted |= bit;
    }
    if (!value.stored) this.used.add(value);
    return candidate.number;
  }

  #numberOf({ high, low }: Value): number {
    return this.#ids.of(high, low);
  }

  /** What a value counts under that has no place. A full day takes no new property: this never changes on a day. */
  #rest({ properties }: GuardedDay, { property }: Value): number {
    if (property === undefined || !properties.has(property.id)) return OTHER_NUMBER;
    if (!property.stored) this.used.add(property);
    return this.#numberOf(property);
  }

  /** Gives a new value one of the day's places; false: none is left. */
  #takePlace(day: GuardedDay, dimension: number, property: bigint | undefined): boolean {
    const count = day.counts[dimension - 1] ?? 0;
    if (property === undefined) {
      if (count >= this.#max) return false;
    } else {
      const values = day.properties.get(property);
      if (values === undefined ? day.properties.size >= this.#propertiesMax : values >= this.#max) return false;
      day.properties.set(property, (values ?? 0) + 1);
    }
    day.counts[dimension - 1] = count + 1;
    return true;
  }

  /** What the commit has made known. */
  static committed(days: Iterable<GuardedDay>, stored: Iterable<Value>): void {
    for (const value of stored) value.stored = true;
    for (const { day, candidates } of days) {
      for (const texts of candidates) {
        for (const { value, admitted } of texts?.values() ?? []) {
          if (value.day === day) value.admitted |= admitted;
          else [value.day, value.admitted] = [day, admitted];
        }
      }
    }
  }
}
