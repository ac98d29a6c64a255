/**
 * Goal: what a job has to do is done, though another part of it fails. Method: the jobs as the scheduler runs them, on a
 * real Postgres with the schema of the service.
 */
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { JobName } from '../../src/analytics/job-names.ts';
import jobs from '../../src/analytics/jobs.ts';
import { weekNow } from '../../src/analytics/processor/partitions.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';
import { schema } from './schema.ts';

let dsn = '';
let link: PostgresLink;
beforeAll(async () => {
  const postgres = await startPostgres(undefined, { port: 23_280, settings: fastSettings });
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

async function run(name: JobName): Promise<void> {
  const values = { postgres: { pgDsn: dsn }, analytics: { eventIdDays: 7 } };
  const job = jobs(values as never).find((one) => one.name === name)!;
  const log = { info: () => {}, warn: () => {} };
  await job.run({ values, log, due: new Date(), signal: new AbortController().signal } as never);
}

test('while no partition can be made, the ids of past weeks are dropped all the same', async () => {
  const week = await weekNow(link);
  const past = `event_ids_${week - 3}`;
  await link.query(`CREATE TABLE ${past} PARTITION OF event_ids FOR VALUES IN (${week - 3});
    INSERT INTO refused_events VALUES (gen_random_uuid(), 1, ${week - 3}, 'a', 1)`);
  const holder = await openLink(dsn);
  onTestFinished(() => holder.close());
  await holder.query('BEGIN; LOCK TABLE events_default, visitor_days_default IN ACCESS SHARE MODE');
  await expect(run('partitions')).rejects.toThrow('lock timeout');
  const { rows } = await link.query<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relname ~ '^event_ids_\\d+$'",
  );
  expect(rows.map(({ name }) => name).sort()).toEqual([`event_ids_${week}`, `event_ids_${week + 1}`]);
  expect((await link.query('SELECT FROM refused_events')).rowCount).toBe(0);
});

test('the salt of an import that nobody goes on with is destroyed after 48 hours', async () => {
  await link.query(`INSERT INTO sites (site_id) VALUES ('young'), ('old');
    INSERT INTO imports SELECT site, '\\x00', now() - make_interval(hours => 45 + 2 * site) FROM sites`);
  await run('salts');
  expect((await link.query('SELECT site_id FROM imports JOIN sites USING (site)')).rows).toEqual([
    { site_id: 'young' },
  ]);
});
