/**
 * Goal: the options of the processor's consumer reach the brokers and do what they say. Method: the built processor with
 * a real Kafka behind a proxy that reads the requests, and a real Postgres in which somebody holds a lock.
 */
import pg from 'pg';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { startKafka } from '../../servers/kafka.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { client, makeTopic } from '../../servers/topics.ts';
import { api, Liar } from '../../store/kafka/liar.ts';
import { startAnalytics } from '../running.ts';
import { sql, theirs } from './fixture.ts';

const KAFKA = 23_250;
const PROXY = 23_259;
const file = fileScope();
const scope = { onTestFinished: (fn: () => unknown) => onTestFinished(async () => void (await fn())) };
const liar = new Liar(KAFKA);
let dsn = '';
beforeAll(async () => {
  await liar.listen(file, PROXY);
  const [, postgres] = await Promise.all([
    startKafka(file, {
      port: KAFKA,
      own: true,
      advertisedPort: PROXY,
      properties: { 'group.min.session.timeout.ms': 1000 },
    }),
    startPostgres(file, { port: 23_260, settings: fastSettings, own: true }),
  ]);
  dsn = postgres.dsn;
});

const broker = `127.0.0.1:${PROXY}`;
const start = (topic: string, port: number, env: Readonly<Record<string, string>>) =>
  startAnalytics(scope, {
    port,
    words: ['processor'],
    // One that waits for its share of the partitions is not ready.
    ready: '/healthz',
    env: {
      DATABASE_URL: dsn,
      KAFKA_BROKER_URLS: broker,
      KAFKA_TOPIC: topic,
      KAFKA_GROUP_ID: topic,
      PG_FLUSH_MS: '20ms',
      ...env,
    },
  });

async function produce(topic: string, partition: number, value: string): Promise<void> {
  const producer = client(broker).producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ partition, value }] });
  await producer.disconnect();
}

const storedOf = async (site: string): Promise<number> =>
  (await sql<{ n: number }>(dsn, `SELECT count(*)::int AS n FROM events WHERE site_id = '${site}'`).catch(() => []))[0]
    ?.n ?? 0;

/** The body of a request: behind length, API, version, number, name of the client, and no tagged fields. */
const bodyOf = (frame: Buffer): Buffer => frame.subarray(14 + frame.readInt16BE(12) + 1);

test('limits of a fetch, session and rebalance stand in the requests as the options have them', async () => {
  const topic = 'asked';
  await makeTopic(broker, topic, 1);
  const fetches: { readonly waitMs: number; readonly bytesMax: number }[] = [];
  const joins: { readonly sessionMs: number; readonly rebalanceMs: number }[] = [];
  liar.lie = ({ api: asked, frame }) => {
    const body = bodyOf(frame);
    if (asked === api.fetch) fetches.push({ waitMs: body.readInt32BE(4), bytesMax: body.readInt32BE(12) });
    // The id of the group has its length, and one, in front of it.
    const group = body[0]!;
    if (asked === api.join)
      joins.push({ sessionMs: body.readInt32BE(group), rebalanceMs: body.readInt32BE(group + 4) });
    return undefined;
  };
  onTestFinished(() => {
    liar.lie = undefined;
  });
  await start(topic, 23_261, {
    KAFKA_FETCH_BYTES: '4MiB',
    KAFKA_FETCH_WAIT_MS: '70ms',
    KAFKA_SESSION_TIMEOUT_MS: '7s',
    KAFKA_REBALANCE_TIMEOUT_MS: '17s',
  });
  await produce(topic, 0, theirs(1, { site_id: topic }));
  await expect.poll(() => storedOf(topic)).toBe(1);
  // An answer has a quarter of what is fetched ahead.
  expect(fetches[0]).toEqual({ waitMs: 70, bytesMax: 1024 * 1024 });
  expect(joins[0]).toEqual({ sessionMs: 7000, rebalanceMs: 17_000 });
});

// Goal: a processor whose transaction hangs keeps the partitions of all for KAFKA_REBALANCE_TIMEOUT_MS and no longer.
test('a processor that does not finish within KAFKA_REBALANCE_TIMEOUT_MS loses its place; nothing counts twice', async () => {
  const topic = 'hangs';
  await makeTopic(broker, topic, 2);
  const env = { KAFKA_REBALANCE_TIMEOUT_MS: '2s', KAFKA_SESSION_TIMEOUT_MS: '5s' };
  await start(topic, 23_262, env);
  await produce(topic, 0, theirs(1, { site_id: 'held' }));
  await expect.poll(() => storedOf('held')).toBe(1);
  const holder = new pg.Client({ connectionString: dsn });
  await holder.connect();
  onTestFinished(() => holder.end());
  await holder.query("BEGIN; SELECT FROM sites WHERE site_id = 'held' FOR UPDATE");
  await produce(topic, 0, theirs(2, { site_id: 'held' }));
  const waiting = () => sql<{ n: number }>(dsn, 'SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted');
  await expect.poll(async () => (await waiting())[0]!.n).toBe(1);
  const second = await start(topic, 23_263, env);
  // The first one goes on with its other partition until it hears that the group deals anew.
  let sent = 0;
  const storedBySecond = async () => {
    sent += 1;
    await produce(topic, 1, theirs(sent, { site_id: 'free' }));
    const figures = await (await second.get('/metrics')).text();
    return Number(/^ringmain_analytics_events_stored_total(?:{[^}]*})? (\d+)$/m.exec(figures)?.[1]);
  };
  await expect.poll(storedBySecond, { interval: 500 }).toBeGreaterThan(0);
  await holder.query('ROLLBACK');
  await expect.poll(() => storedOf('held')).toBe(2);
  await expect.poll(() => storedOf('free')).toBe(sent);
  const counted = `SELECT site_id, views::int FROM rollups JOIN sites USING (site)
    WHERE site_id IN ('held', 'free') AND dimension = 0 AND grain = 1 ORDER BY site_id`;
  expect(await sql(dsn, counted)).toEqual([
    { site_id: 'free', views: sent },
    { site_id: 'held', views: 2 },
  ]);
});
