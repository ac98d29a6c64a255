/** Random events for the tests of columns, and what a question has for an answer when one looks at every event. */
import fc from 'fast-check';
import { attributes } from '../../../src/analytics/columns/format.ts';
import { DAY_MS, dimensions, SLOT_MS } from '../../../src/analytics/dimensions.ts';
import {
  type AskedDimension,
  askedDimensions,
  type Condition,
  type Filter,
  filterOps,
  isFilter,
  type ScanQuestion,
  type ScanRow,
} from '../../../src/analytics/query/types.ts';

export const FIRST_DAY = 20_000;
export const DAYS = 3;
export const GAP_MS = 1_800_000;

export interface TestEvent {
  readonly eventId: string;
  readonly timestampMs: number;
  readonly eventType: string;
  readonly path: string;
  readonly userId: string;
  /** Of a user id: the same on every day. '' is nobody. */
  readonly visitor: string;
  readonly props: Readonly<Record<string, string | number | boolean>>;
  readonly attributes: readonly string[];
}

const texts = ['', '/', '/a', '/a/b', '/ab', '/é/ü', 'x*y', 'plan', '💡'];
const text = fc.constantFrom(...texts);

const event: fc.Arbitrary<TestEvent> = fc
  .record({
    id: fc.integer({ min: 0, max: 2 ** 31 }),
    day: fc.integer({ min: 0, max: DAYS - 1 }),
    minute: fc.oneof(fc.integer({ min: 0, max: 1439 }), fc.integer({ min: 600, max: 640 })),
    eventType: fc.constantFrom('page_view', 'page_view', 'signup', 'engagement'),
    path: text,
    who: fc.constantFrom('u1', 'u2', 'u3', 'a1', 'a2', ''),
    props: fc.oneof(
      fc.constant({}),
      fc.record({ ms: fc.nat(3) }),
      fc.dictionary(fc.constantFrom('plan', 'é', 'ms'), fc.oneof(text, fc.boolean(), fc.nat(3))),
    ),
    attributes: fc.array(text, { minLength: attributes.length, maxLength: attributes.length }),
  })
  .map(({ id, day, minute, who, ...rest }) => ({
    ...rest,
    props: { ...rest.props },
    eventId: `00000000-0000-4000-8000-${id.toString(16).padStart(12, '0')}`,
    timestampMs: (FIRST_DAY + day) * DAY_MS + minute * 60_000,
    userId: who.startsWith('u') ? who : '',
    visitor: who === '' ? '' : visitorId(who.startsWith('u') ? who : `${who}/${day}`),
  }));

/** 32 hex digits that differ in their first half. */
function visitorId(name: string): string {
  return Buffer.from(`${name.padEnd(8, '.')}visitor.`).toString('hex');
}

export const events = fc.uniqueArray(event, { maxLength: 60, selector: ({ eventId }) => eventId });

export const propOf = ({ eventType }: TestEvent, key: string, value: unknown): string =>
  JSON.stringify([eventType, key, value]);
const propTexts = (one: TestEvent): string[] =>
  Object.entries(one.props).map(([key, value]) => propOf(one, key, value));

const value = fc.oneof(
  text,
  fc.constantFrom('page_view', '/**', '/*', '*', '**b', 'a', '["signup","plan","plan"]', '**plan**'),
);
const filter: fc.Arbitrary<Filter> = fc.record({
  dimension: fc.constantFrom(...askedDimensions),
  op: fc.constantFrom(...filterOps),
  values: fc.array(value, { minLength: 1, maxLength: 3 }),
});

/** Several conditions, or what has been done in a visit. */
const around = (part: fc.Arbitrary<Condition>): fc.Arbitrary<Condition> =>
  fc.oneof(
    fc.record({
      op: fc.constantFrom('any' as const, 'all' as const),
      of: fc.array(part, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ op: fc.constantFrom('done' as const, 'not_done' as const), what: part }),
  );
const condition: fc.Arbitrary<Condition> = fc.oneof(
  { weight: 3, arbitrary: filter },
  { weight: 1, arbitrary: around(filter) },
  { weight: 1, arbitrary: around(around(filter)) },
);

export const question: fc.Arbitrary<ScanQuestion> = fc
  .record({
    edges: fc.uniqueArray(fc.integer({ min: 0, max: DAYS * 96 }), { minLength: 2, maxLength: 5 }),
    filters: fc.array(condition, { maxLength: 3 }),
    group: fc.oneof(fc.constant('all' as const), fc.constant('time' as const), fc.constantFrom(...askedDimensions)),
  })
  .map(({ edges: slots, filters, group }) => {
    const edges = slots.sort((a, b) => a - b).map((slot) => FIRST_DAY * DAY_MS + slot * SLOT_MS);
    return {
      site: 1,
      range: { fromMs: edges[0]!, toMs: edges.at(-1)! },
      filters,
      group:
        group === 'all'
          ? { by: 'all' }
          : group === 'time'
            ? { by: 'time', edges }
            : { by: 'dimension', dimension: group },
    };
  });

interface Visit {
  readonly events: TestEvent[];
}

/** The visits of a visitor's day, and `undefined` for the events that nobody is known for. */
function visitsOf(all: readonly TestEvent[]): Map<TestEvent, Visit> {
  const sorted = [...all].sort((a, b) => a.timestampMs - b.timestampMs || (a.eventId < b.eventId ? -1 : 1));
  const open = new Map<string, Visit>();
  const visits = new Map<TestEvent, Visit>();
  for (const one of sorted) {
    if (one.visitor === '') continue;
    const key = `${one.visitor}/${Math.floor(one.timestampMs / DAY_MS)}`;
    let visit = open.get(key);
    if (visit === undefined || one.timestampMs - visit.events.at(-1)!.timestampMs > GAP_MS) {
      visit = { events: [] };
      open.set(key, visit);
    }
    visit.events.push(one);
    visits.set(one, visit);
  }
  return visits;
}

/** The visit of the same visitor and day that began last before an event which is in none. */
function visitBefore(visits: ReadonlyMap<TestEvent, Visit>, one: TestEvent): Visit | undefined {
  const isBefore = (other: TestEvent) =>
    other.visitor === one.visitor &&
    Math.floor(other.timestampMs / DAY_MS) === Math.floor(one.timestampMs / DAY_MS) &&
    (other.timestampMs < one.timestampMs || (other.timestampMs === one.timestampMs && other.eventId < one.eventId));
  const before = [...new Set(visits.values())].filter(({ events }) => isBefore(events[0]!));
  return before.toSorted((a, b) => a.events[0]!.timestampMs - b.events[0]!.timestampMs).at(-1);
}

export function engagedMsOf({ eventType, props }: TestEvent): number {
  const alone = eventType === 'engagement' && Object.keys(props).length === 1;
  return alone && typeof props['ms'] === 'number' ? props['ms'] : 0;
}

function visitValue({ events }: Visit, dimension: AskedDimension): string {
  const pages = events.filter(({ eventType, path }) => eventType === 'page_view' && path !== '');
  if (dimension === 'entry_page') return pages[0]?.path ?? '';
  if (dimension === 'exit_page') return pages.at(-1)?.path ?? '';
  return events[0]!.attributes[(attributes as readonly string[]).indexOf(dimension)]!;
}

function eventValues(one: TestEvent, dimension: AskedDimension): readonly string[] {
  if (dimension === 'path') return [one.path];
  if (dimension === 'event_type') return [one.eventType];
  const props = propTexts(one);
  return props.length === 0 ? [''] : props;
}

function names({ op, values }: Filter, text: string): boolean {
  if (op.startsWith('is')) return values.includes(text);
  if (op.startsWith('contains')) return values.some((value) => text.includes(value));
  const escaped = values.map((value) =>
    value
      .split(/(\*+)/)
      .map((part) =>
        part === '*' ? '[^/]*' : part.startsWith('*') ? '.*' : part.replaceAll(/[.?+^$[\]\\(){}|/]/g, '\\$&'),
      )
      .join(''),
  );
  return escaped.some((source) => new RegExp(`^${source}$`, 's').test(text));
}

const isVisitLevel = (dimension: AskedDimension): boolean => dimensions[dimension].level === 'visit';

/** The rows of an answer by key. */
export function naive(every: readonly TestEvent[], { range, filters, group }: ScanQuestion): Map<string, ScanRow> {
  const all = every.filter((one) => engagedMsOf(one) === 0);
  const visits = visitsOf(all);
  const keeps = (one: TestEvent): boolean => filters.every((filter) => holds(filter, one));
  const holds = (filter: Condition, one: TestEvent): boolean => {
    if ('what' in filter) {
      const events = visits.get(one)?.events;
      return events !== undefined && events.some((part) => holds(filter.what, part)) !== (filter.op === 'not_done');
    }
    if (!isFilter(filter))
      return filter.op === 'any'
        ? filter.of.some((part) => holds(part, one))
        : filter.of.every((part) => holds(part, one));
    const visit = visits.get(one);
    if (isVisitLevel(filter.dimension)) {
      if (visit === undefined) return false;
      return names(filter, visitValue(visit, filter.dimension)) !== filter.op.endsWith('_not');
    }
    return eventValues(one, filter.dimension).some((text) => names(filter, text)) !== filter.op.endsWith('_not');
  };
  const rows = new Map<
    string,
    { -readonly [K in keyof ScanRow]: ScanRow[K] } & { who: Set<string>; seen: Set<Visit> }
  >();
  const row = (key: string) => {
    const found = rows.get(key) ?? {
      key,
      visitors: 0,
      visits: 0,
      views: 0,
      bounces: 0,
      durationMs: 0,
      events: 0,
      engagedMs: 0,
      who: new Set(),
      seen: new Set(),
    };
    rows.set(key, found);
    return found;
  };
  const timeKey = (ms: number): string | undefined => {
    if (ms < range.fromMs || ms >= range.toMs) return undefined;
    if (group.by === 'time') return String(group.edges.findLast((edge) => edge <= ms));
    return '';
  };
  const byVisit = group.by === 'dimension' && isVisitLevel(group.dimension);
  for (const one of all) {
    if (!keeps(one)) continue;
    const visit = visits.get(one);
    const begin = visit?.events[0]?.timestampMs;
    if (byVisit && visit === undefined) continue;
    const time = timeKey(byVisit ? begin! : one.timestampMs);
    const keys =
      group.by !== 'dimension'
        ? [time ?? '-']
        : (byVisit ? [visitValue(visit!, group.dimension)] : eventValues(one, group.dimension)).filter(
            (key) => key !== '' || group.dimension === 'source',
          );
    if (time !== undefined) {
      for (const key of keys) {
        const to = row(key);
        to.events += 1;
        if (one.eventType === 'page_view') to.views += 1;
        if (one.visitor !== '') to.who.add(one.visitor);
      }
    }
    if (visit === undefined || (group.by === 'dimension' && !byVisit)) continue;
    const visitTime = timeKey(begin!);
    if (visitTime === undefined) continue;
    for (const key of byVisit ? keys : [visitTime]) {
      const to = row(key);
      if (to.seen.has(visit)) continue;
      to.seen.add(visit);
      to.visits += 1;
      to.durationMs += visit.events.at(-1)!.timestampMs - begin!;
      if (visit.events.length === 1) to.bounces += 1;
    }
  }
  for (const one of every) {
    const ms = engagedMsOf(one);
    const time = timeKey(one.timestampMs);
    if (ms === 0 || time === undefined || (group.by === 'dimension' && group.dimension !== 'path')) continue;
    const onPath = filters.filter(isFilter).filter(({ dimension }) => dimension === 'path');
    if (!onPath.every((filter) => names(filter, one.path) !== filter.op.endsWith('_not'))) continue;
    const visit = visitBefore(visits, one);
    const counts = visit === undefined ? onPath.length === filters.length : visit.events.some((event) => keeps(event));
    const key = group.by === 'dimension' ? one.path : time;
    if (counts && (group.by !== 'dimension' || key !== '')) row(key).engagedMs += ms;
  }
  return new Map(
    [...rows]
      .map(([key, { who, seen: _, ...sums }]) => [key, { ...sums, visitors: who.size }] as const)
      .filter(([, sums]) => hasSums(sums)),
  );
}

export function hasSums({ events, visits, visitors, engagedMs }: ScanRow): boolean {
  return events > 0 || visits > 0 || visitors > 0 || engagedMs > 0;
}

export const byKey = (rows: readonly ScanRow[]): Map<string, ScanRow> =>
  new Map(rows.filter(hasSums).map((row) => [row.key, row]));
