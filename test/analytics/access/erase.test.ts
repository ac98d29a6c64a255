/**
 * Goal: a site is erased beside others that are large, and costs what it has itself. Method: a real Postgres with many
 * sites; each statement of the erase is explained before it runs.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { eraseSite } from '../../../src/analytics/access/erase.ts';
import { months } from '../../../src/analytics/processor/partitions.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { schema } from '../schema.ts';

const undo: (() => unknown)[] = [];
let link: PostgresLink;
beforeAll(async () => {
  const file = { onTestFinished: (fn: () => unknown) => void undo.push(fn) };
  const { dsn } = await startPostgres(file, { port: 23_285, settings: fastSettings });
  link = await openLink(dsn);
  undo.push(() => link.close());
});
beforeEach(async () => {
  await link.query(`DROP SCHEMA public CASCADE; CREATE SCHEMA public; ${schema}`);
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

const SITES = 20;
const ROWS = 120_000;
const FIRST = 2025 * 12;
const MONTHS = 12;

test('a month that the retention drops meanwhile is gone, and the others go as well', async () => {
  for (const month of [FIRST, FIRST + 1]) await months.makePeriod(link, month);
  await link.query(`INSERT INTO sites (site_id) VALUES ('a'); INSERT INTO site_names SELECT site_id, site FROM sites;
    INSERT INTO events (site_id, event_type, "timestamp", event_id, received_at, site)
      SELECT 'a', 'page_view', day, gen_random_uuid(), now(), site
      FROM sites, unnest('{2025-01-15Z,2025-02-15Z}'::timestamptz[]) AS day`);
  const query = async (sql: string, values?: readonly unknown[]) => {
    if (sql.startsWith('DELETE FROM events_202501')) await link.query('DROP TABLE events_202501');
    return await link.query(sql, values);
  };
  const session = { query } as unknown as PostgresLink;
  expect(await eraseSite(session, 1, { progress: () => {}, ended: () => false })).toEqual({ rows: 1, whole: true });
  expect((await link.query('SELECT FROM events')).rowCount).toBe(0);
});

test('every statement finds its rows by an index: none reads what others have', async () => {
  for (let month = FIRST; month < FIRST + MONTHS; month += 1) await months.makePeriod(link, month);
  await link.query(
    `INSERT INTO sites (site_id) SELECT 's' || n FROM generate_series(1, ${SITES}) n;
     INSERT INTO site_names SELECT site_id, site FROM sites;
     INSERT INTO events (site_id, event_type, "timestamp", event_id, received_at, site)
       SELECT 's' || 1 + n % ${SITES}, 'page_view', timestamptz '2025-01-01Z' + n * interval '260 seconds',
         gen_random_uuid(), now(), 1 + n % ${SITES} FROM generate_series(1, ${ROWS}) n;
     INSERT INTO visitor_days SELECT 1 + n % ${SITES}, 20089 + n % 365, gen_random_uuid(), repeat('x', 100)::bytea
       FROM generate_series(1, ${ROWS}) n;
     INSERT INTO rollups (site, dimension, grain, t, value)
       SELECT 1 + n % ${SITES}, 2, 1, 20089 + n % 365, n FROM generate_series(1, ${ROWS}) n;
     INSERT INTO import_lines SELECT 1 + n % ${SITES}, gen_random_uuid() FROM generate_series(1, ${ROWS}) n;
     INSERT INTO accepted_hours SELECT 's' || 1 + n % ${SITES}, n, 1 FROM generate_series(1, ${ROWS}) n;
     ANALYZE`,
  );
  const plans: string[] = [];
  const query = async (sql: string, values?: readonly unknown[]) => {
    if (sql.startsWith('DELETE')) {
      const { rows } = await link.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`, values);
      plans.push(`${sql}\n${rows.map((row) => row['QUERY PLAN']).join('\n')}`);
    }
    return await link.query(sql, values);
  };
  const erased = await eraseSite({ query } as unknown as PostgresLink, 1, { progress: () => {}, ended: () => false });
  expect(erased).toEqual({ rows: (5 * ROWS) / SITES, whole: true });
  expect(plans.length).toBeGreaterThan(13);
  // The default partitions are empty.
  for (const plan of plans)
    expect(plan).not.toMatch(/Seq Scan on (events|visitor_days|rollups|import_lines|accepted_hours)(?!_default)/);
});
