/**
 * Goal: a day of a time zone begins where its clocks say so, and ranges fall apart into the right slots and UTC days.
 * Method: against Postgres, which has rules of time zones from elsewhere (tzdata beside ICU), for random days and for
 * days on which clocks are set; and days that are known for something.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DAY_MS, SLOT_MS } from '../../../src/analytics/dimensions.ts';
import { piecesOf } from '../../../src/analytics/query/pieces.ts';
import {
  beginOfDay,
  dateText,
  dayIn,
  isTimeZone,
  parseDate,
  partsOf,
  rangeOf,
} from '../../../src/analytics/query/range.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { random } from '../traffic.ts';

const begin = (date: string, zone: string) => new Date(beginOfDay(parseDate(date)!, zone)).toISOString();
const hoursOf = (date: string, zone: string) => {
  const { fromMs, toMs } = rangeOf(parseDate(date)!, parseDate(date)!, zone);
  return (toMs - fromMs) / 3_600_000;
};

test('days begin where Postgres says so, in every zone', async (t) => {
  const { dsn } = await startPostgres(t, { port: 23_117, settings: fastSettings });
  const link = await openLink(dsn);
  const known = await link.query<{ name: string }>('SELECT name FROM pg_timezone_names');
  const names = new Set(known.rows.map(({ name }) => name));
  const zones = Intl.supportedValuesOf('timeZone').filter((zone) => names.has(zone));
  expect(zones.length).toBeGreaterThan(300);
  const next = random(7);
  const [from, to] = [parseDate('1973-01-01')!, parseDate('2023-12-31')!];
  const asked: [zone: string, day: number][] = [];
  for (const zone of zones) {
    asked.push([zone, from + Math.floor(next() * (to - from))]);
    // The next day whose length is not 24 hours, from a random one on; zones that never set their clocks have none.
    let day = from + Math.floor(next() * (to - from - 400));
    const even = (days: number) => beginOfDay(day + days, zone) - beginOfDay(day, zone) === days * DAY_MS;
    const end = day + 364;
    while (day < end && even(14)) day += 14;
    if (day === end) continue;
    while (even(1)) day += 1;
    asked.push([zone, day], [zone, day + 1]);
  }
  expect(asked.length).toBeGreaterThan(500);
  // The first quarter of an hour after all those that show an earlier date.
  const { rows } = await link.query<{ begin: number }>(
    `SELECT (SELECT extract(epoch FROM max(t) + interval '15 minutes') * 1000 FROM generate_series(
        day::timestamp AT TIME ZONE 'UTC' - interval '30 hours', day::timestamp AT TIME ZONE 'UTC' + interval '30 hours',
        interval '15 minutes') AS t WHERE (t AT TIME ZONE zone)::date < day)::float8 AS begin
      FROM unnest($1::text[], $2::date[]) WITH ORDINALITY AS n (zone, day, at) ORDER BY at`,
    [asked.map(([zone]) => zone), asked.map(([, day]) => dateText(day))],
  );
  await link.close();
  const name = ([zone, day]: [string, number], ms: number) => `${zone} ${dateText(day)} ${new Date(ms).toISOString()}`;
  expect(asked.map((one) => name(one, beginOfDay(one[1], one[0])))).toEqual(
    asked.map((one, i) => name(one, rows[i]!.begin)),
  );
});

describe('days that are known for something', () => {
  test.each([
    ['2024-03-31', 'Europe/Berlin', '2024-03-30T23:00:00.000Z', 23],
    ['2024-10-27', 'Europe/Berlin', '2024-10-26T22:00:00.000Z', 25],
    ['2024-04-07', 'Australia/Lord_Howe', '2024-04-06T13:00:00.000Z', 24.5],
    ['2024-10-06', 'Australia/Lord_Howe', '2024-10-05T13:30:00.000Z', 23.5],
    ['2025-11-15', 'Asia/Kathmandu', '2025-11-14T18:15:00.000Z', 24],
    // Samoa went over the date line.
    ['2011-12-29', 'Pacific/Apia', '2011-12-29T10:00:00.000Z', 24],
    ['2011-12-30', 'Pacific/Apia', '2011-12-30T10:00:00.000Z', 0],
    ['2011-12-31', 'Pacific/Apia', '2011-12-30T10:00:00.000Z', 24],
    // Midnight was left out.
    ['2018-11-04', 'America/Sao_Paulo', '2018-11-04T03:00:00.000Z', 23],
    // Midnight came twice.
    ['2024-11-03', 'America/Havana', '2024-11-03T04:00:00.000Z', 25],
    // A minute after midnight the clocks went back to the day before.
    ['2010-11-07', 'America/St_Johns', '2010-11-07T03:30:00.000Z', 24],
    // By the sun, to the quarter of an hour; and far ahead by the rules of today.
    ['0001-01-01', 'Europe/Berlin', '0000-12-31T23:00:00.000Z', 24],
    ['9999-12-31', 'Asia/Kathmandu', '9999-12-30T18:15:00.000Z', 24],
    ['2400-07-01', 'Europe/Berlin', '2400-06-30T22:00:00.000Z', 24],
  ])('%s in %s', (date, zone, from, hours) => {
    expect(begin(date, zone)).toBe(from);
    expect(hoursOf(date, zone)).toBe(hours);
  });
});

test('a date is one of the calendar', () => {
  for (const text of ['2024-02-29', '0001-01-01', '9999-12-31', '1969-12-31'])
    expect(dateText(parseDate(text)!)).toBe(text);
  for (const text of [
    '2023-02-29',
    '2024-13-01',
    '2024-00-10',
    '2024-1-1',
    '0000-12-31',
    '+02024-01-01',
    '2024-01-01 ',
    '',
  ])
    expect(parseDate(text), text).toBeUndefined();
});

test('a time zone is a name that ICU knows, and no offset', () => {
  for (const name of ['UTC', 'Asia/Kathmandu', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'europe/berlin'])
    expect(isTimeZone(name), name).toBe(true);
  for (const name of [
    '',
    'Mars/Olympus',
    '+05:45',
    '-03',
    '05:45',
    'UTC\0',
    'x'.repeat(65),
    'Europe/Berlin ',
    '__proto__',
  ])
    expect(isTimeZone(name), name).toBe(false);
});

test('many zones and days leave nothing behind', () => {
  const zones = Intl.supportedValuesOf('timeZone');
  const first = zones.map((zone) => beginOfDay(20_000, zone));
  for (let day = 0; day < 20; day += 1) for (const zone of zones.slice(0, 10)) beginOfDay(day, zone);
  expect(zones.map((zone) => beginOfDay(20_000, zone))).toEqual(first);
});

test('an instant lies in the day that it is asked as', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('UTC', 'Asia/Kathmandu', 'America/Havana', 'America/St_Johns', 'Pacific/Apia', 'Europe/Berlin'),
      fc.integer({ min: Date.UTC(1980, 0, 1), max: Date.UTC(2030, 0, 1) }),
      (zone, ms) => {
        const day = dayIn(ms, zone);
        expect(beginOfDay(day, zone)).toBeLessThanOrEqual(ms);
        expect(beginOfDay(day + 1, zone)).toBeGreaterThan(ms);
      },
    ),
  );
});

test('the pieces of a range are its slots, each once: what is taken off lies in a whole day', () => {
  const slot = fc.integer({ min: -100_000, max: 100_000 });
  fc.assert(
    fc.property(slot, fc.integer({ min: 0, max: 20_000 }), (first, count) => {
      const parts = partsOf({ fromMs: first * SLOT_MS, toMs: (first + count) * SLOT_MS });
      const times = new Map<number, number>();
      for (const { grain, from, to, inside, sign } of piecesOf(parts)) {
        if (!inside) continue;
        for (let at = slotAt(grain, from); at < slotAt(grain, to); at += 1) times.set(at, (times.get(at) ?? 0) + sign);
      }
      const once = [...times].filter(([, n]) => n !== 0);
      expect(once.every(([, n]) => n === 1)).toBe(true);
      const slots = once.map(([at]) => at);
      expect(slots.length).toBe(count);
      if (count > 0) expect([Math.min(...slots), Math.max(...slots)]).toEqual([first, first + count - 1]);
    }),
  );
});

/** The slot at which something of a grain begins. */
function slotAt(grain: number, t: number): number {
  if (grain === 0) return t;
  const ms = grain === 1 ? t * DAY_MS : new Date(0).setUTCFullYear(Math.floor(t / 12), t % 12, 1);
  return ms / SLOT_MS;
}
