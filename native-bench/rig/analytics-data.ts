/**
 * A site with 100 M events over two years behind it, in minutes: what the processor would have counted is shaped by sums, and
 * only the newest days are made of events.
 *
 *   rollups       days and months of all dimensions, and slots: of the site itself everywhere, of its dimensions on the days
 *                 at the edges of what is asked. Sums follow the shares of analytics-traffic.ts, sketches have the size that
 *                 so many users make
 *   day_columns   the last 30 days, 10 M events, by the builder that seals days
 *   events        raw rows of the last of these days
 */
import { createHash } from 'node:crypto';
import { DayBuilder } from '../../src/analytics/columns/build.ts';
import { attributes } from '../../src/analytics/columns/format.ts';
import { writeDay } from '../../src/analytics/columns/store.ts';
import {
  ALL,
  DAY_MS,
  type Dimension,
  dimensions,
  grains,
  monthOf,
  SLOTS_PER_DAY,
} from '../../src/analytics/dimensions.ts';
import { GAP_MAX } from '../../src/analytics/rollup/gaps.ts';
import { gapKinds } from '../../src/analytics/rollup/measures.ts';
import { entryOf, withEntries } from '../../src/analytics/rollup/sketch.ts';
import { valueId } from '../../src/analytics/rollup/values.ts';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { copyIn } from '../../src/store/postgres/copy.ts';
import { EVENTS_PER_VISITOR, makeDay, randomOf, SIGNED_IN, textAt, variety, zipf } from './analytics-traffic.ts';

export const GAP_MS = 1_800_000;
const SITE = 1;
const EVENTS_PER_VISIT = 2.5;

export interface BigSite {
  readonly siteId: string;
  /** The day after the last. */
  readonly endDay: number;
  readonly days: number;
  readonly events: number;
  /** The last days as columns, and how many events they have. */
  readonly columnDays: number;
  readonly columnEvents: number;
  readonly rawDays: number;
}

export interface Filled {
  readonly columnEvents: number;
  readonly rawEvents: number;
  readonly rollupRows: number;
  /** Seconds. */
  readonly rollupsTook: number;
  readonly columnsTook: number;
  readonly rawTook: number;
}

/** Fills an empty schema. */
export async function fillBigSite(link: PostgresLink, site: BigSite): Promise<Filled> {
  await link.query('INSERT INTO sites (site_id) VALUES ($1)', [site.siteId]);
  await link.query('INSERT INTO site_names VALUES ($1, $2)', [site.siteId, SITE]);
  const seconds = async (work: () => Promise<unknown>): Promise<number> => {
    const begin = performance.now();
    await work();
    return (performance.now() - begin) / 1000;
  };
  let [rollupRows, columnEvents, rawEvents] = [0, 0, 0];
  const rollupsTook = await seconds(async () => {
    rollupRows = await fillRollups(link, site);
  });
  const columnsTook = await seconds(async () => {
    columnEvents = await fillColumns(link, site);
  });
  const rawTook = await seconds(async () => {
    rawEvents = await fillRaw(link, site);
  });
  await link.query('VACUUM ANALYZE');
  return { columnEvents, rawEvents, rollupRows, rollupsTook, columnsTook, rawTook };
}

/** Text of COPY, sent in pieces. */
class Rows {
  readonly #link: PostgresLink;
  readonly #sql: string;
  #lines: string[] = [];
  #characters = 0;
  count = 0;

  constructor(link: PostgresLink, table: string, columns: string) {
    this.#link = link;
    this.#sql = `COPY ${table} (${columns}) FROM STDIN`;
  }

  /** Fields of `line` are separated by tabs, and hold none. */
  async add(line: string): Promise<void> {
    this.#lines.push(line);
    this.#characters += line.length;
    this.count += 1;
    if (this.#characters > 4 << 20) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#lines.length === 0) return;
    const bytes = Buffer.from(`${this.#lines.join('\n')}\n`);
    this.#lines = [];
    this.#characters = 0;
    await copyIn(this.#link, this.#sql, bytes);
  }
}

/** Sketches of any number of users: some of each size, for rows to share. */
class Sketches {
  readonly #made = new Map<number, string>();
  readonly #random = randomOf(7);

  of(users: number): string {
    if (users < 1) return '\\N';
    const size = users < 16 ? Math.round(users) : Math.round(1.2 ** Math.round(Math.log(users) / Math.log(1.2)));
    const key = size * 4 + Math.floor(this.#random() * 4);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const entries = Array.from({ length: Math.min(size, 50_000) }, () => {
      const words = [this.#random(), this.#random()].map((word) =>
        Math.floor(word * 0xffff_ffff)
          .toString(16)
          .padStart(8, '0'),
      );
      return entryOf(`${words.join('')}${'0'.repeat(16)}`);
    });
    const sketch = `\\\\x${Buffer.from(withEntries(undefined, entries)).toString('hex')}`;
    this.#made.set(key, sketch);
    return sketch;
  }
}

interface Shape {
  readonly dimension: Dimension;
  readonly ids: readonly string[];
  /** Share of the events of the site. */
  readonly shares: Float64Array;
}

function shapes(): { readonly shapes: readonly Shape[]; readonly texts: readonly [number, bigint, string][] } {
  const texts = new Map<string, [number, bigint, string]>();
  const shape = (dimension: Dimension, values: readonly string[], shares: Float64Array): Shape => {
    const { dictionary } = dimensions[dimension];
    const ids = values.map((text) => {
      const id = valueId(SITE, dictionary, text);
      texts.set(`${dictionary}/${id}`, [dictionary, id, text]);
      return String(id);
    });
    return { dimension, ids, shares };
  };
  const ranked = (dimension: Dimension, like: keyof typeof variety): Shape => {
    const [count, none] = variety[like];
    const values = Array.from({ length: count }, (_, rank) => textAt(like, rank));
    return shape(
      dimension,
      values,
      zipf(count).map((share) => share * (1 - none)),
    );
  };
  const all: Shape[] = [
    { dimension: 'site', ids: [String(ALL)], shares: Float64Array.of(1) },
    ranked('path', 'path'),
    ranked('entry_page', 'path'),
    ranked('exit_page', 'path'),
    ...attributes.map((name) => ranked(name, name)),
    shape('event_type', ['page_view', 'click', 'signup'], Float64Array.of(0.9, 0.08, 0.02)),
  ];
  return { shapes: all, texts: [...texts.values()] };
}

async function fillRollups(link: PostgresLink, site: BigSite): Promise<number> {
  const { shapes: all, texts } = shapes();
  const named = new Rows(link, 'dimension_values', 'site, dictionary, value, text');
  for (const [dictionary, id, text] of texts) await named.add(`${SITE}\t${dictionary}\t${id}\t${text}`);
  await named.flush();

  const columns =
    'site, dimension, grain, t, value, events, views, visits, bounces, duration_ms, firsts, lasts, users, sketch';
  const rows = new Rows(link, 'rollups', columns);
  const random = randomOf(11);
  const sketches = new Sketches();
  const firstDay = site.endDay - site.days;
  const older = (site.events - site.columnEvents) / (site.days - site.columnDays);
  const eventsOf = (day: number): number =>
    day >= site.endDay - site.columnDays ? site.columnEvents / site.columnDays : older;
  const add = async (shape: Shape, grain: number, t: number, events: number[] | Float64Array): Promise<void> => {
    const head = `${SITE}\t${dimensions[shape.dimension].id}\t${grain}\t${t}`;
    for (let rank = 0; rank < shape.ids.length; rank++) {
      const n = events[rank]!;
      if (n === 0) continue;
      const visits = Math.ceil(n / EVENTS_PER_VISIT);
      const visitors = Math.ceil(n / EVENTS_PER_VISITOR);
      const users = grain === grains.slot ? 0 : Math.round(visitors * SIGNED_IN);
      const firsts = Math.round(visitors * (1 - SIGNED_IN));
      const sums = [n, Math.round(n * 0.9), visits, visits >> 1, visits * 90_000, firsts];
      const rest = [grain === grains.slot ? firsts : 0, grain === grains.day ? users : 0];
      await rows.add(
        `${head}\t${shape.ids[rank]}\t${sums.join('\t')}\t${rest.join('\t')}\t${sketches.of(visitors * SIGNED_IN)}`,
      );
    }
  };
  const scaled = (shape: Shape, events: number): Float64Array =>
    shape.shares.map((share) => Math.floor(share * events * (0.8 + 0.4 * random()) + random()));
  const edges = [site.endDay, site.endDay - 30, site.endDay - 90];
  for (const shape of all) {
    let month = new Float64Array(shape.ids.length);
    for (let day = firstDay; day < site.endDay; day++) {
      if (shape.dimension === 'site' || edges.some((edge) => Math.abs(edge - day) <= 1)) {
        for (let slot = 0; slot < SLOTS_PER_DAY; slot++)
          await add(shape, grains.slot, day * SLOTS_PER_DAY + slot, scaled(shape, eventsOf(day) / SLOTS_PER_DAY));
      }
      const sums = scaled(shape, eventsOf(day));
      await add(shape, grains.day, day, sums);
      for (let rank = 0; rank < sums.length; rank++) month[rank]! += sums[rank]!;
      if (monthOf(day + 1) !== monthOf(day) || day + 1 === site.endDay) {
        await add(shape, grains.month, monthOf(day), month);
        month = new Float64Array(shape.ids.length);
      }
    }
  }
  await rows.flush();

  const gaps = new Rows(link, 'user_gaps', 'site, kind, slot, gap, users');
  for (const kind of Object.values(gapKinds)) {
    for (let slot = firstDay * SLOTS_PER_DAY; slot < site.endDay * SLOTS_PER_DAY; slot++) {
      const users = (eventsOf(Math.floor(slot / SLOTS_PER_DAY)) / SLOTS_PER_DAY / EVENTS_PER_VISITOR) * SIGNED_IN;
      for (const gap of [1, 2, 3, 5, 9, 20, 50, 96, GAP_MAX])
        await gaps.add(`${SITE}\t${kind}\t${slot}\t${gap}\t${Math.ceil(gap === GAP_MAX ? users : users / 10)}`);
    }
  }
  await gaps.flush();
  return rows.count + gaps.count;
}

async function fillColumns(link: PostgresLink, site: BigSite): Promise<number> {
  let events = 0;
  for (let day = site.endDay - site.days; day < site.endDay; day++) {
    const builder = new DayBuilder(day * DAY_MS, GAP_MS);
    if (day >= site.endDay - site.columnDays) {
      makeDay(day, site.columnEvents / site.columnDays, (event) => {
        builder.add(event);
        events += 1;
      });
    }
    await link.query('BEGIN');
    await writeDay(link, { site: SITE, day }, 1, builder.finish());
    await link.query('INSERT INTO site_days (site, day, revision, sealed) VALUES ($1, $2, 1, 1)', [SITE, day]);
    await link.query('COMMIT');
  }
  return events;
}

const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
const uuid = (text: string): string => createHash('md5').update(text).digest('hex');

async function fillRaw(link: PostgresLink, site: BigSite): Promise<number> {
  await link.query(`CREATE TABLE events_bench PARTITION OF events FOR VALUES FROM ('${dateOf(site.endDay - site.rawDays)}')
    TO ('${dateOf(site.endDay)}')`);
  const columns = [
    'site_id',
    'site',
    'event_id',
    'event_type',
    'path',
    'user_id',
    'visitor',
    'timestamp',
    'received_at',
  ];
  const rows = new Rows(link, 'events', [...columns, 'props', ...attributes].map((name) => `"${name}"`).join(', '));
  for (let day = site.endDay - site.rawDays; day < site.endDay; day++) {
    const lines: string[] = [];
    let number = 0;
    makeDay(day, site.columnEvents / site.columnDays, (event) => {
      const time = new Date(event.timestampMs).toISOString();
      const user = event.signedIn ? `user-${event.user}` : '\\N';
      const props = event.props.length === 0 ? '\\N' : JSON.stringify({ plan: JSON.parse(event.props[0]!)[2] });
      const values = attributes.map((_, index) => event.attribute(index) || '\\N');
      const id = uuid(`${day}/${number++}`);
      lines.push(
        [
          site.siteId,
          SITE,
          id,
          event.eventType,
          event.path,
          user,
          hex(event.visitor),
          time,
          time,
          props,
          ...values,
        ].join('\t'),
      );
    });
    // Events of a day are stored in the order of time.
    const order = lines.map((line, i) => [line.split('\t', 8)[7]!, i] as const).sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [, i] of order) await rows.add(lines[i]!);
  }
  await rows.flush();
  return rows.count;
}

const dateOf = (day: number): string => new Date(day * DAY_MS).toISOString();
