/**
 * Goal: every event that was answered with 2xx is stored and counted once, and every answer is right, whatever dies.
 * Method: clients that send until they have a 2xx, against two api processes; three processors, a real Kafka, a real
 * Postgres; all of them killed with SIGKILL at random moments. A producer that is not ours writes into the topic as well,
 * also what is no event. At the end everything is counted again from the raw
 * events. SEED repeats the choices of a run, LONG=1 makes more rounds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import { openLink } from '../../src/store/postgres/connection.ts';
import { Clients } from '../analytics/clients.ts';
import { type Brought, Foreigner } from '../analytics/foreigner.ts';
import { Member } from '../analytics/member.ts';
import { randomFrom } from '../analytics/rollup/events.ts';
import { assertAllCounted, booksOf } from '../analytics/verify.ts';
import { startKafka } from '../servers/kafka.ts';
import { fastSettings, startPostgres } from '../servers/postgres.ts';
import { makeTopic } from '../servers/topics.ts';

const PORT = 24_410;
const ROUNDS = process.env['LONG'] ? Number(process.env['ROUNDS'] ?? 20) : 1;
const PATIENCE_MS = process.env['LONG'] ? 240_000 : 60_000;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

const scope = { onTestFinished: (fn: () => unknown) => onTestFinished(async () => void (await fn())) };

/** The books of a run that has come to rest: whatever was accepted has come to its end. */
async function atRest(dsn: string, clients: Clients, brought?: Brought): Promise<void> {
  const link = await openLink(dsn);
  onTestFinished(() => link.close());
  const wanted = new Set([...clients.taken.keys()].map((id) => id.toLowerCase())).size;
  const settled = async () => {
    const { accepted, stored, duplicates, rejected } = await booksOf(link);
    return { stored, rejected, rest: accepted - stored - duplicates - rejected };
  };
  const [events, poison] = [brought?.events.length ?? 0, brought?.poison.length ?? 0];
  await expect
    .poll(settled, { timeout: PATIENCE_MS, interval: 200 })
    .toEqual({ stored: wanted + events, rejected: poison, rest: 0 });
}

/** Runs faults in a random order while the clients send; what was killed is started again after a while. */
async function shake(faults: readonly (() => Promise<void>)[], random: () => number): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const order = faults.map((fault) => ({ fault, by: random() })).sort((a, b) => a.by - b.by);
    for (const { fault } of order) {
      await sleep(100 + random() * 900);
      // Now and then the next one comes before this one is over.
      const done = fault();
      if (random() < 0.7) await done;
      else pending.push(done);
    }
    await Promise.all(pending.splice(0));
  }
}
const pending: Promise<void>[] = [];
afterEach(() => void pending.splice(0));

test('Kafka: api, processors, Kafka and Postgres are killed at random; nothing is lost and nothing counts twice', async () => {
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const [kafka, postgres] = await Promise.all([
    startKafka(scope, { port: PORT, own: true, properties: { 'group.min.session.timeout.ms': 1000 } }),
    startPostgres(scope, { port: PORT + 10, own: true, settings: fastSettings }),
  ]);
  await makeTopic(kafka.brokers[0]!, 'events', 3);
  const env = {
    DATABASE_URL: postgres.dsn,
    KAFKA_BROKER_URLS: kafka.brokers[0]!,
    KAFKA_SESSION_TIMEOUT_MS: '2000',
    PG_BATCH_SIZE: '1000',
    PG_FLUSH_MS: '20ms',
  };
  const apis = [0, 1].map((n) => new Member(scope, { port: PORT + 20 + 3 * n, words: ['api'], env }));
  const processors = [0, 1, 2].map((n) => new Member(scope, { port: PORT + 30 + 3 * n, words: ['processor'], env }));
  await Promise.all([...apis, ...processors].map((member) => member.start()));
  const clients = new Clients({ seed, urls: () => apis.map(({ url }) => url) });
  const foreigner = new Foreigner(kafka.brokers[0]!, seed);
  const sending = Promise.all([clients.run(), foreigner.run()]);
  const one = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const again = async (member: Member, end: 'kill' | 'stop') => {
    await member[end]();
    await sleep(random() * 1500);
    await member.start();
  };
  await shake(
    [
      () => again(one(apis), 'kill'),
      () => again(one(apis), 'kill'),
      () => again(one(processors), 'kill'),
      () => again(one(processors), 'kill'),
      () => again(one(processors), 'stop'),
      async () => {
        await postgres.kill9();
        await sleep(random() * 1000);
        await postgres.restart();
      },
      async () => {
        await kafka.kill9();
        await sleep(random() * 1000);
        await kafka.start();
      },
    ],
    random,
  );
  clients.end();
  foreigner.end();
  await sending;
  await Promise.all([...apis, ...processors].map((member) => member.start()));
  const brought = await foreigner.brought();
  expect(Math.min(brought.events.length, brought.poison.length)).toBeGreaterThan(5);
  await atRest(postgres.dsn, clients, brought);
  const foreign = { broker: kafka.brokers[0]!, brought };
  console.log(await assertAllCounted(postgres.dsn, apis[0]!.url, clients, foreign));
});

test('without Kafka: the process and Postgres are killed at random; nothing is lost and nothing counts twice', async () => {
  console.log(`seed ${seed}`);
  const random = randomFrom(seed + 1);
  const postgres = await startPostgres(scope, { port: PORT + 40, own: true, settings: fastSettings });
  const env = { DATABASE_URL: postgres.dsn, PG_BATCH_SIZE: '1000', PG_FLUSH_MS: '20ms', ACCEPTORS: '2' };
  const member = new Member(scope, { port: PORT + 50, env });
  await member.start();
  const clients = new Clients({ seed: seed + 1, urls: () => [member.url] });
  const sending = clients.run();
  const killed = async () => {
    await member.kill();
    await member.start();
  };
  await shake(
    [
      killed,
      killed,
      async () => {
        await postgres.kill9();
        await postgres.restart();
      },
    ],
    random,
  );
  clients.end();
  await sending;
  await member.start();
  await atRest(postgres.dsn, clients);
  console.log(await assertAllCounted(postgres.dsn, member.url, clients));
});

// Goal: what users of the api see of an outage is that figures stand still. Method: Postgres is killed while clients send.
test('Postgres is away for long: intake goes on, /readyz says why, and everything is counted afterwards', async () => {
  const postgres = await startPostgres(scope, { port: PORT + 60, own: true, settings: fastSettings });
  const member = new Member(scope, {
    port: PORT + 70,
    env: { DATABASE_URL: postgres.dsn, JOURNAL_MAX_BYTES: '64MiB' },
  });
  await member.start();
  const get = async (path: string) => {
    const answer = await fetch(`${member.url}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  await expect.poll(async () => (await get('/readyz')).status).toBe(200);
  const clients = new Clients({ seed, urls: () => [member.url] });
  const sending = clients.run();
  await expect.poll(() => clients.accepted).toBeGreaterThan(50);
  await postgres.kill9();
  await expect.poll(async () => (await get('/readyz')).text).toMatch(/"store".*(refused|ECONNREFUSED|cannot)/s);
  expect(await get('/readyz')).toMatchObject({ status: 503 });
  expect(await get('/readyz?sinks=ignore')).toMatchObject({ status: 200 });
  const before = clients.accepted;
  await sleep(process.env['LONG'] ? 20_000 : 2000);
  expect(clients.accepted).toBeGreaterThan(before);
  expect(await get('/stats?site_id=berlin&date=2025-03-30')).toMatchObject({ status: 503 });
  await postgres.restart();
  await expect.poll(async () => (await get('/readyz')).status, { timeout: PATIENCE_MS }).toBe(200);
  clients.end();
  await sending;
  await atRest(postgres.dsn, clients);
  console.log(await assertAllCounted(postgres.dsn, member.url, clients));
});

// Goal: a month without a partition costs nothing but a move. Method: the partition goes after the load has seen it, and
// events of it come; the process is killed, and its next life mends what it finds although no event of that month comes
// and the hour's job is done.
test("this month's partition is gone: rows wait in the default partition and are moved", async () => {
  const postgres = await startPostgres(scope, { port: PORT + 80, own: true, settings: fastSettings });
  const member = new Member(scope, { port: PORT + 90, env: { DATABASE_URL: postgres.dsn, PG_FLUSH_MS: '20ms' } });
  await member.start();
  const link = await openLink(postgres.dsn);
  onTestFinished(() => link.close());
  const ready = async () => {
    const answer = await fetch(`${member.url}/readyz`);
    await answer.arrayBuffer();
    return answer.status;
  };
  await expect.poll(ready).toBe(200);
  const rows = async (table: string) =>
    (await link.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).rows[0]!.n;
  const send = async (clients: Clients) => {
    const sending = clients.run();
    await expect.poll(() => clients.accepted).toBeGreaterThan(100);
    clients.end();
    await sending;
  };
  const clients = new Clients({ seed, urls: () => [member.url] });
  const { rows: found } = await link.query<{ name: string }>(
    "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM') AS name",
  );
  const month = found[0]!.name;
  // The load has seen the month by now, and does not ask again whether it is there.
  await fetch(`${member.url}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ site_id: 'first', event_type: 'signup' }),
  });
  await expect.poll(() => rows('events')).toBe(1);
  await link.query(`DROP TABLE events_${month}; DELETE FROM event_ids; TRUNCATE outcome_hours, accepted_hours`);
  await link.query('DELETE FROM rollups; DELETE FROM visitor_days; DELETE FROM site_days; DELETE FROM user_gaps');
  await send(clients);
  await expect.poll(() => rows('events_default')).toBeGreaterThan(0);
  await member.kill();
  await member.start();
  await expect.poll(() => rows('events_default'), { timeout: PATIENCE_MS }).toBe(0);
  await expect.poll(ready, { timeout: PATIENCE_MS }).toBe(200);
  expect(await rows(`events_${month}`)).toBeGreaterThan(0);
  await atRest(postgres.dsn, clients);
  console.log(await assertAllCounted(postgres.dsn, member.url, clients));
});
