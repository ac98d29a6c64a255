/**
 * Goal: /reconcile knows what is on its way, wherever it is. Method: the api and the processor as processes of their
 * own, with a real Kafka between them and a real Postgres; events wait in the topic while no processor lives.
 */
import pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import type { Reconciled } from '../../../src/analytics/schemas.ts';
import { startKafka } from '../../servers/kafka.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { startAnalytics } from '../running.ts';

const scope = fileScope();
let env: Record<string, string>;

beforeAll(async () => {
  const [kafka, postgres] = await Promise.all([
    startKafka(undefined, { port: 23_120 }),
    startPostgres(scope, { port: 23_130, settings: fastSettings }),
  ]);
  scope.onTestFinished(() => kafka.kill9());
  env = { DATABASE_URL: postgres.dsn, KAFKA_BROKER_URLS: kafka.brokers.join(',') };
});

test('events that no processor has read are pending; then they are stored', async (t) => {
  const api = await startAnalytics(t, { port: 23_131, words: ['api'], env });
  const date = new Date().toISOString().slice(0, 10);
  const books = async (): Promise<Partial<Reconciled>> => {
    const { accepted, stored, pending } = (await (
      await api.get(`/reconcile?site_id=pipe&date=${date}`)
    ).json()) as Reconciled;
    return { accepted, stored, pending };
  };
  expect(await books()).toEqual({ accepted: 0, stored: 0, pending: 0 });
  const events = Array.from({ length: 10 }, (_, i) => ({ site_id: 'pipe', event_type: 'page_view', user_id: `u${i}` }));
  expect((await api.post('/events', events)).status).toBe(202);
  const nothing = { accepted: 10, stored: 0, pending: 10 };
  await expect.poll(books).toEqual(nothing);
  // Recent events do not count in full any more: from now on the ends of the topic say it.
  const client = new pg.Client({ connectionString: env['DATABASE_URL'] });
  await client.connect();
  t.onTestFinished(() => client.end());
  const told = async () => (await client.query('SELECT output, lag::int FROM pipeline_lag ORDER BY output')).rows;
  await expect.poll(told).toEqual([
    { output: 'accepted', lag: 0 },
    { output: 'topic', lag: 0 },
  ]);
  expect(await books()).toEqual(nothing);
  // What lies in the topic hides no loss of an older hour, of this site or another.
  const day = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
  await client.query('INSERT INTO accepted_hours VALUES ($1, $2, 3)', ['lost', Date.parse(day) / 3_600_000]);
  const lost = (await (await api.get(`/reconcile?site_id=lost&date=${day}`)).json()) as Reconciled;
  expect(lost).toMatchObject({ accepted: 3, stored: 0, pending: 0 });
  await startAnalytics(t, { port: 23_134, words: ['processor'], env });
  await expect.poll(books).toEqual({ accepted: 10, stored: 10, pending: 0 });
});
