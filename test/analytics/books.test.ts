/**
 * Goal: GET /reconcile balances to the unit whatever the pipe repeats: accepted is what clients were told, stored is how
 * many ids there are, duplicates what clients sent twice, rejected what is no event, and nothing else.
 * Method: the built api and processor with a real Kafka and a real Postgres. The api is killed within a second of its
 * records reaching the topic, round after round, so that it sends them again from its checkpoint; the processor is killed
 * too; another group reads the topic from its beginning.
 */
import { randomUUID } from 'node:crypto';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { temporary } from '../servers/collector.ts';
import { startKafka } from '../servers/kafka.ts';
import { startPostgres } from '../servers/postgres.ts';
import { fileScope } from '../servers/scope.ts';
import { client, makeTopic } from '../servers/topics.ts';
import { theirs } from './processor/fixture.ts';
import { type Running, startAnalytics } from './running.ts';

const file = fileScope();
const scope = { onTestFinished: (fn: () => unknown) => onTestFinished(async () => void (await fn())) };
let broker = '';
let dsn = '';
beforeAll(async () => {
  const properties = { 'group.min.session.timeout.ms': 1000 };
  const [kafka, postgres] = await Promise.all([
    startKafka(file, { port: 23_210, own: true, properties }),
    startPostgres(file, { port: 23_220, own: true }),
  ]);
  broker = kafka.brokers[0]!;
  dsn = postgres.dsn;
});

const TOPIC = 'events';
const SITE = 'balanced';
const ROUNDS = 3;
const BODIES = 20;
const EVENTS = 25;

const env = (more: Readonly<Record<string, string>> = {}) => ({
  DATABASE_URL: dsn,
  KAFKA_BROKER_URLS: broker,
  KAFKA_TOPIC: TOPIC,
  KAFKA_SESSION_TIMEOUT_MS: '2000',
  PG_FLUSH_MS: '20ms',
  ...more,
});

/** Sends bodies in which every fifth event is one that was sent before, or stands twice in its body. */
async function send(api: Running, ids: string[]): Promise<number> {
  const bodies = Array.from({ length: BODIES }, (_, n) =>
    Array.from({ length: EVENTS }, (_, i) => {
      const again = i % 5 === 4 ? ids[ids.length - 1 - (i % 3) * n] : undefined;
      const id = again ?? randomUUID();
      ids.push(id);
      return { event_id: id, site_id: SITE, event_type: 'page_view', path: `/${i}`, user_id: `user-${n}` };
    }),
  );
  const answers = await Promise.all(bodies.map((body) => api.post('/events', body)));
  let accepted = 0;
  for (const answer of answers) {
    expect(answer.status).toBe(202);
    accepted += ((await answer.json()) as { accepted: number }).accepted;
  }
  return accepted;
}

const total = async (running: Running, name: string): Promise<number> => {
  const text = await (await running.get('/metrics')).text();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)`, 'm').exec(text)?.[1] ?? 0);
};

test('kills, client duplicates, foreign records, poison and a new group: every book balances', {
  timeout: 240_000,
}, async () => {
  await makeTopic(broker, TOPIC, 2);
  const admin = client(broker).admin();
  const producer = client(broker).producer();
  await Promise.all([admin.connect(), producer.connect()]);
  onTestFinished(async () => void (await Promise.all([admin.disconnect(), producer.disconnect()])));
  const inTopic = async () => (await admin.fetchTopicOffsets(TOPIC)).reduce((sum, { high }) => sum + Number(high), 0);
  const folder = temporary(scope);
  const startApi = () => startAnalytics(scope, { port: 23_230, words: ['api'], folder, env: env() });
  const startProcessor = (group: string) =>
    startAnalytics(scope, { port: 23_240, words: ['processor'], env: env({ KAFKA_GROUP_ID: group }) });

  const firstDay = new Date().toISOString().slice(0, 10);
  const ids: string[] = [];
  let accepted = 0;
  let processor = await startProcessor('one');
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = await inTopic();
    const api = await startApi();
    accepted += await send(api, ids);
    await expect.poll(inTopic, { interval: 10, timeout: 60_000 }).toBeGreaterThan(before);
    await api.process.end('SIGKILL');
    if (round !== 1) continue;
    await processor.process.end('SIGKILL');
    processor = await startProcessor('one');
  }

  // Somebody else's records: ten events, two of them twice by an id of their own, and two that are none.
  const theirId = randomUUID();
  const foreign = Array.from({ length: 10 }, (_, n) => theirs(n, { site_id: SITE, timestamp: undefined }));
  const twice = theirs(99, { site_id: SITE, timestamp: undefined, event_id: theirId });
  const bad = theirs(98, { site_id: SITE, event_type: '' });
  const values = [...foreign, foreign[0]!, twice, twice, twice, bad, bad];
  await producer.send({ topic: TOPIC, messages: values.map((value) => ({ key: SITE, value })) });

  const api = await startApi();
  const books = async () => {
    const days = [...new Set([firstDay, new Date().toISOString().slice(0, 10)])];
    const sums = { accepted: 0, stored: 0, duplicates: 0, rejected: 0, pending: 0 };
    for (const day of days) {
      const answer = (await (await api.get(`/reconcile?site_id=${SITE}&date=${day}`)).json()) as typeof sums;
      for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += answer[key];
    }
    return sums;
  };
  const distinct = new Set(ids).size;
  expect(accepted).toBe(ids.length);
  const balanced = {
    accepted: ids.length + values.length,
    stored: distinct + foreign.length + 2,
    duplicates: ids.length - distinct + 2,
    rejected: 2,
    pending: 0,
  };
  await expect.poll(books, { interval: 200, timeout: 60_000 }).toEqual(balanced);
  const records = await inTopic();
  // The kills have made the api send records again, else this test proves nothing.
  expect(records).toBeGreaterThan(ids.length + values.length);

  await processor.process.end('SIGTERM');
  processor = await startProcessor('another');
  const repeats = () => total(processor, 'ringmain_analytics_repeats_total');
  await expect.poll(repeats, { interval: 100, timeout: 60_000 }).toBe(records);
  expect(await books()).toEqual(balanced);
  expect(await viewsOf(api, firstDay)).toBe(balanced.stored);
});

/** Views of the site on the day of the test and the next. */
async function viewsOf(api: Running, firstDay: string): Promise<number> {
  const next = new Date(Date.parse(firstDay) + 86_400_000).toISOString().slice(0, 10);
  let views = 0;
  for (const day of [firstDay, next]) {
    const answer = (await (await api.get(`/stats?site_id=${SITE}&date=${day}`)).json()) as { total_views: number };
    views += answer.total_views;
  }
  return views;
}
