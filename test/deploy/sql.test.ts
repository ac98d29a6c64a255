/**
 * The analysts' SQL on a real Postgres, set up by the local stack's own init.sql, against the same figures computed here.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { beforeAll, test } from 'vitest';
import { parse } from 'yaml';
import { boards } from '../../deploy/grafana/boards.ts';
import { TEST_EVENT } from '../../src/events/schema.ts';
import { eventsSql } from '../../src/sinks/postgres/table.ts';
import { parseTableName } from '../../src/store/postgres/names.ts';
import { fileScope } from '../servers/scope.ts';
import { deployFolder, type LocalPostgres, startLocalPostgres } from './local-postgres.ts';

const SEED = Number(process.env['SEED'] ?? 7);
const DAY = 86_400_000;
const steps = ['pageview', 'add_to_cart', 'purchase'];

interface Event {
  readonly event_id: string;
  readonly ts: string;
  readonly e: string;
  readonly sid?: string;
  readonly uid?: string;
  readonly url?: string;
  readonly utm?: { readonly source?: string };
  readonly geo?: { readonly country?: string };
}

const scope = fileScope();
let server: LocalPostgres;
let owner: pg.Client;
let analyst: pg.Client;
const events = makeEvents(3000, SEED);
const samples = makeEvents(5, SEED + 1).map((event) => ({ ...event, e: TEST_EVENT, sid: 'test', uid: 'test' }));

beforeAll(async () => {
  server = await startLocalPostgres(scope, 21910);
  owner = new pg.Client({ connectionString: server.as('ringmain') });
  analyst = new pg.Client({ connectionString: server.as('analyst') });
  for (const client of [owner, analyst]) {
    await client.connect();
    scope.onTestFinished(() => client.end());
  }
  await owner.query(
    `INSERT INTO events_json (event_id, ts, payload)
     SELECT (row->>'event_id')::uuid, (row->>'ts')::timestamptz, row FROM jsonb_array_elements($1::jsonb) AS row`,
    // What TEST_MODE has left in the table must show in no figure below.
    [JSON.stringify([...events, ...samples])],
  );
  await owner.query('SELECT ringmain_refresh()');
});

test('init.sql makes the tables that Ringmain itself would make', async () => {
  const made = await shape('public.events_json');
  await owner.query('CREATE SCHEMA IF NOT EXISTS own AUTHORIZATION ringmain').catch(async () => {
    const admin = new pg.Client({ connectionString: server.dsn });
    await admin.connect();
    await admin.query('CREATE SCHEMA own AUTHORIZATION ringmain');
    await admin.end();
  });
  await owner.query(eventsSql(parseTableName('own.events_json'), 'ops'));
  assert.deepEqual(made, await shape('own.events_json'));
});

test('daily views, events and uniques are what counting the events by hand gives', async () => {
  const views = await rows(
    'SELECT day::text, sum(views)::int AS n FROM ringmain_daily_views GROUP BY day ORDER BY day',
  );
  const pageviews = events.filter((event) => event.e === 'pageview');
  assert.deepEqual(
    views,
    countBy(pageviews, ({ ts }) => ts.slice(0, 10)),
  );

  const types = await rows(
    'SELECT event AS day, sum(events)::int AS n FROM ringmain_daily_events GROUP BY event ORDER BY event COLLATE "C"',
  );
  assert.deepEqual(
    types,
    countBy(events, ({ e }) => e),
  );

  const uniques = await rows(
    `SELECT day::text, visitors::int, users::int FROM ringmain_daily_uniques WHERE host = '*' ORDER BY day`,
  );
  const byDay = Map.groupBy(events, ({ ts }) => ts.slice(0, 10));
  const expected = [...byDay].sort().map(([day, list]) => ({
    day,
    visitors: new Set(list.flatMap(({ sid }) => sid ?? [])).size,
    users: new Set(list.flatMap(({ uid }) => uid ?? [])).size,
  }));
  assert.deepEqual(uniques, expected);
});

// Goal: a line without utm or geo counts as one with {}: both have no source and no country. Method: the events mix all three.
test('views by country and source bear lines that leave out empty objects', async () => {
  const found = await rows(
    `SELECT pair AS day, sum(views)::int AS n
     FROM (SELECT country || '|' || source AS pair, views FROM ringmain_daily_views) AS v GROUP BY pair ORDER BY pair COLLATE "C"`,
  );
  const pageviews = events.filter((event) => event.e === 'pageview');
  assert.ok(pageviews.some(({ geo }) => geo === undefined) && pageviews.some(({ geo }) => geo?.country === undefined));
  assert.deepEqual(
    found,
    countBy(pageviews, ({ geo, utm }) => `${geo?.country ?? ''}|${utm?.source ?? ''}`),
  );
});

test('top paths count views and visitors by host and path, whatever the URL is spelled like', async () => {
  const found = await rows(
    `SELECT host, path, sum(views)::int AS n FROM ringmain_top_paths WHERE length(path) < 100 GROUP BY host, path ORDER BY host COLLATE "C", path COLLATE "C"`,
  );
  const short = events.filter(({ e, url }) => e === 'pageview' && (url?.length ?? 0) < 300);
  const keyed = countBy(short, ({ url }) => {
    if (url === undefined) return JSON.stringify(['', '']);
    const { hostname, pathname } = new URL(url);
    return JSON.stringify([hostname, pathname]);
  });
  const expected = keyed
    .map(({ day, n }) => ({ pair: JSON.parse(day) as [string, string], n }))
    .map(({ pair: [host, path], n }) => ({ host, path, n }))
    .sort((a, b) => compare(a.host, b.host) || compare(a.path, b.path));
  assert.deepEqual(found, expected);
});

test('a path, host and country of many kilobytes do not end the refresh', async () => {
  const long = Array.from({ length: 8000 }, (_, i) => String.fromCharCode(0x4e00 + ((i * 7919) % 20_000))).join('');
  const payload = {
    e: 'pageview',
    sid: 'long',
    url: `https://${long}/${long}?x`,
    utm: { source: long },
    geo: { country: long },
  };
  await owner.query('INSERT INTO events_json (event_id, payload) VALUES (gen_random_uuid(), $1)', [payload]);
  await owner.query('SELECT ringmain_refresh()');
  await owner.query(`DELETE FROM events_json WHERE payload->>'sid' = 'long'`);
  await owner.query('SELECT ringmain_refresh()');
});

test('a funnel counts the deepest ordered chain within its span, as trying every start does', async () => {
  for (const [chain, spanMs] of [
    [steps, DAY],
    [steps, 20 * 60_000],
    [['pageview', 'pageview', 'purchase'], 3 * 3_600_000],
  ] as const) {
    const found = await rows(
      'SELECT event AS day, sessions::int AS n FROM ringmain_funnel($1, $2, $3, $4::interval) ORDER BY step',
      [chain, '2026-01-01', '2027-01-01', `${spanMs} milliseconds`],
    );
    assert.deepEqual(found, funnelByHand(chain, spanMs), `seed=${SEED} span=${spanMs}`);
  }
});

test('readers see the old rows while a refresh is under way', async () => {
  await owner.query('BEGIN');
  await owner.query('SELECT ringmain_refresh()');
  await analyst.query(`SET statement_timeout = '2s'`);
  const { rowCount } = await analyst.query('SELECT * FROM ringmain_daily_views');
  await owner.query('COMMIT');
  assert.ok(rowCount! > 0);
});

test('an analyst reads tables and views and writes none', async () => {
  await analyst.query('SELECT count(*) FROM events_json');
  for (const statement of ['DELETE FROM events_json', 'SELECT ringmain_refresh()', 'CREATE TABLE x (a int)']) {
    await assert.rejects(analyst.query(statement), { code: '42501' }, statement);
  }
});

test('the statement of the processors stores an event once, and keeps what jsonb refuses with its reason', async () => {
  const connect = parse(readFileSync(join(deployFolder, 'local', 'connect.yml'), 'utf8')) as {
    output: { sql_raw: { query: string } };
  };
  const id = '01930000-ffff-7000-8000-000000000000';
  const good = JSON.stringify({ event_id: id, ts: '2026-11-21T08:00:00.123Z', e: 'once' });
  const bad = `{"event_id":"${id}","ts":"2026-11-21T08:00:00.123Z","e":"a\\u0000b"}`;
  for (const line of [good, good, bad, '{"event_id":"x"}']) await owner.query(connect.output.sql_raw.query, [line]);
  assert.deepEqual(await rows(`SELECT payload FROM events_json WHERE event_id = $1`, [id]), [
    { payload: JSON.parse(good) },
  ]);
  const refused = await rows('SELECT line, reason FROM ringmain_refused ORDER BY at');
  assert.deepEqual(
    refused.map(({ line }) => line),
    [bad, '{"event_id":"x"}'],
  );
});

test('every query of the SQL dashboard finds something, as the role that Grafana uses', async () => {
  const sqlBoards = boards.filter((board) => board.source === 'postgres');
  for (const { panels } of sqlBoards) {
    for (const { title, queries } of panels) {
      for (const { text } of queries) {
        const { rowCount } = await analyst.query(grafanaMacros(text));
        assert.ok(rowCount! > 0, `the panel is empty: ${title}`);
      }
    }
  }
  assert.equal(sqlBoards.length, 1);
});

/** What Grafana's Postgres source makes of its macros. */
function grafanaMacros(text: string): string {
  const [from, to] = [`'2026-11-01T00:00:00Z'`, `'2026-11-30T00:00:00Z'`];
  return text
    .replaceAll(/\$__timeFilter\((\w+)\)/g, (_, column: string) => `${column} BETWEEN ${from} AND ${to}`)
    .replaceAll('$__timeFrom()', from)
    .replaceAll('$__timeTo()', to);
}

async function rows(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return (await analyst.query<Record<string, unknown>>(text, values)).rows;
}

/** Columns and indexes of a table, without its own name. */
async function shape(table: string): Promise<unknown> {
  const columns = await owner.query(
    `SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull,
            replace(pg_get_expr(adbin, adrelid), 'own.', '') AS initial
       FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum`,
    [table],
  );
  const indexes = await owner.query<{ text: string }>(
    'SELECT pg_get_indexdef(indexrelid) AS text FROM pg_index WHERE indrelid = $1::regclass',
    [table],
  );
  return {
    columns: columns.rows,
    indexes: indexes.rows.map(({ text }) => text.replace(/ ON \w+\.\w+/, '')).sort(),
  };
}

function countBy(list: readonly Event[], key: (event: Event) => string): { day: string; n: number }[] {
  const groups = Map.groupBy(list, key);
  return [...groups].map(([day, group]) => ({ day, n: group.length })).sort((a, b) => compare(a.day, b.day));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Tries every event of the first step as a start. */
function funnelByHand(chain: readonly string[], spanMs: number): { day: string; n: number }[] {
  const reached = chain.map(() => 0);
  const bySid = Map.groupBy(
    events.filter(({ sid }) => sid !== undefined),
    ({ sid }) => sid!,
  );
  for (const list of bySid.values()) {
    const inOrder = list.toSorted((a, b) => compare(a.ts, b.ts) || compare(a.event_id, b.event_id));
    let deepest = 0;
    for (const [start, first] of inOrder.entries()) {
      if (first.e !== chain[0]) continue;
      let depth = 1;
      for (const event of inOrder.slice(start + 1)) {
        if (Date.parse(event.ts) - Date.parse(first.ts) > spanMs) break;
        if (depth < chain.length && event.e === chain[depth]) depth += 1;
      }
      deepest = Math.max(deepest, depth);
    }
    for (let i = 0; i < deepest; i += 1) reached[i]! += 1;
  }
  return chain.map((day, i) => ({ day, n: reached[i]! }));
}

/** Visits of 200 people over three weeks; some without sid, url or uid, some URLs oddly spelled. */
function makeEvents(count: number, seed: number): Event[] {
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const urls = [
    'https://Shop.example/',
    'https://shop.example',
    'https://shop.example:8443/cart?x=1#top',
    'http://user:pw@blog.example/a/b?c=/d',
    'https://shop.example/%C3%BC',
    'https://[2001:db8::1]/v6',
  ];
  const start = Date.parse('2026-11-02T00:00:00Z');
  return Array.from({ length: count }, (_, i) => ({
    event_id: `0193${i.toString(16).padStart(4, '0')}-0000-7000-8000-${String(random(1e9)).padStart(12, '0')}`,
    ts: new Date(start + random(21) * DAY + random(6 * 3600) * 1000).toISOString(),
    e: pick(['pageview', 'pageview', 'pageview', 'add_to_cart', 'purchase', 'search']),
    ...(random(20) > 0 && { sid: `s_${random(200)}` }),
    ...(random(3) === 0 && { uid: `u_${random(50)}` }),
    ...(random(15) > 0 && { url: pick(urls) }),
    ip: '192.0.2.7',
    // An empty object is left out of the line; lines of older versions hold {}.
    ...(random(3) > 0 && { utm: random(2) ? { source: pick(['mail', 'ads']) } : {} }),
    ...(random(3) > 0 && { geo: random(2) ? { country: pick(['DE', 'FR']) } : {} }),
  }));
}
