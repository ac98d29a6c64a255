/** A batch as it is counted: its events by site, UTC day and visitor, and what they add to the sums. */
import { ALL, DAY_MS, type Dimension, dayOf, dimensions, SLOTS_PER_DAY, slotOf } from '../dimensions.ts';
import { type CountedEvent, engagedMs } from '../event.ts';
import { hexOf } from '../hex.ts';
import { type Cell, SiteCells, sketchIn } from './cells.ts';
import { countDay } from './count.ts';
import { changesOfGaps, GAP_DAYS, GapCells, kindsOfGaps, reaches } from './gaps.ts';
import { Guard, type GuardedDay } from './guard.ts';
import { gapKinds } from './measures.ts';
import { entryOf } from './sketch.ts';
import { propertyText, type Value, type ValueCache } from './values.ts';
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
  /** Of dimension 1, 2, ...: as in `site_days.value_counts`. */
  counts: number[] = new Array<number>(COUNTED).fill(0);
  readonly properties = new Map<bigint, number>();
  readonly verdicts: GuardedDay['verdicts'] = new Map();
  readonly people = new Map<string, Person>();

  constructor(site: number, day: number) {
    this.site = site;
    this.day = day;
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
  readonly site: number;
  readonly day: number;
  readonly visitor: string;
  readonly signedIn: boolean;
  /** For sketches, of those who are signed in. */
  readonly entry: number | undefined;
  drafts: Draft[];
  before: VisitorDay;
  after: VisitorDay;
}

interface User {
  readonly days: Map<number, Person>;
  readonly around: Map<number, { readonly any: Slots; readonly views: Slots }>;
}

/** What events without a property count under, so that they share a list. */
const TYPE: readonly number[] = [dimensions.event_type.id];
const TYPE_AND_PATH: readonly number[] = [dimensions.event_type.id, dimensions.path.id];
const noAttributes: readonly undefined[] = [];

/**
 * An event, first with the values that it came with. It keeps none of its texts: drafts live until the transaction ends,
 * and what lives long is copied by the collector.
 */
class Draft implements DayEvent<Value> {
  readonly of: DayBatch;
  readonly ms: number;
  readonly id: string;
  readonly slot: number;
  readonly view: boolean;
  readonly bot: boolean;
  /** Of an event that says how long somebody looked, and nothing else. */
  engagedMs: number | undefined = undefined;
  page: Value | undefined = undefined;
  /** None: it cannot be the first one of a visit. */
  attributes: readonly (Value | undefined)[] = noAttributes;
  dimensions: readonly number[] = TYPE;
  asked: readonly Value[] = [];
  /** `asked`, once the guard has decided. */
  values: readonly bigint[] = [];
  person: Person | undefined = undefined;
  /** Which event of the batch this is. */
  readonly number: number;

  constructor({ event }: CountedEvent, of: DayBatch, number: number) {
    const { eventId, eventType, timestampMs, bot } = event;
    this.number = number;
    this.of = of;
    this.ms = timestampMs - of.day * DAY_MS;
    this.id = hexOf(eventId);
    this.slot = slotOf(this.ms);
    this.view = eventType === 'page_view';
    this.bot = bot !== undefined;
  }

  under(under: readonly number[], asked: readonly Value[]): void {
    this.dimensions = under;
    this.asked = asked;
  }
}

export class Batch {
  readonly guard: Guard;
  readonly sites = new Map<number, SiteBatch>();
  readonly #values: ValueCache;
  readonly #sessionTimeoutMs: number;
  #drafts: Draft[] = [];
  #people: Person[] = [];
  #count = 0;

  constructor(options: RollupOptions, values: ValueCache) {
    this.guard = new Guard(options.dimensionValuesMax, options.propertiesMax);
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
    const people = new Set<Person>();
    for (const { number, person } of this.#drafts) if (person !== undefined && numbers.has(number)) people.add(person);
    const again: number[] = [];
    const kept: Draft[] = [];
    for (const draft of this.#drafts) {
      if (draft.person !== undefined && people.has(draft.person)) {
        if (!numbers.has(draft.number)) again.push(draft.number);
      } else if (!numbers.has(draft.number)) kept.push(draft);
    }
    this.#drafts = kept;
    this.#people = this.#people.filter((person) => !people.has(person));
    for (const { site, day, visitor } of people) {
      const { days, users } = this.sites.get(site)!;
      days.get(day)!.people.delete(visitor);
      users.get(visitor)?.days.delete(day);
      if (users.get(visitor)?.days.size === 0) users.delete(visitor);
    }
    for (const number of again) this.#add(read(number), number);
    const left = new Set(this.#drafts.map(({ of }) => of));
    for (const [number, { days }] of this.sites) {
      for (const [key, day] of days) if (!left.has(day)) days.delete(key);
      if (days.size === 0) this.sites.delete(number);
    }
  }

  people(): readonly Person[] {
    return this.#people;
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

  #add(counted: CountedEvent, which: number): void {
    const { event, visitor } = counted;
    let site = this.sites.get(counted.site);
    if (site === undefined) {
      site = new SiteBatch(counted.site);
      this.sites.set(counted.site, site);
    }
    const number = dayOf(event.timestampMs);
    let day = site.days.get(number);
    if (day === undefined) {
      day = new DayBatch(counted.site, number);
      site.days.set(number, day);
    }
    const draft = new Draft(counted, day, which);
    this.#drafts.push(draft);
    if (event.bot !== undefined) {
      if (event.bot === '') draft.under([], []);
      else draft.under([dimensions.bot.id], [this.#value(day, 'bot', event.bot)]);
      return;
    }
    const engaged = engagedMs(event.eventType, event.props);
    if (engaged > 0) {
      draft.engagedMs = engaged;
      if (event.path) draft.under([dimensions.path.id], [this.#value(day, 'path', event.path)]);
      else draft.under([], []);
      return;
    }
    const type = this.#value(day, 'event_type', event.eventType);
    const path = event.path ? this.#value(day, 'path', event.path) : undefined;
    if (path === undefined) draft.under(TYPE, [type]);
    else draft.under(TYPE_AND_PATH, [type, path]);
    for (const key in event.props) {
      const value = this.#property(day, event.eventType, key, event.props[key]);
      draft.under([...draft.dimensions, dimensions.prop.id], [...draft.asked, value]);
    }
    if (visitor === undefined) return;
    if (draft.view && path !== undefined) {
      draft.page = path;
      this.guard.ask(day, dimensions.entry_page.id, path);
      this.guard.ask(day, dimensions.exit_page.id, path);
    }
    const person = this.#person(site, day, visitor, counted.signedIn);
    const last = person.drafts.at(-1);
    if (last === undefined || !this.#follows(last, draft)) {
      draft.attributes = attributeKeys.map((key) => {
        const text = key === 'source' ? counted.source : event[key];
        return text || key === 'source' ? this.#value(day, key, text ?? '') : undefined;
      });
    }
    person.drafts.push(draft);
    draft.person = person;
  }

  /**
   * Whether an event comes within the timeout behind another one of the batch: it is never the first one of a visit
   * then, for events join visits and never part them. So nobody asks for its attributes.
   */
  #follows(before: Draft, draft: Draft): boolean {
    return draft.ms - before.ms <= this.#sessionTimeoutMs && order(before.ms, before.id, draft.ms, draft.id) < 0;
  }

  #person(site: SiteBatch, { day, people }: DayBatch, visitor: string, signedIn: boolean): Person {
    let person = people.get(visitor);
    if (person !== undefined) return person;
    const entry = signedIn ? entryOf(visitor) : undefined;
    person = { site: site.site, day, visitor, signedIn, entry, drafts: [], before: emptyDay, after: emptyDay };
    people.set(visitor, person);
    this.#people.push(person);
    if (signedIn) {
      let user = site.users.get(visitor);
      if (user === undefined) {
        user = { days: new Map(), around: new Map() };
        site.users.set(visitor, user);
      }
      user.days.set(day, person);
    }
    return person;
  }

  #value(day: DayBatch, dimension: Dimension, text: string): Value {
    const { id, dictionary } = dimensions[dimension];
    const value = this.#values.of(day.site, dictionary, text);
    this.guard.ask(day, id, value);
    return value;
  }

  #property(day: DayBatch, eventType: string, key: string, of: unknown): Value {
    const value = this.#value(day, 'prop', JSON.stringify([eventType, key, of]));
    value.property ??= this.#values.of(day.site, dimensions.prop.dictionary, propertyText(eventType, key));
    return value;
  }

  /** Counts all but gaps, once days and states are read. */
  count(): void {
    for (const draft of this.#drafts) {
      const { of, dimensions: under, person } = draft;
      const { cells } = this.sites.get(of.site)!;
      const slot = of.day * SLOTS_PER_DAY + draft.slot;
      if (!draft.bot) countEvent(cells.slot(SITE, slot, ALL), draft, person);
      draft.values = draft.asked.map((asked, index) => {
        const value = this.guard.map(of, under[index]!, asked);
        countEvent(cells.slot(under[index]!, slot, value), draft, person);
        return value;
      });
    }
    const { guard } = this;
    for (const person of this.#people) {
      const { site, day, signedIn, drafts, before } = person;
      const { cells, days } = this.sites.get(site)!;
      const of = days.get(day)!;
      const options = { sessionTimeoutMs: this.#sessionTimeoutMs, signedIn };
      if (drafts.length > 1) drafts.sort((a, b) => order(a.ms, a.id, b.ms, b.id));
      person.after = addEvents(before, drafts, options, (dimension, value) => guard.map(of, dimension, value));
      countDay(cells, person, before, person.after);
    }
    // Nobody needs them any more.
    this.#drafts = [];
    for (const person of this.#people) person.drafts = [];
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
}

function countEvent(cell: Cell, { view, engagedMs: engaged }: Draft, person: Person | undefined): void {
  if (engaged !== undefined) {
    cell.engaged_ms += engaged;
    return;
  }
  cell.events += 1;
  if (view) cell.views += 1;
  if (person?.entry !== undefined) sketchIn(cell, person.entry);
}
