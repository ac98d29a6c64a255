import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DayBuilder } from '../../../src/analytics/columns/build.ts';
import { Pattern } from '../../../src/analytics/columns/filter.ts';
import {
  attributes,
  type ColumnName,
  type Day,
  packDay,
  packNumbers,
  readHead,
  unpackNumbers,
} from '../../../src/analytics/columns/format.ts';
import { columnsOf, DayScan } from '../../../src/analytics/columns/scan.ts';
import { UserSet } from '../../../src/analytics/columns/user-set.ts';
import { DAY_MS, dimensions, grains } from '../../../src/analytics/dimensions.ts';
import type { CountedEvent } from '../../../src/analytics/event.ts';
import { askedDimensions, type ScanRow } from '../../../src/analytics/query/types.ts';
import { settle } from '../../../src/kernel/threads/settle.ts';
import { recount } from '../recount.ts';
import {
  byKey,
  DAYS,
  engagedMsOf,
  events,
  FIRST_DAY,
  GAP_MS,
  naive,
  propOf,
  question,
  type TestEvent,
} from './events.ts';

function build(all: readonly TestEvent[], day: number): Day {
  const builder = new DayBuilder(day * DAY_MS, GAP_MS);
  const rank = ({ userId, visitor }: TestEvent): string => `${userId === '' ? 1 : 0}${visitor === '' ? 'z' : visitor}`;
  const sorted = all
    .filter(({ timestampMs }) => Math.floor(timestampMs / DAY_MS) === day)
    .sort((a, b) => {
      if (rank(a) !== rank(b)) return rank(a) < rank(b) ? -1 : 1;
      return a.timestampMs - b.timestampMs || (a.eventId < b.eventId ? -1 : 1);
    });
  for (const event of sorted) {
    builder.add({
      ...event,
      visitor: Buffer.from(event.visitor, 'hex').toString('latin1'),
      signedIn: event.userId !== '',
      engagedMs: engagedMsOf(event),
      props: Object.entries(event.props).map(([key, value]) => propOf(event, key, value)),
      attribute: (index) => event.attributes[index]!,
    });
  }
  return builder.finish();
}

/** The event as the processor counts it. */
function countedOf(one: TestEvent): CountedEvent {
  const texts = Object.fromEntries(attributes.map((name, i) => [name, one.attributes[i] || undefined]));
  const { eventId, eventType, timestampMs, props } = one;
  return {
    event: {
      ...texts,
      eventId,
      eventType,
      timestampMs,
      props,
      siteId: 'one',
      receivedMs: timestampMs,
      path: one.path || undefined,
      userId: one.userId || undefined,
    },
    site: 1,
    visitor: one.visitor || undefined,
    signedIn: one.userId !== '',
    source: one.attributes[attributes.indexOf('source')]!,
  };
}

/** The day as a reader has it: only the columns that were asked for. */
function stored(day: Day, names: ReadonlySet<ColumnName>): Day {
  const rows = packDay(day);
  const packed = new Map([...day.packed].filter(([name]) => names.has(name) && rows.has(name)));
  return readHead(new Uint8Array(rows.get('head')!), packed);
}

describe('scan', () => {
  test('a scan of the columns answers what a look at every event answers', () => {
    fc.assert(
      fc.property(events, question, (all, asked) => {
        const scan = new DayScan(asked);
        const names = columnsOf(asked);
        for (let day = FIRST_DAY; day < FIRST_DAY + DAYS; day++) scan.add(day, stored(build(all, day), names));
        expect(byKey(scan.tally.rows())).toEqual(naive(all, asked));
      }),
      { numRuns: 1000 },
    );
  });

  test('without filters, a day has the sums that its rollups must have', () => {
    const sumsOf = (
      row: Pick<ScanRow, 'events' | 'views' | 'visits' | 'bounces' | 'durationMs' | 'visitors' | 'engagedMs'>,
    ) => [row.events, row.views, row.visits, row.bounces, row.durationMs, row.visitors, row.engagedMs];
    fc.assert(
      fc.property(events, fc.constantFrom('site' as const, ...askedDimensions), (all, dimension) => {
        const { rollups } = recount(all.map(countedOf), { sessionTimeoutMs: GAP_MS });
        for (let day = FIRST_DAY; day < FIRST_DAY + DAYS; day++) {
          const scan = new DayScan({
            site: 1,
            range: { fromMs: day * DAY_MS, toMs: (day + 1) * DAY_MS },
            filters: [],
            group: dimension === 'site' ? { by: 'all' } : { by: 'dimension', dimension },
          });
          scan.add(day, build(all, day));
          const expected = [...rollups.values()]
            .filter((row) => row.dimension === dimensions[dimension].id && row.grain === grains.day && row.t === day)
            .map((row) => [
              row.text,
              sumsOf({
                ...row,
                durationMs: row.duration_ms,
                visitors: row.firsts + row.users,
                engagedMs: row.engaged_ms,
              }),
            ]);
          const rows = [...byKey(scan.tally.rows()).values()];
          expect(new Map(rows.map((row) => [row.key, sumsOf(row)]))).toEqual(new Map(expected as [string, number[]][]));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a day that is built takes some 10 bytes for an event and 60 for a visit at most', () => {
    const builder = new DayBuilder(FIRST_DAY * DAY_MS, GAP_MS);
    const [visits, events] = [20_000, 3];
    settle(); // What other tests have left is no longer counted.
    const before = process.memoryUsage().arrayBuffers;
    const held = (): number => process.memoryUsage().arrayBuffers - before;
    for (let visit = 0; visit < visits; visit++)
      for (let event = 0; event < events; event++)
        builder.add({
          visitor: String.fromCharCode(visit & 255, visit >> 8).padStart(16, 'v'),
          signedIn: false,
          timestampMs: FIRST_DAY * DAY_MS + 1000 * visit + event,
          eventType: 'page_view',
          path: `/path/${(visit + event) % 2000}`,
          props: [],
          engagedMs: 0,
          attribute: (index) => `${index}/${visit % 200}`,
        });
    expect(builder.bytes).toBeLessThan(10 * visits * events + 60 * visits);
    expect(builder.bytes).toBeGreaterThan(5 * visits * events);
    // Without a collection: what it has outgrown and packed is given back at once.
    expect(held()).toBeLessThan(1.1 * builder.bytes);
    const { counts, packed } = builder.finish();
    expect(held()).toBeLessThan(1.1 * [...packed.values()].reduce((sum, { length }) => sum + length, 0));
    expect(counts).toEqual({ events: visits * events, visits, visitors: visits, users: 0 });
    expect([packed.get('path')!.length, builder.bytes]).toEqual([8 + 2 * visits * events, 0]);
  });

  test('numbers keep their values in 1, 2 and 4 bytes, whenever the largest of them comes', () => {
    // Paths are codes by their first use, so they pass 255 and 65,535; durations go from nothing to a day.
    const builder = new DayBuilder(FIRST_DAY * DAY_MS, DAY_MS);
    const paths = 70_000;
    for (let path = 0; path < paths; path++)
      builder.add({
        visitor: '0123456789abcdef',
        signedIn: true,
        timestampMs: FIRST_DAY * DAY_MS + 1000 * path,
        eventType: 'page_view',
        path: `/${path}`,
        props: [],
        engagedMs: 0,
        attribute: () => '',
      });
    const day = builder.finish();
    expect([...day.numbers('path')]).toEqual(Array.from({ length: paths }, (_, path) => path + 1));
    expect([...day.numbers('duration'), ...day.numbers('visit_events'), ...day.numbers('exit_page')]).toEqual([
      1000 * (paths - 1),
      paths,
      paths,
    ]);
    expect([...day.numbers('user')]).toEqual([0x3031_3233, 0x3435_3637]);
  });

  test('numbers keep their values in 1, 2 and 4 bytes', () => {
    for (const max of [255, 256, 65_535, 65_536, 4_294_967_295]) {
      const packed = packNumbers(Uint32Array.of(0, 7, max), 3);
      expect([...unpackNumbers(packed)]).toEqual([0, 7, max]);
    }
    expect(packNumbers(Uint32Array.of(255), 1)).toHaveLength(9);
    expect(packNumbers(Uint32Array.of(256), 1)).toHaveLength(10);
  });
});

describe('pattern', () => {
  test.each([
    ['/blog/*', '/blog/one', true],
    ['/blog/*', '/blog/one/two', false],
    ['/blog**', '/blog/one/two', true],
    ['/*/two', '/one/two', true],
    ['**two', '/one/two', true],
    ['/a.c', '/abc', false],
    ['', '', true],
    ['*', '', true],
    ['', 'a', false],
  ])('%s on %s: %s', (pattern, text, fits) => {
    expect(new Pattern(pattern).fits(text)).toBe(fits);
  });

  test('a pattern made to explode a backtracking matcher takes milliseconds', () => {
    const begin = performance.now();
    expect(new Pattern(`${'**a'.repeat(60)}b`).fits('a'.repeat(2000))).toBe(false);
    expect(performance.now() - begin).toBeLessThan(2000);
  });
});

describe('users', () => {
  const fill = (set: UserSet, users: number): void => {
    for (let round = 0; round < 2; round++)
      for (let user = 0; user < users; user++) set.add(user % 3, Math.imul(user, 0x9e37_79b1) >>> 0, user);
  };

  test('users are counted exactly up to the bound', () => {
    const set = new UserSet(30_000);
    fill(set, 30_000);
    expect(set.weight).toBe(1);
    expect([...set.counts(3)]).toEqual([10_000, 10_000, 10_000]);
  });

  test('beyond it the counts are within five standard errors, and the memory stays', () => {
    const set = new UserSet(30_000);
    fill(set, 300_000);
    expect(set.weight).toBe(16);
    for (const count of set.counts(3)) {
      const error = Math.sqrt((set.weight - 1) / 100_000);
      expect(Math.abs(count / 100_000 - 1)).toBeLessThan(5 * error);
    }
  });
});
