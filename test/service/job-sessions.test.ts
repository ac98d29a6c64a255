/**
 * Goal: a job, a watch or an answer whose process is frozen, or whose host is gone, in the middle of a transaction holds
 * up nobody for hours.
 * Method: what its session has asked of a real Postgres; of a job, noted by a trigger on a table that it writes.
 */
import { expect, test } from 'vitest';
import analyticsJobs from '../../src/analytics/jobs.ts';
import { Database } from '../../src/analytics/query/database.ts';
import gatewayJobs from '../../src/gateway/jobs.ts';
import { watchPartitions } from '../../src/service/partition-watch.ts';
import type { Job } from '../../src/service/scheduler.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { migrateUp } from '../../src/store/postgres/migrate.ts';
import { passing } from '../../src/store/postgres/vanishing.ts';
import { startPostgres } from '../servers/postgres.ts';
import type { TestScope } from '../servers/process.ts';

const asked = Object.keys(passing);
/** Runs a job that deletes the row that `put` puts into `table`; what its session was set to by then. */
async function settingsOf(dsn: string, job: Job, values: object, table: string, put: string): Promise<object> {
  const link = await openLink(dsn);
  try {
    await link.query(
      `CREATE TABLE seen (name text, value text);
       CREATE FUNCTION note_session() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         INSERT INTO seen SELECT name, setting FROM pg_settings WHERE name IN ('${asked.join("', '")}');
         RETURN NULL;
       END $$;
       CREATE TRIGGER note_session AFTER DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION note_session()`,
    );
    await link.query(put);
    const log = { info: () => undefined, warn: () => undefined };
    await job.run({ values, log, due: new Date(), signal: new AbortController().signal } as never);
    const { rows } = await link.query<{ name: string; value: string }>('SELECT name, value FROM seen');
    return Object.fromEntries(rows.map(({ name, value }) => [name, Number(value)]));
  } finally {
    await link.query('DROP FUNCTION note_session CASCADE; DROP TABLE seen');
    await link.close();
  }
}

/** A database with the tables of the service. */
async function databaseOf(t: TestScope, service: string, port: number): Promise<string> {
  const { dsn } = await startPostgres(t, { port });
  const folder = new URL(`../../src/${service}/migrations/`, import.meta.url);
  await migrateUp({ dsn, service, folder, tell: () => undefined });
  return dsn;
}
const named = (jobs: readonly Job[], name: string): Job => jobs.find((job) => job.name === name)!;

test('jobs of analytics', async (t) => {
  const dsn = await databaseOf(t, 'analytics', 27_130);
  const values = { postgres: { pgDsn: dsn }, analytics: {} };
  const job = named(analyticsJobs(values as never), 'salts');
  const put = `INSERT INTO visitor_salts (day, salt) VALUES (1, '\\x00')`;
  expect(await settingsOf(dsn, job, values, 'visitor_salts', put)).toEqual(passing);
});

test('jobs of the gateway', async (t) => {
  const dsn = await databaseOf(t, 'gateway', 27_131);
  const values = { postgres: { pgDsn: dsn }, gateway: { logRetentionDays: 90 } };
  const put = `INSERT INTO request_logs (request_id, method, request_path, response_status, outcome, response_time_ms,
    request_size_bytes, response_size_bytes, created_at) VALUES ('x', 'GET', '/', 200, 'ok', 1, 0, 0, '1999-01-01')`;
  expect(await settingsOf(dsn, named(gatewayJobs(), 'retention'), values, 'request_logs', put)).toEqual(passing);
});

test('the watch of partitions, which makes and moves what is missing', async (t) => {
  const { dsn } = await startPostgres(t, { port: 27_132 });
  const end = new AbortController();
  const none = async () => ({ missing: [], strays: {} });
  let found: object = {};
  const quiet = () => undefined;
  await watchPartitions(
    { signal: end.signal, log: { info: quiet, warn: quiet } as never, ready: quiet, away: quiet },
    {
      ...{ dsn, applicationName: 'test', partitions: { state: none } as never, make: async () => undefined },
      async seen(_, link) {
        const { rows } = await link.query<{ name: string; value: string }>(
          'SELECT name, setting AS value FROM pg_settings WHERE name = ANY ($1)',
          [asked],
        );
        found = Object.fromEntries(rows.map(({ name, value }) => [name, Number(value)]));
        end.abort();
      },
    },
  );
  expect(found).toEqual(passing);
});

test('answers of analytics, also behind a pooler, which keeps what a session sets', async (t) => {
  const { dsn } = await startPostgres(t, { port: 27_133 });
  const database = new Database({ dsn, sessions: 1, told: () => undefined });
  t.onTestFinished(() => database.close());
  const limit = (link: PostgresLink) =>
    link.query<{ ms: number }>(
      "SELECT setting::int AS ms FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'",
    );
  const { rows } = await database.read((snapshot) => snapshot.use(limit));
  expect(rows).toEqual([{ ms: 30_000 }]);
});
