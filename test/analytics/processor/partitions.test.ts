/**
 * Goal: every month has its partition, whoever asks first, and no row is lost on the way to it. Method: a real Postgres
 * with the schema of the service.
 */
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { DAY_MS, dayOf } from '../../../src/analytics/dimensions.ts';
import {
  dropWeeks,
  MonthsOnDemand,
  makePartitions,
  months,
  weekNow,
} from '../../../src/analytics/processor/partitions.ts';
import { keptFrom, retain } from '../../../src/analytics/processor/retention.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import {
  beginOf,
  MONTHS_BACK,
  MonthPartitions,
  monthNow,
  monthsOf,
  monthText,
} from '../../../src/store/postgres/month-partitions.ts';
import { wasMadeMeanwhile } from '../../../src/store/postgres/time-partitions.ts';
import { startPostgres } from '../../servers/postgres.ts';
import { schema } from '../schema.ts';

const quiet = { info: () => {}, warn: () => {} };
const NOVEMBER = 2025 * 12 + 10;
let dsn = '';
let link: PostgresLink;

beforeAll(async () => {
  const postgres = await startPostgres(undefined, { port: 23_090 });
  dsn = postgres.dsn;
  link = await openLink(dsn);
  return async () => {
    await link.close();
    await postgres.stop();
  };
});

beforeEach(async () => {
  await link.query(`DROP SCHEMA public CASCADE; CREATE SCHEMA public; ${schema}`);
});

const put = (at: string, site = 1, siteId = 'a', to = link) =>
  to.query(
    `INSERT INTO events (site_id, event_type, "timestamp", event_id, received_at, site)
     VALUES ($1, 'page_view', $2, gen_random_uuid(), now(), $3)`,
    [siteId, at, site],
  );
const putDay = (day: number, site = 1, to = link) =>
  to.query("INSERT INTO visitor_days VALUES ($1, $2, gen_random_uuid(), '{}')", [site, day]);
const count = async (table: string): Promise<number> =>
  (await link.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).rows[0]!.n;
const day = (text: string): number => Date.parse(text) / DAY_MS;

test('a first run makes this month and two ahead, this week and the next; a second changes nothing', async () => {
  const { month } = await monthNow(link);
  const week = await weekNow(link);
  expect((await months.state(link)).missing).toHaveLength(4);
  await makePartitions(link);
  for (const table of ['events', 'visitor_days'])
    expect(await monthsOf(link, table)).toEqual([month, month + 1, month + 2]);
  for (const one of [week, week + 1]) expect(await count(`event_ids_${one}`)).toBe(0);
  const relations = await count('pg_class');
  await makePartitions(link);
  expect(await count('pg_class')).toBe(relations);
  expect(await months.state(link)).toEqual({ missing: [], strays: { events: 0, visitor_days: 0 } });
});

test('a partition has the indexes of its table, by which the contract asks', async () => {
  await months.makePeriod(link, NOVEMBER);
  const { rows } = await link.query<{ def: string }>(
    "SELECT indexdef AS def FROM pg_indexes WHERE tablename = 'events_202511' ORDER BY 1",
  );
  expect(rows.map(({ def }) => def.replace(/.* USING /, ''))).toEqual(
    expect.arrayContaining([
      'btree (id, "timestamp")',
      'btree (site_id, "timestamp")',
      'btree (user_id)',
      'btree (site_id, event_type, "timestamp")',
    ]),
  );
  expect(rows).toHaveLength(4);
});

test('rows of a default partition move to their month, its first and last instant too; others stay', async () => {
  const edges = [
    '2025-10-31T23:59:59.999Z',
    '2025-11-01T00:00:00Z',
    '2025-11-30T23:59:59.999Z',
    '2025-12-01T00:00:00Z',
  ];
  for (const at of edges) await put(at);
  for (const at of ['2025-10-31', '2025-11-01', '2025-11-30', '2025-12-01']) await putDay(day(at));
  expect((await months.state(link)).strays).toEqual({ events: 4, visitor_days: 4 });
  await months.makePeriod(link, NOVEMBER);
  for (const table of ['events', 'visitor_days']) {
    expect(await count(`${table}_202511`)).toBe(2);
    expect(await count(`${table}_default`)).toBe(2);
    expect(await count(table)).toBe(4);
  }
  // What is left is found by the job.
  await makePartitions(link);
  expect(await count('events_default')).toBe(0);
  expect(await count('events_202510')).toBe(1);
  const { rows } = await link.query<{ ids: number }>('SELECT count(DISTINCT id)::int AS ids FROM events');
  expect(rows[0]!.ids).toBe(4);
});

test('rows older than 120 months stay in the default partition and are no strays', async () => {
  const { month } = await monthNow(link);
  await put('1999-01-01T00:00:00Z');
  const onDemand = new MonthsOnDemand(dsn, quiet);
  await onDemand.ensure(link, [1999 * 12, month - MONTHS_BACK - 1, month - MONTHS_BACK]);
  expect(await monthsOf(link, 'events')).toEqual([month - MONTHS_BACK]);
  await makePartitions(link);
  expect(await count('events_default')).toBe(1);
  expect((await months.state(link)).strays.events).toBe(0);
});

test('processes that need the same month at once make it once', async () => {
  await put('2025-11-15T05:00:00Z');
  const others = await Promise.all(Array.from({ length: 4 }, () => openLink(dsn)));
  await Promise.all(others.map((other) => months.makePeriod(other, NOVEMBER)));
  await Promise.all(others.map((other) => new MonthsOnDemand(dsn, quiet).ensure(other, [NOVEMBER, NOVEMBER - 1])));
  expect(await monthsOf(link, 'events')).toEqual([NOVEMBER - 1, NOVEMBER]);
  expect(await count('events_202511')).toBe(1);
  for (const other of others) await other.close();
});

test('a lock that somebody holds does not hold up the load: rows go to the default partition, and move later', async () => {
  const other = await openLink(dsn);
  await other.query('BEGIN');
  await put('2025-11-15T05:00:00Z', 1, 'a', other);
  const lines: string[] = [];
  const onDemand = new MonthsOnDemand(dsn, {
    info: () => {},
    warn: (_: unknown, line: string) => lines.push(line),
  } as never);
  const begin = performance.now();
  await onDemand.ensure(link, [NOVEMBER]);
  expect(performance.now() - begin).toBeLessThan(10_000);
  expect(lines).toEqual(['partitions of past months cannot be made; their events wait in events_default']);
  await put('2025-11-16T05:00:00Z');
  // Asked again at once, it does not wait again.
  const again = performance.now();
  await onDemand.ensure(link, [NOVEMBER]);
  expect(performance.now() - again).toBeLessThan(1000);
  await other.query('COMMIT');
  await other.close();
  await makePartitions(link);
  expect(await count('events_202511')).toBe(2);
});

test('a month that cannot be made for a load keeps no other month of it from being made', async () => {
  await link.query('CREATE TABLE events_202510 ()');
  const lines: object[] = [];
  const onDemand = new MonthsOnDemand(dsn, { info: () => {}, warn: (fields: object) => lines.push(fields) } as never);
  await onDemand.ensure(link, [NOVEMBER - 1, NOVEMBER]);
  expect(await monthsOf(link, 'events')).toEqual([NOVEMBER]);
  expect(lines).toEqual([expect.objectContaining({ reason: expect.stringContaining('already exists') })]);
});

test('rows that take too long to be moved stay where they are, and nobody is locked out for the attempt', async () => {
  const few = new MonthPartitions(months.tables, 'test', 2);
  for (const at of ['2025-10-15', '2025-11-14', '2025-11-15']) await put(`${at}T00:00:00Z`);
  await few.makePeriod(link, NOVEMBER);
  expect(await count('events_202511')).toBe(2);
  for (const at of ['2025-10-16', '2025-10-17']) await put(`${at}T00:00:00Z`);
  const asked: string[] = [];
  const query = (sql: string, values?: readonly unknown[]) => {
    asked.push(sql);
    return link.query(sql, values);
  };
  await expect(few.makePeriod({ query } as unknown as PostgresLink, NOVEMBER - 1)).rejects.toThrow(
    'events_default must hold at most 2 rows of events_202510 to be moved in time: move them by hand',
  );
  expect(asked).toEqual([expect.stringMatching(/^SELECT count/)]);
  expect(await count('events_default')).toBe(3);
});

test('a row that was on its way to the default partition while its month is made is no bad row', async () => {
  const maker = await openLink(dsn);
  await maker.query(`BEGIN; CREATE TABLE events_202511 (LIKE events INCLUDING ALL EXCLUDING IDENTITY);
    ALTER TABLE events ATTACH PARTITION events_202511 FOR VALUES FROM ('2025-11-01Z') TO ('2025-12-01Z')`);
  const refused = put('2025-11-15T05:00:00Z').then(
    () => undefined,
    (error: unknown) => error,
  );
  const waits = async () =>
    (await maker.query<{ n: number }>('SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted')).rows[0]!.n;
  await expect.poll(waits).toBe(1);
  await maker.query('COMMIT');
  await maker.close();
  expect(wasMadeMeanwhile(await refused)).toBe(true);
  await put('2025-11-15T05:00:00Z');
  expect(await count('events_202511')).toBe(1);
});

test('a reader that waits while rows move sees each of them once', async () => {
  for (let i = 1; i <= 20; i += 1) await put(`2025-11-${String(i).padStart(2, '0')}T00:00:00Z`);
  const reader = await openLink(dsn);
  let reads = 0;
  let moved = false;
  const reading = (async () => {
    while (!moved || reads < 20) {
      const { rows } = await reader.query<{ n: number }>('SELECT count(*)::int AS n FROM events');
      expect(rows[0]!.n).toBe(20);
      reads += 1;
    }
  })();
  await expect.poll(() => reads).toBeGreaterThan(3);
  await months.makePeriod(link, NOVEMBER);
  moved = true;
  await reading;
  await reader.close();
});

test('weeks are dropped when they ended so many days ago, not before', async () => {
  const { ms } = await monthNow(link);
  const week = await weekNow(link);
  for (const one of [week - 3, week - 2, week - 1, week, week + 1])
    await link.query(`CREATE TABLE event_ids_${one} PARTITION OF event_ids FOR VALUES IN (${one})`);
  const into = ms / DAY_MS - week * 7;
  // The week before ended `into` days ago, the one before that a week earlier.
  expect(await dropWeeks(link, Math.ceil(into) + 7)).toEqual([`event_ids_${week - 3}`]);
  expect(await dropWeeks(link, 7)).toEqual([`event_ids_${week - 2}`]);
  expect(await dropWeeks(link, 7)).toEqual([]);
});

test('retention drops whole months that are older, of events and of visitors, and empties the default partitions', async () => {
  const { month, ms } = await monthNow(link);
  for (const one of [month - 3, month - 2, month - 1, month]) await months.makePeriod(link, one);
  await put('1999-01-01T00:00:00Z');
  await putDay(day('1999-01-01'));
  await link.query("INSERT INTO sites (site_id) VALUES ('a')");
  await link.query("INSERT INTO day_columns VALUES (1, 10000, 'path', 1, '')");
  const { deleted, dropped } = await retain(link, 31, new AbortController().signal);
  expect(deleted).toBe(3);
  const left = (await monthsOf(link, 'events')).map(monthText);
  const cut = ms - 31 * DAY_MS;
  const endOf = (at: number) => Date.UTC(Math.floor(at / 12), (at % 12) + 1, 1);
  const kept = [month - 3, month - 2, month - 1, month].filter((at) => endOf(at) > cut).map(monthText);
  expect(left).toEqual(kept);
  expect(dropped).toEqual(
    expect.arrayContaining([`events_${monthText(month - 3)}`, `visitor_days_${monthText(month - 3)}`]),
  );
  await months.drop(link, 31, (name) => expect.fail(`${name} was left`));
});

test('a site of shorter retention loses its old events under all of its names, in batches, and nobody else does', async () => {
  const { month } = await monthNow(link);
  await makePartitions(link);
  await months.makePeriod(link, month - 2);
  await link.query(
    `INSERT INTO sites (site_id, retention_days) VALUES ('now', 20), ('other', NULL);
     INSERT INTO site_names VALUES ('now', 1), ('before', 1), ('other', 2)`,
  );
  const old = new Date(Date.UTC(Math.floor((month - 2) / 12), (month - 2) % 12, 3)).toISOString();
  const recent = new Date((await monthNow(link)).ms - DAY_MS).toISOString();
  for (let i = 0; i < 7; i += 1) {
    await put(old, 1, i % 2 === 0 ? 'now' : 'before');
    await put(old, 2, 'other');
    await putDay(Math.floor(day(old)), 1);
  }
  await put('1999-01-01T00:00:00Z', 1, 'before');
  await put(recent, 1, 'now');
  const days = [recent, old].map((text) => Math.floor(day(text)));
  await link.query('INSERT INTO site_days (site, day) SELECT site, day FROM sites, unnest($1::int[]) AS day', [days]);
  await link.query("INSERT INTO day_columns SELECT site, day, 'path', 1, '' FROM site_days");
  const { deleted } = await retain(link, undefined, new AbortController().signal, { batchRows: 3 });
  expect(deleted).toBe(7 + 7 + 1 + 1);
  // They tell as much as the events.
  const { rows: columns } = await link.query('SELECT site, day FROM day_columns ORDER BY site, day DESC');
  expect(columns).toEqual([
    { site: 1, day: days[0] },
    { site: 2, day: days[0] },
    { site: 2, day: days[1] },
  ]);
  const { rows } = await link.query('SELECT site, count(*)::int AS n FROM events GROUP BY site ORDER BY site');
  expect(rows).toEqual([
    { site: 1, n: 1 },
    { site: 2, n: 7 },
  ]);
  // A day whose events are gone is not to be sealed any more.
  const { rows: due } = await link.query('SELECT site, day FROM site_days WHERE due ORDER BY site, day DESC');
  expect(due).toEqual([
    { site: 1, day: days[0] },
    { site: 2, day: days[0] },
    { site: 2, day: days[1] },
  ]);
  const ended = await retain(link, 1, AbortSignal.abort(), { batchRows: 3 });
  expect(ended.deleted).toBe(0);
});

/** First days that are kept of the sites of these names. */
async function kept(names: readonly string[], days?: number): Promise<readonly number[]> {
  const firstDay = await keptFrom(link, new Set(names), (await monthNow(link)).ms, days);
  return names.map(firstDay);
}
const ANY = Number.NEGATIVE_INFINITY;
const run = (days?: number) => retain(link, days, new AbortController().signal);

test('days that the retention of a site has deleted are not kept again when it becomes longer, or ends', async () => {
  await makePartitions(link);
  await link.query(
    `INSERT INTO sites (site_id, retention_days) VALUES ('now', 3), ('other', NULL);
     INSERT INTO site_names VALUES ('now', 1), ('before', 1), ('other', 2)`,
  );
  const today = dayOf((await monthNow(link)).ms);
  for (const day of [today - 4, today - 3]) await putDay(day);
  const names = ['now', 'before', 'other', 'new'];
  const deleted = [today - 3, today - 3, ANY, ANY];
  expect(await kept(names)).toEqual(deleted);
  expect((await run()).deleted).toBe(1);
  for (const days of [30, null]) {
    await link.query('UPDATE sites SET retention_days = $1 WHERE site = 1', [days]);
    expect(await kept(names)).toEqual(deleted);
    await run();
    expect(await kept(names)).toEqual(deleted);
  }
  await link.query('UPDATE sites SET retention_days = 1 WHERE site = 1');
  expect(await kept(names)).toEqual([today - 1, today - 1, ANY, ANY]);
});

test('RETENTION_DAYS deletes what the load refuses, in default partitions as well, and raised it stays refused', async () => {
  const { month, ms } = await monthNow(link);
  const first = dayOf(beginOf(month - 2));
  const days = dayOf(ms) - (first + 14);
  for (const day of [first - 1, first, first + 13]) {
    await putDay(day);
    await put(new Date(day * DAY_MS).toISOString());
  }
  expect(await kept(['new'], days)).toEqual([first]);
  await run(days);
  const { rows } = await link.query<{ day: number }>('SELECT day FROM visitor_days_default ORDER BY 1');
  expect(rows.map(({ day }) => day)).toEqual([first, first + 13]);
  expect(await count('events_default')).toBe(2);
  for (const raised of [days + 365, undefined]) expect(await kept(['new'], raised)).toEqual([first]);
});

/** Somebody reads these for as long as the returned function is not called. */
async function hold(...tables: readonly string[]): Promise<() => Promise<void>> {
  const holder = await openLink(dsn);
  onTestFinished(() => holder.close());
  await holder.query(`BEGIN; LOCK TABLE ONLY ${tables.join(', ')} IN ACCESS SHARE MODE`);
  return () => holder.close();
}
const partitionsOf = (table: string, ...some: readonly number[]) => some.map((month) => `${table}_${monthText(month)}`);

test('a month that somebody holds keeps no other month, and no other events, from being deleted; its error is told', async () => {
  const { month, ms } = await monthNow(link);
  for (const one of [month - 5, month - 4, month - 3, month - 1, month]) await months.makePeriod(link, one);
  await link.query(
    "INSERT INTO sites (site_id, retention_days) VALUES ('a', 1); INSERT INTO site_names VALUES ('a', 1)",
  );
  await put('1999-01-01T00:00:00Z', 2, 'b');
  await put(new Date(ms - 3 * DAY_MS).toISOString());
  const held = `events_${monthText(month - 5)}`;
  const letGo = await hold(held);
  await expect(run(31)).rejects.toThrow('lock timeout');
  expect(await count('events')).toBe(0);
  const there = await monthsOf(link, 'events');
  expect(there.filter((one) => one < month - 2)).toEqual([month - 5]);
  expect((await monthsOf(link, 'visitor_days')).filter((one) => one < month - 2)).toEqual([]);
  await letGo();
  expect((await run(31)).dropped).toContain(held);
});

test('a table that somebody holds as a whole is asked for once: whoever writes waits behind each question', async () => {
  const { month } = await monthNow(link);
  for (const one of [month - 5, month - 4, month - 3]) await months.makePeriod(link, one);
  const letGo = await hold('events');
  const asked: string[] = [];
  const query = (sql: string, values?: readonly unknown[]) => {
    if (sql.startsWith('LOCK')) asked.push(sql);
    return link.query(sql, values);
  };
  const dropped: string[] = [];
  const session = { query } as unknown as PostgresLink;
  await expect(months.drop(session, 31, (name) => dropped.push(name))).rejects.toThrow('lock timeout');
  expect(asked.filter((sql) => / events /.test(sql))).toHaveLength(1);
  const old = [month - 5, month - 4, month - 3];
  expect(dropped).toEqual(partitionsOf('visitor_days', ...old));
  await letGo();
  await months.drop(link, 31, (name) => dropped.push(name));
  expect(dropped).toEqual([...partitionsOf('visitor_days', ...old), ...partitionsOf('events', ...old)]);
});

test('a month that cannot be made keeps no other from being made', async () => {
  const { month } = await monthNow(link);
  for (const text of ['2025-10-15', '2025-11-15']) {
    await put(`${text}T00:00:00Z`);
    await putDay(day(text));
  }
  // Another table has the name.
  await link.query(`CREATE TABLE events_202510 (); CREATE TABLE visitor_days_${monthText(month)} ()`);
  await expect(makePartitions(link)).rejects.toThrow('already exists');
  expect(await monthsOf(link, 'events')).toEqual([NOVEMBER, month, month + 1, month + 2]);
  expect(await monthsOf(link, 'visitor_days')).toEqual([NOVEMBER - 1, NOVEMBER, month + 1, month + 2]);
  const week = await weekNow(link);
  for (const one of [week, week + 1]) expect(await count(`event_ids_${one}`)).toBe(0);
});

// Each run ends after a minute: if all began with the same site, those behind it would keep their events for ever.
test('a run of the retention begins with any of the sites, and looks at no other once it is over', async () => {
  await makePartitions(link);
  await link.query(
    `INSERT INTO sites (site_id, retention_days) VALUES ('a', 20), ('b', 20), ('c', 20);
     INSERT INTO site_names VALUES ('a', 1), ('b', 2), ('c', 3)`,
  );
  for (const [site, name] of [...'abc'].entries()) await put('1999-01-01T00:00:00Z', site + 1, name);
  const left = async (random: number) => {
    const over = new AbortController();
    const asked: string[] = [];
    const query = async (sql: string, values?: readonly unknown[]) => {
      const result = await link.query(sql, values);
      if (over.signal.aborted) asked.push(sql);
      if (sql.startsWith('DELETE FROM events') && result.rowCount === 1) over.abort();
      return result;
    };
    await retain({ query } as unknown as PostgresLink, undefined, over.signal, { random: () => random });
    expect(asked.filter((sql) => sql.startsWith('DELETE'))).toEqual([]);
    return (await link.query('SELECT site_id FROM events ORDER BY 1')).rows.map(({ site_id: name }) => name);
  };
  expect(await left(0.99)).toEqual(['a', 'b']);
  expect(await left(0.5)).toEqual(['a']);
  expect(await left(0)).toEqual([]);
});

test('the watch and the retention find rows by an index, with a long history in the default partitions', async () => {
  const today = Math.floor((await monthNow(link)).ms / DAY_MS);
  await link.query(
    `INSERT INTO events (site_id, event_type, "timestamp", event_id, received_at, site)
       SELECT 's' || i % 50, 'page_view', to_timestamp(86400.0 * (8000 + i / 20)), gen_random_uuid(), now(), 1 + i % 50
       FROM generate_series(1, 50000) i;
     INSERT INTO visitor_days SELECT 1 + i % 50, 8000 + i / 20, gen_random_uuid(), '{}' FROM generate_series(1, 50000) i;
     INSERT INTO sites (site_id) SELECT 's' || i FROM generate_series(1, 50) i;
     INSERT INTO day_columns SELECT site, ${today} - i / 5, 'c' || i % 5, 1, repeat('x', 200)::bytea
       FROM sites, generate_series(0, 5 * 367 - 1) i;
     ANALYZE events_default, visitor_days_default, sites, day_columns`,
  );
  const plans: string[] = [];
  const query = async (sql: string, values?: readonly unknown[]) => {
    if (/^(SELECT|DELETE).*FROM (events_default|visitor_days_default|day_columns)/s.test(sql)) {
      const { rows } = await link.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`, values);
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    return await link.query(sql, values);
  };
  const session = { query } as unknown as PostgresLink;
  expect((await months.state(session)).strays).toEqual({ events: 0, visitor_days: 0 });
  await makePartitions(session);
  const { deleted } = await retain(session, 365, new AbortController().signal);
  // Of the columns, one day of each site is too old.
  expect(deleted).toBe(50_000 + 50_000 + 50 * 5);
  expect(plans).toHaveLength(2 + 6 + 2 + 11 + 11 + 1);
  for (const plan of plans) expect(plan).not.toMatch(/Seq Scan on (events|visitor_days|day_columns)/);
});
