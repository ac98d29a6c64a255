/**
 * Goal: roles that run apart, with Kafka between them, lose and double nothing either, and callers see what is promised
 * while Kafka, the operator or Postgres is away for ten seconds.
 * Method: two processes of api, two of worker, real Kafka and Postgres, an HTTP operator as the oracle; kill -9 of any of
 * them at random moments, then each outage in turn; then all books are compared.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, type TestContext, test } from 'vitest';
import { startHttpOperator } from '../servers/http-operator.ts';
import { startKafka } from '../servers/kafka.ts';
import { startPostgres } from '../servers/postgres.ts';
import { addCustomer, migrateSms, openLink } from '../sms/database.ts';
import { type RunningSms, type SmsWishes, startSms } from '../sms/running.ts';
import { type Answer, Clients, compareBooks, impatient, randomBy, temper, untilEnded } from './sms-rig.ts';

const KILLS = 3;
/** Of every other message: shorter than a kill and the start behind it. */
const VALIDITY_S = 1;
const CLIENTS = 6;
const AWAY_MS = 10_000;

/** A process that is killed and started again in its folder. */
class Killable {
  readonly #t: TestContext;
  readonly #wishes: SmsWishes;
  #running: RunningSms;

  private constructor(t: TestContext, wishes: SmsWishes, running: RunningSms) {
    this.#t = t;
    this.#wishes = { ...wishes, folder: running.folder };
    this.#running = running;
  }

  static async start(t: TestContext, wishes: SmsWishes): Promise<Killable> {
    return new Killable(t, wishes, await startSms(t, wishes));
  }

  get url(): string {
    return this.#running.url;
  }

  async kill(): Promise<void> {
    await this.#running.process.end('SIGKILL');
    this.#running = await startSms(this.#t, this.#wishes);
  }
}

test('kill -9 of api, worker and Kafka, then each server away for 10 s: each message ends once, money does not drift', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  console.info(`SEED=${seed}`);
  const random = randomBy(seed);
  const [kafka, postgres] = await Promise.all([
    startKafka(t, { port: 24_970, own: true, properties: { 'group.min.session.timeout.ms': 1000 } }),
    startPostgres(t, { port: 24_975, own: true }),
  ]);
  await migrateSms(postgres.dsn);
  const link = await openLink(postgres.dsn);
  const customers = ['whale', 'a', 'b', 'c', 'd'];
  for (const id of customers) await addCustomer(link, id, { balance: 1_000_000 });
  await link.close();
  const operator = await startHttpOperator(t, { judge: temper(random), delayMs: 5 });
  const env = {
    ...impatient,
    KAFKA_BROKERS: kafka.brokers[0]!,
    KAFKA_PARTITIONS: '4',
    KAFKA_SESSION_TIMEOUT_MS: '2s',
    OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url, timeout_ms: 1000 }]),
  };
  const start = (role: string, port: number) => Killable.start(t, { port, role, dsn: postgres.dsn, env });
  const [apis, workers] = await Promise.all([
    Promise.all([start('api', 24_976), start('api', 24_977)]),
    Promise.all([start('worker', 24_978), start('worker', 24_979)]),
  ]);
  let turn = 0;
  const clients = new Clients(() => apis[turn++ % apis.length]!.url, customers, seed, VALIDITY_S);
  clients.start(CLIENTS, 20);

  const [node] = kafka.nodes;
  const victims = [
    ...[...apis, ...workers].map((process) => () => process.kill()),
    async () => {
      await node!.kill9();
      await node!.start();
    },
  ];
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const before = clients.answered.size;
    await expect.poll(() => clients.answered.size, { timeout: 60_000 }).toBeGreaterThan(before + 50);
    await sleep(random() * 500);
    // Each of them once, in an order of chance.
    await victims.splice(Math.floor(random() * victims.length), 1)[0]!();
  }

  /** What callers are answered while something is away, and until it has come back. */
  const outage = async (leave: () => Promise<unknown>, back: () => Promise<unknown>): Promise<readonly Answer[]> => {
    await leave();
    const from = clients.answers.length;
    await sleep(AWAY_MS);
    const during = clients.answers.slice(from);
    await back();
    return during;
  };
  const statuses = (answers: readonly Answer[]) => [...new Set(answers.map(({ status }) => status))].sort();

  const withoutOperator = await outage(
    async () => {
      // Half of the calls are cut off, and half are answered 503: the default of MAX_RETRIES must outlast it.
      operator.judge = () => (random() < 0.5 ? 'drop' : 'away');
    },
    async () => {
      operator.judge = temper(random);
    },
  );
  assert.deepEqual(statuses(withoutOperator), [200], 'without an operator messages are accepted');
  assert.ok(withoutOperator.length > 50);

  const withoutKafka = await outage(
    () => node!.kill9(),
    () => node!.start(),
  );
  assert.deepEqual(statuses(withoutKafka), [200], 'without Kafka messages are accepted');
  assert.ok(withoutKafka.length > 50);

  const withoutPostgres = await outage(
    () => postgres.kill9(),
    () => postgres.restart(),
  );
  // What was under way when it died may have no answer but that nobody knows: 503 as well.
  assert.deepEqual(
    statuses(withoutPostgres).filter((status) => ![200, 503].includes(status)),
    [],
    'without Postgres messages are refused',
  );
  assert.ok(withoutPostgres.some(({ status }) => status === 503));
  const longest = Math.max(...withoutPostgres.map(({ ms }) => ms));
  assert.ok(longest < AWAY_MS, `nobody hangs: ${longest}`);

  await clients.stop();
  operator.judge = undefined;
  const begun = performance.now();
  await untilEnded(postgres.dsn, 90);
  const after = await openLink(postgres.dsn);
  t.onTestFinished(() => after.close());
  const books = await compareBooks(after, [operator], clients.answered);
  console.info(JSON.stringify({ ...books, drainedMs: Math.round(performance.now() - begun) }));
  assert.ok(books.sent > 300 && books.failed > 0, JSON.stringify(books));
  const { rows } = await after.query<{ n: number }>('SELECT count(*)::int AS n FROM sms_outbox');
  assert.equal(rows[0]!.n, 0, 'the outbox is empty');
  const { rows: tired } = await after.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM sms_logs WHERE reason LIKE 'MAX_RETRIES: status 503%'`,
  );
  assert.equal(tired[0]!.n, 0, 'an operator that takes nothing uses up no retry');
});
