/** A batch as it is counted: its events by site, UTC day and visitor, and what they add to the sums. */
import { DAY_MS, type Dimension, dayOf, dimensions, SLOTS_PER_DAY, slotOf } from '../dimensions.ts';
import { type CountedEvent, engagedMs } from '../event.ts';
import { type Cell, SiteCells, sketchIn } from './cells.ts';
import { countDay } from './count.ts';
import { type Drafts, NOTHING } from './drafts.ts';
import { changesOfGaps, GAP_DAYS, GapCells, kindsOfGaps, reaches } from './gaps.ts';
import { type Candidate, Guard, type GuardedDay } from './guard.ts';
import { Ids, NONE } from './ids.ts';
import { gapKinds } from './measures.ts';
import { entryOf } from './sketch.ts';
import { propertyText, type ValueCache } from './values.ts';
import {
  addEvents,
  attributeKeys,
  type DayEvent,
  emptyDay,
  order,
  type Slots,
  type VisitorDay,
} from './visitor-day.ts';

const SITE = dimensions.site.id;
/** How many values a dimension has is kept in an array that begins with dimension 1; `site` has one only. */
const COUNTED = Object.keys(dimensions).length - 1;

export interface RollupOptions {
  readonly sessionTimeoutMs: number;
  /** Values that a dimension, or a property, has on one day of a site. */
  readonly dimensionValuesMax: number;
  /** Properties that have values on one day of a site. */
  readonly propertiesMax: number;
}

export class DayBatch implements GuardedDay {
  readonly site: number;
  readonly day: number;
  /** Which day of the batch it is. */
  readonly index: number;
  readonly cells: SiteCells;
  /** Of dimension 1, 2, ...: as in `site_days.value_counts`. */
  counts: number[] = new Array<number>(COUNTED).fill(0);
  readonly properties = new Map<bigint, number>();
  readonly candidates: (Map<string, Candidate> | undefined)[] = [];
  readonly people = new Map<string, Person>();

  constructor({ site, cells }: SiteBatch, day: number, index: number) {
    this.site = site;
    this.cells = cells;
    this.day = day;
    this.index = index;
  }

  setCounts(counts: readonly number[], properties: ReadonlyMap<bigint, number>): void {
    for (const [property, values] of properties) this.properties.set(property, values);
    for (let index = 0; index < COUNTED; index += 1) this.counts[index] = counts[index] ?? 0;
  }
}

class SiteBatch {
  readonly site: number;
  readonly cells: SiteCells;
  readonly gaps: GapCells;
  readonly days = new Map<number, DayBatch>();
  /** Days that hold events already. */
  readonly existing = new Set<number>();
  /** Signed-in visitors. */
  readonly users = new Map<string, User>();

  constructor(site: number) {
    this.site = site;
    this.cells = new SiteCells(site);
    this.gaps = new GapCells(site);
  }
}

/** A visitor on a day. */
interface Person {
  /** Which visitor of the batch it is. */
  readonly index: number;
  readonly of: DayBatch;
  readonly site: number;
  readonly day: number;
  readonly visitor: string;
  readonly signedIn: boolean;
  /** For sketches, of those who are signed in. */
  readonly entry: number | undefined;
  /** Rows of its events: the others follow by Drafts.next. */
  first: number;
  last: number;
  /** Its events were taken back, and it is not counted. */
  gone: boolean;
  before: VisitorDay;
  after: VisitorDay;
}

interface User {
  readonly days: Map<number, Person>;
  readonly around: Map<number, { readonly any: Slots; readonly views: Slots }>;
}

const noAttributes: readonly undefined[] = [];

export class Batch {
  /** What numbers of values stand for. */
  readonly ids = new Ids();
  readonly guard: Guard;
  readonly sites = new Map<number, SiteBatch>();
  readonly #values: ValueCache;
  readonly #sessionTimeoutMs: number;
  /** Undefined once they are counted. */
  #drafts: Drafts | undefined;
  readonly #days: DayBatch[] = [];
  readonly #candidates: Candidate[] = [];
  #people: Person[] = [];
  #count = 0;

  /** `drafts`: empty, and the batch's own until it is counted. */
  constructor(options: RollupOptions, values: ValueCache, drafts: Drafts) {
    this.#drafts = drafts;
    this.guard = new Guard(this.ids, options.dimensionValuesMax, options.propertiesMax);
    this.#values = values;
    this.#sessionTimeoutMs = options.sessionTimeoutMs;
  }

  /** Takes an event: what is known of it afterwards needs none of its texts. */
  add(counted: CountedEvent): void {
    this.#add(counted, this.#count);
    this.#count += 1;
  }

  /**
   * Takes back the events with these numbers, in the order of add() from 0 on. `read` gives an event once more: what the
   * others of its visitor begin may be another visit now.
   */
  leaveOut(numbers: ReadonlySet<number>, read: (number: number) => CountedEvent): void {
    const drafts = this.#drafts!;
    const again: number[] = [];
    for (let row = 0; row < drafts.size; row += 1) {
      const person = this.#personOf(row);
      if (person !== undefined && numbers.has(drafts.numbers[row]!)) person.gone = true;
    }
    const left = new Set<DayBatch>();
    for (let row = 0; row < drafts.size; row += 1) {
      const number = drafts.numbers[row]!;
      const person = this.#personOf(row);
      if (person?.gone === true || numbers.has(number)) drafts.leaveOut(row);
      else left.add(this.#days[drafts.days[row]!]!);
      if (person?.gone === true && !numbers.has(number)) again.push(number);
    }
    for (const { site, day, visitor, gone } of this.#people) {
      if (!gone) continue;
      const { days, users } = this.sites.get(site)!;
      days.get(day)!.people.delete(visitor);
      users.get(visitor)?.days.delete(day);
      if (users.get(visitor)?.days.size === 0) users.delete(visitor);
    }
    for (const number of again) left.add(this.#add(read(number), number));
    for (const [number, { days }] of this.sites) {
      for (const [key, day] of days) if (!left.has(day)) days.delete(key);
      if (days.size === 0) this.sites.delete(number);
    }
  }

  people(): readonly Person[] {
    return this.#people.filter(({ gone }) => !gone);
  }

  days(): DayBatch[] {
    return [...this.sites.values()]
      .flatMap(({ days }) => [...days.values()])
      .sort((a, b) => a.site - b.site || a.day - b.day);
  }

  /** The days of the batch; where a user is, those around as well. */
  daysAround(distance: number): { site: number; day: number }[] {
    const keys: { site: number; day: number }[] = [];
    for (const { site, days, users } of this.sites.values()) {
      const around = new Set(days.keys());
      for (const user of users.values()) {
        for (const day of user.days.keys()) {
          for (let away = -distance; away <= distance; away += 1) around.add(day + away);
        }
      }
      for (const day of around) keys.push({ site, day });
    }
    return keys;
  }

  #add(counted: CountedEvent, number: number): DayBatch {
    const { event, visitor } = counted;
    const { eventId, eventType, timestampMs } = event;
    const day = this.#dayOf(counted.site, dayOf(timestampMs));
    const drafts = this.#drafts!;
    const view = eventType === 'page_view';
    const ms = timestampMs - day.day * DAY_MS;
    const row = drafts.begin({ number, day: day.index, ms, eventId, view, bot: event.bot !== undefined });
    if (event.bot !== undefined) {
      if (event.bot !== '') this.#ask(day, 'bot', event.bot);
      return day;
    }
    const engaged = engagedMs(eventType, event.props);
    if (engaged > 0) {
      drafts.engagedMs[row] = engaged;
      if (event.path) this.#ask(day, 'path', event.path);
      return day;
    }
    this.#ask(day, 'event_type', eventType);
    const path = event.path ? this.#ask(day, 'path', event.path) : undefined;
    for (const key in event.props) {
      drafts.ask(dimensions.prop.id, this.#property(day, eventType, key, event.props[key]).index);
    }
    if (visitor === undefined) return day;
    if (view && path !== undefined) {
      drafts.pages[row] = path.index;
      this.guard.ask(day, dimensions.entry_page.id, path);
      this.guard.ask(day, dimensions.exit_page.id, path);
    }
    const person = this.#person(day, visitor, counted.signedIn);
    if (person.last === NOTHING || !this.#follows(person.last, row)) {
      for (const key of attributeKeys) {
        const text = key === 'source' ? counted.source : event[key];
        drafts.attribute(text || key === 'source' ? this.#value(day, key, text ?? '').index : NOTHING);
      }
    }
    drafts.people[row] = person.index;
    if (person.last === NOTHING) person.first = row;
    else drafts.next[person.last] = row;
    person.last = row;
    return day;
  }

  #dayOf(number: number, day: number): DayBatch {
    let site = this.sites.get(number);
    if (site === undefined) {
      site = new SiteBatch(number);
      this.sites.set(number, site);
    }
    let of = site.days.get(day);
    if (of === undefined) {
      of = new DayBatch(site, day, this.#days.length);
      this.#days.push(of);
      site.days.set(day, of);
    }
    return of;
  }

  /** The newest event counts under this value by itself. */
  #ask(day: DayBatch, dimension: Dimension, text: string): Candidate {
    const candidate = this.#value(day, dimension, text);
    this.#drafts!.ask(dimensions[dimension].id, candidate.index);
    return candidate;
  }

  /**
   * Whether an event comes within the timeout behind another one of the batch: it is never the first one of a visit
   * then, for events join visits and never part them. So nobody asks for its attributes.
   */
  #follows(before: number, row: number): boolean {
    const { ms } = this.#drafts!;
    return ms[row]! - ms[before]! <= this.#sessionTimeoutMs && this.#drafts!.isBefore(before, row);
  }

  #person(of: DayBatch, visitor: string, signedIn: boolean): Person {
    const { site, day, people } = of;
    let person = people.get(visitor);
    if (person !== undefined) return person;
    const entry = signedIn ? entryOf(visitor) : undefined;
    person = {
      index: this.#people.length,
      of,
      site,
      day,
      visitor,
      signedIn,
      entry,
      first: NOTHING,
      last: NOTHING,
      gone: false,
      before: emptyDay,
      after: emptyDay,
    };
    people.set(visitor, person);
    this.#people.push(person);
    if (signedIn) {
      const { users } = this.sites.get(site)!;
      let user = users.get(visitor);
      if (user === undefined) {
        user = { days: new Map(), around: new Map() };
        users.set(visitor, user);
      }
      user.days.set(day, person);
    }
    return person;
  }

  /** What a batch has met is looked up among the texts of its day, which are few beside those of the cache. */
  #value(day: DayBatch, dimension: Dimension, text: string): Candidate {
    const { id, dictionary } = dimensions[dimension];
    let texts = day.candidates[dictionary];
    if (texts === undefined) {
      texts = new Map();
      day.candidates[dictionary] = texts;
    }
    let candidate = texts.get(text);
    if (candidate === undefined) {
      candidate = this.guard.meet(day, this.#values.of(day.site, dictionary, text), this.#candidates.length);
      this.#candidates.push(candidate);
      texts.set(text, candidate);
    }
    this.guard.ask(day, id, candidate);
    return candidate;
  }

  #property(day: DayBatch, eventType: string, key: string, of: unknown): Candidate {
    const candidate = this.#value(day, 'prop', JSON.stringify([eventType, key, of]));
    const { value } = candidate;
    value.property ??= this.#values.of(day.site, dimensions.prop.dictionary, propertyText(eventType, key));
    return candidate;
  }

  /** Counts all but gaps, once days and states are read. Returns the drafts, which nobody needs any more. */
  count(): Drafts {
    const drafts = this.#drafts!;
    const candidates = this.#candidates;
    for (let row = 0; row < drafts.size; row += 1) {
      if (drafts.isLeftOut(row)) continue;
      const day = this.#days[drafts.days[row]!]!;
      const { cells } = day;
      const entry = this.#personOf(row)?.entry;
      const slot = day.day * SLOTS_PER_DAY + slotOf(drafts.ms[row]!);
      if (!drafts.isBot(row)) countEvent(cells.slot(SITE, slot, NONE), drafts, row, entry);
      for (let at = drafts.begins[row]!; at < drafts.ends[row]!; at += 1) {
        const dimension = drafts.dimensionAt(at);
        const value = this.guard.map(day, dimension, candidates[drafts.valueAt(at)]!);
        countEvent(cells.slot(dimension, slot, value), drafts, row, entry);
        drafts.map(at, value);
      }
    }
    const { guard } = this;
    for (const person of this.#people) {
      if (person.gone) continue;
      const { of, signedIn, before } = person;
      const options = { sessionTimeoutMs: this.#sessionTimeoutMs, signedIn };
      person.after = addEvents(before, this.#eventsOf(person), options, (dimension, value) =>
        guard.map(of, dimension, value),
      );
      countDay(of.cells, person, before, person.after);
    }
    this.#drafts = undefined;
    this.#candidates.length = 0;
    return drafts;
  }

  #personOf(row: number): Person | undefined {
    const person = this.#drafts!.people[row]!;
    return person === NOTHING ? undefined : this.#people[person];
  }

  #candidateAt(index: number): Candidate | undefined {
    return index === NOTHING ? undefined : this.#candidates[index];
  }

  /** A visitor's events, in their order. */
  #eventsOf(person: Person): readonly DayEvent<Candidate>[] {
    const { next } = this.#drafts!;
    const events: DayEvent<Candidate>[] = [];
    let inOrder = true;
    for (let row = person.first; row !== NOTHING; row = next[row]!) {
      if (next[row] !== NOTHING && this.#drafts!.isBefore(next[row]!, row)) inOrder = false;
      events.push(this.#eventAt(row));
    }
    if (!inOrder) events.sort((a, b) => order(a.ms, a.id, b.ms, b.id));
    return events;
  }

  #eventAt(row: number): DayEvent<Candidate> {
    const drafts = this.#drafts!;
    const under: number[] = [];
    const values: number[] = [];
    for (let at = drafts.begins[row]!; at < drafts.ends[row]!; at += 1) {
      under.push(drafts.dimensionAt(at));
      values.push(drafts.valueAt(at));
    }
    let attributes: readonly (Candidate | undefined)[] = noAttributes;
    const from = drafts.attributes[row]!;
    if (from !== NOTHING) attributes = attributeKeys.map((_, index) => this.#candidateAt(drafts.list[from + index]!));
    return {
      ms: drafts.ms[row]!,
      id: drafts.idOf(row),
      slot: slotOf(drafts.ms[row]!),
      view: drafts.isView(row),
      page: this.#candidateAt(drafts.pages[row]!),
      attributes,
      dimensions: under,
      values,
    };
  }

  /** Days around, of users whose gaps may reach there. */
  neighbours(): { site: number; day: number; visitor: string; user: User }[] {
    const keys: { site: number; day: number; visitor: string; user: User }[] = [];
    for (const { site, users, existing } of this.sites.values()) {
      for (const [visitor, user] of users) {
        const wanted = new Set<number>();
        for (const [day, { before, after }] of user.days) {
          for (let away = -GAP_DAYS; away <= GAP_DAYS; away += 1) {
            const other = day + away;
            if (user.days.has(other) || !existing.has(other)) continue;
            if (reaches(before.any, after.any, away) || reaches(before.views, after.views, away)) wanted.add(other);
          }
        }
        for (const day of wanted) keys.push({ site, day, visitor, user });
      }
    }
    return keys;
  }

  /** Counts gaps, once the days around are read. */
  countGaps(): void {
    for (const { users, gaps } of this.sites.values()) {
      for (const { days, around } of users.values()) {
        for (const kind of kindsOfGaps) {
          const which = kind === gapKinds.viewers ? 'views' : 'any';
          const slots = new Map<number, { before: Slots; after: Slots }>();
          for (const [day, { before, after }] of days) slots.set(day, { before: before[which], after: after[which] });
          for (const [day, known] of around) slots.set(day, { before: known[which], after: known[which] });
          changesOfGaps({ days: slots }, (slot, gap, by) => gaps.add(kind, slot, gap, by));
        }
      }
    }
  }

  /** States and gaps are on their way: what is left of the visitors would grow old until the commit. */
  forgetPeople(): void {
    this.#people = [];
    for (const { days, users } of this.sites.values()) {
      users.clear();
      for (const { people } of days.values()) people.clear();
    }
  }
}

function countEvent(cell: Cell, drafts: Drafts, row: number, entry: number | undefined): void {
  const engaged = drafts.engagedMs[row]!;
  if (engaged > 0) {
    cell.engaged_ms += engaged;
    return;
  }
  cell.events += 1;
  if (drafts.isView(row)) cell.views += 1;
  if (entry !== undefined) sketchIn(cell, entry);
}
