/** The columns in a real Postgres: what a sealed day answers is what its raw events answer, at any moment. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { eraseSite } from '../../../src/analytics/access/erase.ts';
import { attributes } from '../../../src/analytics/columns/format.ts';
import { Rest, sealDays } from '../../../src/analytics/columns/seal.ts';
import { Columns, type ScanTimes } from '../../../src/analytics/columns/store.ts';
import { DAY_MS } from '../../../src/analytics/dimensions.ts';
import type { ScanQuestion, ScanRow } from '../../../src/analytics/query/types.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { schema } from '../schema.ts';
import { byKey, DAYS, events, FIRST_DAY, GAP_MS, naive, question, type TestEvent } from './events.ts';

const PORT = 22_930;
const undo: (() => unknown)[] = [];
let dsn: string;
let link: PostgresLink;
let columns: Columns;

beforeAll(async () => {
  const file = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
  ({ dsn } = await startPostgres(file, { port: PORT, settings: fastSettings }));
  link = await openLink(dsn);
  undo.push(() => link.close());
  await link.query(schema);
});

afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

beforeEach(async () => {
  await link.query('TRUNCATE sites, site_names, events, site_days, day_columns, kept_from RESTART IDENTITY CASCADE');
  await link.query("INSERT INTO sites (site_id) VALUES ('one'), ('two')");
  await link.query("INSERT INTO site_names VALUES ('one', 1), ('two', 2)");
  columns = new Columns({ gapMs: GAP_MS, cacheBytes: 0 });
});

/** Stores events as the load does, in one transaction: rows, and the revision of their days under the site's lock. */
async function store(all: readonly TestEvent[], { name = 'one', site = 1, bot = '' } = {}): Promise<void> {
  await link.query('BEGIN');
  await link.query('SELECT FROM sites WHERE site = $1 FOR NO KEY UPDATE', [site]);
  for (const one of all) {
    const values = {
      site_id: name,
      site,
      event_id: one.eventId,
      event_type: one.eventType,
      path: one.path || null,
      user_id: one.userId || null,
      visitor: one.visitor || null,
      timestamp: new Date(one.timestampMs),
      received_at: new Date(one.timestampMs),
      props: Object.keys(one.props).length === 0 ? null : JSON.stringify(one.props),
      bot: bot || null,
      ...Object.fromEntries(attributes.map((attribute, i) => [attribute, one.attributes[i] || null])),
    };
    const keys = Object.keys(values);
    const sql = `INSERT INTO events (${keys.map((key) => `"${key}"`)}) VALUES (${keys.map((_, i) => `$${i + 1}`)})`;
    await link.query(sql, Object.values(values));
    await link.query(
      `INSERT INTO site_days AS d (site, day, revision) VALUES ($1, $2, 1)
       ON CONFLICT (site, day) DO UPDATE SET revision = d.revision + 1`,
      [site, Math.floor(one.timestampMs / DAY_MS)],
    );
  }
  await link.query('COMMIT');
}

/** A session for a seal: it calls `between` behind its look at the revision of a day, before that at the events. */
const interrupted = (session: PostgresLink, between: (day: number) => Promise<void>): PostgresLink =>
  new Proxy(session, {
    get: (_, name: keyof PostgresLink) => {
      if (name !== 'query') return typeof session[name] === 'function' ? session[name].bind(session) : session[name];
      return async (sql: string, values?: readonly unknown[]) => {
        const result = await session.query(sql, values);
        if (sql.startsWith('SELECT d.revision')) await between(values?.[1] as number);
        return result;
      };
    },
  });

const seal = (options: { retentionDays?: number; daysMax?: number; rest?: Rest } = {}): Promise<number> =>
  sealDays(link, { today: FIRST_DAY + DAYS, gapMs: GAP_MS, daysMax: 100, ...options });

async function ask(asked: ScanQuestion, from = columns): Promise<{ rows: Map<string, ScanRow>; times: ScanTimes }> {
  const { rows, userWeight, cut } = await from.answer(link, asked);
  expect({ userWeight, cut }).toEqual({ userWeight: 1, cut: false });
  return { rows: byKey(rows), times: from.times };
}

const visits: ScanQuestion = {
  site: 1,
  range: { fromMs: FIRST_DAY * DAY_MS, toMs: (FIRST_DAY + DAYS) * DAY_MS },
  filters: [],
  group: { by: 'all' },
};
const sample = (seed: number): TestEvent[] =>
  fc.sample(events, { seed, numRuns: 40 }).sort((a, b) => b.length - a.length)[0]!;
const questions = fc.sample(question, { seed: 15, numRuns: 150 });

test('raw days, sealed days and cached days answer what every event answers; bots and other sites do not count', async () => {
  const all = sample(1);
  await store(all);
  await store(sample(2), { name: 'two', site: 2 });
  await store(sample(3), { bot: 'crawler' });
  const warm = new Columns({ gapMs: GAP_MS, cacheBytes: 1 << 20 });
  for (const asked of questions) {
    const expected = naive(all, asked);
    expect((await ask(asked)).rows).toEqual(expected);
    expect((await ask(asked, warm)).rows).toEqual(expected);
  }
  expect(await seal()).toBe(2 * DAYS);
  expect(await seal()).toBe(0);
  const cold = new Columns({ gapMs: GAP_MS, cacheBytes: 1 << 20 });
  for (const asked of questions) {
    const { rows, times } = await ask(asked);
    expect(rows).toEqual(naive(all, asked));
    expect(times.daysRaw + times.daysCached).toBe(0);
    expect((await ask(asked, cold)).rows).toEqual(rows);
    const again = await ask(asked, cold);
    expect(again.rows).toEqual(rows);
    expect(again.times.daysSealed).toBe(0);
  }
});

test('a sealed day that gets an event is read from its raw events until it is sealed again', async () => {
  const all = sample(4);
  const late = all.filter(({ timestampMs }) => timestampMs < (FIRST_DAY + 1) * DAY_MS).slice(0, 2);
  const before = all.filter((one) => !late.includes(one));
  const warm = new Columns({ gapMs: GAP_MS, cacheBytes: 1 << 20 });
  await store(before);
  await seal();
  expect((await ask(visits, warm)).rows).toEqual(naive(before, visits));
  await store(late);
  for (const one of [columns, warm]) {
    const { rows, times } = await ask(visits, one);
    expect(rows).toEqual(naive(all, visits));
    expect(times.daysRaw).toBe(1);
  }
  expect(await seal()).toBe(1);
  const { rows, times } = await ask(visits);
  expect(rows).toEqual(naive(all, visits));
  expect(times.daysRaw).toBe(0);
});

test('an event that comes while a day is being sealed is not in its columns, and makes it due again', async () => {
  const all = sample(5);
  const days = Map.groupBy(all, ({ timestampMs }) => Math.floor(timestampMs / DAY_MS));
  const [[day, most]] = [...days].sort(([, a], [, b]) => b.length - a.length) as [[number, TestEvent[]]];
  const late = most.slice(0, 3);
  const before = all.filter((one) => !late.includes(one));
  await store(before);
  const other = await openLink(dsn);
  try {
    const session = interrupted(other, async (at) => {
      if (at === day) await store(late);
    });
    await sealDays(session, { today: FIRST_DAY + DAYS, gapMs: GAP_MS, daysMax: 100 });
  } finally {
    await other.close();
  }
  expect((await ask(visits)).times.daysRaw).toBe(1);
  expect((await ask(visits)).rows).toEqual(naive(all, visits));
  const raise = (by: number) =>
    link.query('UPDATE site_days SET revision = revision + $1 WHERE site = 1 AND day = $2', [by, day]);
  await raise(-late.length);
  expect((await ask(visits)).times.daysRaw).toBe(0);
  expect((await ask(visits)).rows).toEqual(naive(before, visits));
  await raise(late.length);
  expect(await seal()).toBe(1);
  expect((await ask(visits)).times.daysRaw).toBe(0);
  expect((await ask(visits)).rows).toEqual(naive(all, visits));
});

test('a site that is erased while its days are being sealed leaves no columns', async () => {
  await store(sample(9));
  const [other, watcher] = [await openLink(dsn), await openLink(dsn)];
  let erasing: Promise<unknown> | undefined;
  let erased = false;
  try {
    const session = interrupted(other, async () => {
      erasing ??= eraseSite(link, 1, { progress: () => {}, ended: () => false }).then(() => {
        erased = true;
      });
      const waits = async () => (await watcher.query('SELECT FROM pg_locks WHERE NOT granted')).rowCount === 1;
      await expect.poll(async () => erased || (await waits()), { timeout: 10_000 }).toBe(true);
    });
    await sealDays(session, { today: FIRST_DAY + DAYS, gapMs: GAP_MS, daysMax: 100 });
    await erasing;
  } finally {
    await other.close();
    await watcher.close();
  }
  expect(erased).toBe(true);
  expect((await link.query('SELECT FROM day_columns')).rowCount).toBe(0);
});

test('a renamed site keeps its days: rows hold the name that they came with', async () => {
  const all = sample(6);
  await store(all.slice(0, 20));
  await link.query("UPDATE sites SET site_id = 'uno' WHERE site = 1");
  await link.query("INSERT INTO site_names VALUES ('uno', 1)");
  await store(all.slice(20), { name: 'uno' });
  expect((await ask(visits)).rows).toEqual(naive(all, visits));
  await seal();
  expect((await ask(visits)).rows).toEqual(naive(all, visits));
});

test('a large day keeps its columns in rows of their own, and a question reads only what it needs', async () => {
  await link.query(
    `INSERT INTO events (site_id, site, event_id, event_type, path, visitor, "timestamp", received_at, country)
     SELECT 'one', 1, gen_random_uuid(), 'page_view', '/' || i % 100, md5((i / 3)::text)::uuid, t, t, 'C' || i / 3 % 7
     FROM (SELECT i, to_timestamp($1::double precision) + (i % 86000) * interval '1 s' AS t FROM generate_series(0, 29999) i) e`,
    [(FIRST_DAY * DAY_MS) / 1000],
  );
  await link.query('INSERT INTO site_days (site, day, revision) VALUES (1, $1, 1)', [FIRST_DAY]);
  const asked: ScanQuestion = {
    ...visits,
    filters: [{ dimension: 'country', op: 'is', values: ['C3'] }],
    group: { by: 'dimension', dimension: 'path' },
  };
  const raw = await ask(asked);
  expect(raw.rows.size).toBe(100);
  await seal();
  const { rows, times } = await ask(asked);
  expect(rows).toEqual(raw.rows);
  const { rows: sizes } = await link.query<{ n: number; bytes: number }>(
    'SELECT count(*)::integer AS n, sum(length(bytes))::integer AS bytes FROM day_columns',
  );
  expect(sizes[0]!.n).toBeGreaterThan(30);
  expect(times.bytesRead).toBeLessThan(sizes[0]!.bytes / 2);
});

test('a run is bounded, begins with the oldest day, and leaves days alone whose raw events may be gone', async () => {
  await store(sample(7));
  const sealed = async () =>
    (await link.query<{ day: number }>("SELECT day FROM day_columns WHERE name = 'head' ORDER BY day")).rows.map(
      ({ day }) => day - FIRST_DAY,
    );
  expect(await seal({ daysMax: 1, retentionDays: 2 })).toBe(1);
  expect(await sealed()).toEqual([2]);
  await link.query('UPDATE sites SET retention_days = 3');
  expect(await seal({ daysMax: 1 })).toBe(1);
  expect(await sealed()).toEqual([1, 2]);
  await link.query('UPDATE sites SET retention_days = NULL');
  expect(await seal()).toBe(1);
});

test('days that a retention has deleted are left alone when it is longer now', async () => {
  await store(sample(7));
  await store(sample(7), { name: 'two', site: 2 });
  await link.query('INSERT INTO kept_from VALUES (0, $1), (1, $2)', [FIRST_DAY + 1, FIRST_DAY + 2]);
  expect(await seal()).toBe(3);
  const { rows } = await link.query("SELECT site, day FROM day_columns WHERE name = 'head' ORDER BY site, day");
  expect(rows).toEqual([
    { site: 1, day: FIRST_DAY + 2 },
    { site: 2, day: FIRST_DAY + 1 },
    { site: 2, day: FIRST_DAY + 2 },
  ]);
});

test('a day that still changes waits for a run in which it does not, and no longer than ten minutes', async () => {
  let nowMs = 0;
  const rest = new Rest(() => nowMs);
  const run = async () => {
    nowMs += 60_000;
    return await seal({ rest });
  };
  const changes = () => link.query('UPDATE site_days SET revision = revision + 1 WHERE day = $1', [FIRST_DAY]);
  await store(sample(8));
  expect(await run()).toBe(0);
  await changes();
  // The others have come to rest.
  expect(await run()).toBe(DAYS - 1);
  for (let minute = 3; minute <= 10; minute += 1) {
    await changes();
    expect(await run()).toBe(0);
  }
  await changes();
  expect(await run()).toBe(1);
  // Sealed, and changed again at once: its ten minutes begin anew.
  await changes();
  expect(await run()).toBe(0);
  expect(await run()).toBe(1);
  expect(await run()).toBe(0);
});

test('days that still change keep no other day from being sealed', async () => {
  let nowMs = 0;
  const rest = new Rest(() => nowMs);
  const run = async () => {
    nowMs += 60_000;
    await link.query('UPDATE site_days SET revision = revision + 1 WHERE day = $1', [FIRST_DAY]);
    return await seal({ rest, daysMax: 1 });
  };
  await store(sample(10));
  expect(await run()).toBe(0);
  for (let day = 1; day < DAYS; day += 1) expect(await run()).toBe(1);
  expect(await run()).toBe(0);
  expect((await ask(visits)).times.daysRaw).toBe(1);
});

test('a day that fails keeps no other from being sealed', async () => {
  await store(sample(3));
  const session = interrupted(link, async (day) => {
    if (day === FIRST_DAY) throw new Error('this day fails');
  });
  const sealed = sealDays(session, { today: FIRST_DAY + DAYS, gapMs: GAP_MS, daysMax: 100 });
  await expect(sealed).rejects.toThrow('this day fails');
  expect(await seal()).toBe(1);
});

test('a look for days costs nothing for those that are sealed', async () => {
  await link.query(
    `INSERT INTO site_days (site, day, revision, sealed) SELECT 1 + i % 2, $1 - 1 - i / 2, 3, 3
     FROM generate_series(0, 59999) i`,
    [FIRST_DAY],
  );
  await link.query("INSERT INTO day_columns SELECT site, day, 'head', 3, '' FROM site_days");
  await store(sample(12));
  await link.query('ANALYZE site_days, day_columns, sites');
  const blocks: number[] = [];
  const look = async (sql: string, values?: readonly unknown[]) => {
    const { rows } = await link.query<{ 'QUERY PLAN': readonly { Plan: Record<string, number> }[] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`,
      values,
    );
    const { Plan: plan } = rows[0]!['QUERY PLAN'][0]!;
    blocks.push(plan['Shared Hit Blocks']! + plan['Shared Read Blocks']!);
    return await link.query(sql, values);
  };
  const looking = { query: look } as unknown as PostgresLink;
  expect(await sealDays(looking, { today: FIRST_DAY + DAYS, gapMs: GAP_MS, daysMax: 0 })).toBe(0);
  expect(blocks).toHaveLength(1);
  expect(blocks[0]).toBeLessThan(30);
  expect(await seal()).toBe(DAYS);
});

test('the migration takes what is sealed for sealed, and columns of sites that are gone away', async () => {
  const migrate = (name: string) =>
    link.query(readFileSync(new URL(`../../../src/analytics/migrations/${name}.sql`, import.meta.url), 'utf8'));
  const all = sample(13);
  const late = all.find(({ timestampMs }) => timestampMs < (FIRST_DAY + 1) * DAY_MS)!;
  await store(all.filter((one) => one !== late));
  await seal();
  await store([late]);
  await link.query("INSERT INTO day_columns VALUES (3, $1, 'head', 1, '')", [FIRST_DAY]);
  await migrate('010_due_days.down');
  await migrate('010_due_days');
  expect((await link.query('SELECT FROM day_columns WHERE site = 3')).rowCount).toBe(0);
  expect(await seal()).toBe(1);
  expect((await ask(visits)).rows).toEqual(naive(all, visits));
});
