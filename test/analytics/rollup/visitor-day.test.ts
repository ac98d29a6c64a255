/** Visitor days: whatever the order and the batches of events, the state and the sums are those of a brute force. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { dimensions, grains } from '../../../src/analytics/dimensions.ts';
import { SiteCells } from '../../../src/analytics/rollup/cells.ts';
import { countDay } from '../../../src/analytics/rollup/count.ts';
import { Ids, NONE, OTHER_NUMBER } from '../../../src/analytics/rollup/ids.ts';
import {
  addEvents,
  attributeKeys,
  type DayEvent,
  emptyDay,
  order,
  VALUES_MAX,
  VISITS_MAX,
  type VisitorDay,
} from '../../../src/analytics/rollup/visitor-day.ts';
import { decodeDay, encodeDay } from '../../../src/analytics/rollup/visitor-day-bytes.ts';

const MINUTE = 60_000;
const TIMEOUT = 30 * MINUTE;
const SLOT = 15 * MINUTE;
type Event = DayEvent<number>;

const ids = new Ids();
/** Values below 4 have a place; the others count under OTHER. Ids are large, and negative as well. */
const map = (_dimension: number, value: number): number =>
  value < 4 ? ids.of(-100 * value - 1, -value) : OTHER_NUMBER;

interface Made {
  readonly minute: number;
  readonly more: number;
  readonly view: boolean;
  readonly page: number;
  readonly browser: number;
  readonly type: number;
}

const made: fc.Arbitrary<Made> = fc.record({
  minute: fc.integer({ min: 0, max: 1439 }),
  more: fc.constantFrom(0, 0, 0, 1, 59_999),
  view: fc.boolean(),
  page: fc.integer({ min: 0, max: 6 }),
  browser: fc.integer({ min: 0, max: 6 }),
  type: fc.integer({ min: 0, max: 6 }),
});

function eventOf({ minute, more, view, page, browser, type }: Made, index: number): Event {
  const ms = minute * MINUTE + more;
  return {
    ms,
    // Ids whose order is not that of the events.
    id: ((index * 7919) % 10_007).toString(16).padStart(32, '0'),
    slot: Math.floor(ms / SLOT),
    view,
    page: view && page > 0 ? page : undefined,
    attributes: attributeKeys.map((key) => (key === 'browser' && browser > 0 ? browser : undefined)),
    dimensions: [dimensions.event_type.id],
    values: [map(0, type)],
  };
}

const cases = fc
  .array(made, { minLength: 1, maxLength: 40 })
  .map((list) => list.map(eventOf))
  .chain((events) =>
    fc.record({
      events: fc.shuffledSubarray(events, { minLength: events.length }),
      cuts: fc.array(fc.integer({ min: 0, max: events.length }), { maxLength: 8 }),
      signedIn: fc.boolean(),
    }),
  );

function normal(state: VisitorDay): VisitorDay {
  return { ...state, values: state.values.toSorted((a, b) => a.dimension - b.dimension || a.value - b.value) };
}

function sumsOf(cells: SiteCells): string[] {
  const rows: string[] = [];
  for (const { dimension, grain, t, cells: group } of cells.groups()) {
    for (const cell of group.values()) {
      if (!cell.changed) continue;
      const { value, events, views, visits, bounces, duration_ms, firsts, lasts, users } = cell;
      rows.push(
        [dimension, grain, t, value, events, views, visits, bounces, duration_ms, firsts, lasts, users].join(' '),
      );
    }
  }
  return rows.sort();
}

describe('visitor day', () => {
  test('any order and any batches give the same state and the same sums', () => {
    fc.assert(
      fc.property(cases, ({ events, cuts, signedIn }) => {
        const options = { sessionTimeoutMs: TIMEOUT, signedIn };
        const of = { day: 20_000, entry: signedIn ? 64 : undefined };
        const whole = new SiteCells(1);
        const expected = addEvents(
          emptyDay,
          events.toSorted((a, b) => order(a.ms, a.id, b.ms, b.id)),
          options,
          map,
        );
        countDay(whole, of, emptyDay, expected);

        const parts = new SiteCells(1);
        let state = emptyDay;
        const bounds = [...cuts, 0, events.length].sort((a, b) => a - b);
        for (let index = 1; index < bounds.length; index += 1) {
          const after = addEvents(state, events.slice(bounds[index - 1], bounds[index]), options, map);
          countDay(parts, of, state, after);
          state = decodeDay(encodeDay(after, signedIn, ids), ids);
          assert.deepEqual(state, after);
        }
        assert.deepEqual(normal(state), normal(expected));
        assert.deepEqual(sumsOf(parts), sumsOf(whole));
        assert.deepEqual(visitsOf(state), bruteForce(events));
      }),
      { numRuns: 400 },
    );
  });

  test('sums of the day are those of its slots', () => {
    fc.assert(
      fc.property(cases, ({ events }) => {
        const cells = new SiteCells(1);
        const options = { sessionTimeoutMs: TIMEOUT, signedIn: false };
        const state = addEvents(emptyDay, events, options, map);
        countDay(cells, { day: 20_000, entry: undefined }, emptyDay, state);
        cells.fold();
        const site = [...cells.groups()].filter(({ dimension }) => dimension === dimensions.site.id);
        for (const grain of [grains.day, grains.month]) {
          const [cell] = site.find((group) => group.grain === grain)!.cells.values();
          assert.equal(cell!.visits, state.visits.length);
          assert.equal(cell!.firsts, 1);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('a day has bounds: visits join the last one, and further values are not remembered', () => {
    const events = Array.from(
      { length: 1400 },
      (_, index): Event => ({
        ...eventOf({ minute: index, more: 0, view: true, page: 1, browser: 1, type: 0 }, index),
        values: [ids.of(1, index)],
      }),
    );
    const state = addEvents(emptyDay, events, { sessionTimeoutMs: 1000, signedIn: true }, map);
    assert.equal(state.visits.length, VISITS_MAX);
    assert.equal(
      state.visits.reduce((sum, visit) => sum + visit.events, 0),
      events.length,
    );
    assert.equal(state.values.length, VALUES_MAX);
    assert.deepEqual(decodeDay(encodeDay(state, true, ids), ids), state);
  });

  test('values are asked for a place only when they count', () => {
    const asked: string[] = [];
    const ask = (dimension: number, value: number) => {
      asked.push(`${dimension}:${value}`);
      return ids.of(0, 100 + value);
    };
    const at = (minute: number, page: number): Event =>
      eventOf({ minute, more: 0, view: true, page, browser: page, type: 0 }, minute);
    const state = addEvents(
      emptyDay,
      [at(30, 3), at(10, 1), at(20, 2)],
      { sessionTimeoutMs: TIMEOUT, signedIn: false },
      ask,
    );
    const { browser, entry_page, exit_page } = dimensions;
    assert.deepEqual(asked.sort(), [`${browser.id}:1`, `${entry_page.id}:1`, `${exit_page.id}:3`].sort());
    assert.equal(state.visits.length, 1);
  });
});

const visitsOf = ({ visits }: VisitorDay) =>
  visits.map(({ firstMs, lastMs, events, views, attributes, entry, exit }) =>
    [firstMs, lastMs, events, views, attributes[attributeKeys.indexOf('browser')], entry?.value, exit?.value].join(' '),
  );

function bruteForce(events: readonly Event[]): string[] {
  const sorted = events.toSorted((a, b) => order(a.ms, a.id, b.ms, b.id));
  const visits: Event[][] = [];
  for (const [index, event] of sorted.entries()) {
    if (index > 0 && event.ms - sorted[index - 1]!.ms <= TIMEOUT) visits.at(-1)!.push(event);
    else visits.push([event]);
  }
  return visits.map((visit) => {
    const pages = visit.filter(({ page }) => page !== undefined).map(({ page }) => map(0, page!));
    const browser = visit[0]!.attributes[attributeKeys.indexOf('browser')];
    const attribute = browser === undefined ? NONE : map(0, browser);
    const views = visit.filter(({ view }) => view).length;
    return [visit[0]!.ms, visit.at(-1)!.ms, visit.length, views, attribute, pages[0], pages.at(-1)].join(' ');
  });
}
