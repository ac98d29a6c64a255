/**
 * Goal: records of the topics come into ClickHouse by both ways, by its own Kafka engine and by the output of the role
 * `reporting`; a change from one to the other, and records that are produced twice, count nothing twice.
 * Method: a real Kafka; chdb stands for the ClickHouse server (its engine is the same, Kafka tables included).
 *
 * Goal: whatever becomes of reporting, or of its chdb, messages are accepted and delivered meanwhile, and in the end
 * reports are what the books say, message by message.
 * Method: api and worker apart from reporting, with Kafka between them; kill -9, and a chdb that answers nothing.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { Connection, leaveGroupV5 } from '@platformatic/kafka';
import { beforeAll, expect, test } from 'vitest';
import { failedOf, resend } from '../../../src/sms/delivery/resend.ts';
import type { TimeRow } from '../../../src/sms/reports/contract.ts';
import { byMinute } from '../../../src/sms/reports/queries.ts';
import { DAY_MS, isoOf } from '../../../src/sms/reports/range.ts';
import { migrateReports } from '../../../src/sms/reports/schema.ts';
import { Clients, compareBooks, impatient, untilEnded } from '../../faults/sms-rig.ts';
import { startTestChdb } from '../../servers/chdb.ts';
import { chdbFolder } from '../../servers/chdb-folder.ts';
import { startHttpOperator } from '../../servers/http-operator.ts';
import { startKafka } from '../../servers/kafka.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { client, makeTopic } from '../../servers/topics.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { ADMIN_KEY, startSms } from '../running.ts';
import { accepted, became, DAY } from './records.ts';

/** KAFKA_PREFIX: of this installation. */
const PREFIX = 'here.';

const file = fileScope();
let brokers: readonly string[];
let postgres: PostgresServer;

beforeAll(async () => {
  [{ brokers }, postgres] = await Promise.all([
    // So that the partitions of a killed process wait two seconds for the next one, not six.
    startKafka(file, { port: 24_870, own: true, properties: { 'group.min.session.timeout.ms': 1000 } }),
    startDatabase(file, 24_886),
  ]);
}, 300_000);

/**
 * Takes the consumer of a Kafka engine that was dropped out of the group, as the group does by itself when it has been
 * silent for its session of 45 s.
 */
async function forgetEngine(group: string): Promise<void> {
  const admin = client(brokers[0]!).admin();
  await admin.connect();
  const { groups } = await admin.describeGroups([group]).finally(() => admin.disconnect());
  const silent = groups[0]!.members.filter(({ clientId }) => clientId.startsWith('ClickHouse-'));
  const [host, port] = brokers[0]!.split(':');
  const connection = new Connection('test');
  await connection.connect(host!, Number(port));
  // It may have left meanwhile.
  for (const { memberId } of silent)
    await leaveGroupV5.api.async(connection, group, [{ memberId, groupInstanceId: null }]).catch(() => undefined);
  await connection.close();
}

test('by the Kafka engine of the server, and then by the role reporting', async (t) => {
  const chdb = await startTestChdb(t, 24_880);
  for (const topic of ['sms.accepted', 'sms.status', `${PREFIX}sms.accepted`, `${PREFIX}sms.status`])
    await makeTopic(brokers[0]!, topic, 2);
  const producer = client(brokers[0]!).producer();
  await producer.connect();
  t.onTestFinished(() => producer.disconnect());
  const send = async (topic: string, records: readonly object[]) => {
    const messages = records.map((record) => ({ key: 'ada', value: JSON.stringify(record) }));
    await producer.send({ topic: PREFIX + topic, messages: [...messages, { key: 'ada', value: 'no JSON' }] });
  };
  const messages = Array.from({ length: 200 }, (_, i) => accepted(i, DAY + i));
  const [first, second] = [messages.slice(0, 100), messages.slice(100)];
  const counts = async () => {
    const [row] = await chdb.client.rows<{ messages: number; states: number }>(
      'SELECT uniqExact(message_id) AS messages, uniqExact(message_id, status) AS states FROM sms_raw',
    );
    return [row!.messages, row!.states];
  };

  await migrateReports(chdb.client, { brokers, prefix: PREFIX });
  // Of another installation on this Kafka: not for these reports, by either way.
  const others = Array.from({ length: 10 }, (_, i) => accepted(1000 + i, DAY + i));
  await producer.send({
    topic: 'sms.accepted',
    messages: others.map((record) => ({ key: 'bob', value: JSON.stringify(record) })),
  });
  await send('sms.accepted', first);
  await send(
    'sms.status',
    first.map((message) => became(message, 'sent', message.at + 50)),
  );
  await expect.poll(counts, { timeout: 60_000 }).toEqual([100, 200]);
  const [raw] = await chdb.client.rows<{ operator: string; accepted_at: number; type: string }>(
    `SELECT operator, accepted_at, type FROM sms_raw WHERE status = 'accepted' ORDER BY message_id LIMIT 1`,
  );
  assert.deepEqual(raw, { operator: '', accepted_at: DAY, type: 'normal' });

  const env = {
    REPORTS: 'on',
    REPORTS_EVERY_MS: '200ms',
    REPORTING_ADDR: '127.0.0.1:24888',
    CLICKHOUSE_URL: chdb.url,
    KAFKA_BROKERS: brokers.join(','),
    KAFKA_PREFIX: PREFIX,
    // The records are of a day that lies as far back as this test is old.
    REPORTS_RAW_DAYS: '36500',
  };
  const reporting = await startSms(t, { port: 24_888, dsn: postgres.dsn, role: 'reporting', env });
  await expect.poll(() => chdb.client.rows(`SELECT name FROM system.tables WHERE name LIKE 'sms_queue%'`)).toEqual([]);
  await forgetEngine(`${PREFIX}sms-reporting`);
  await send('sms.accepted', [...second, ...first]);
  await send(
    'sms.status',
    [...second, ...first].map((message) => became(message, 'sent', message.at + 50)),
  );
  await expect.poll(counts, { timeout: 60_000 }).toEqual([200, 400]);
  const report = async () => byMinute(chdb.client, { from: DAY, to: DAY + DAY_MS }, 'ada');
  await expect.poll(async () => (await report())[0]).toMatchObject({ accepted: 200, sent: 200, cost: 600 });
  // Sums of days are written after those of minutes.
  const ofDay = async (): Promise<unknown> => {
    const answer = await fetch('http://127.0.0.1:24888/v1/reports/day?from=2026-11-28&to=2026-11-29', {
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    return answer.json();
  };
  await expect.poll(ofDay).toMatchObject({ customer_id: null, rows: [{ accepted: 200, sent: 200 }] });
  // In order, so that the next of its group need not wait until this one is taken for dead.
  await reporting.end();
});

/** The process of chdb that this one has started. */
function chdbOf(parent: number): number | undefined {
  const read = (pid: string, name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'latin1');
    } catch {
      return '';
    }
  };
  const found = readdirSync('/proc').find((pid) => {
    if (!/^[0-9]+$/.test(pid)) return false;
    const stat = read(pid, 'stat');
    const [, state, of] = stat.slice(stat.lastIndexOf(')') + 1).split(' ');
    return Number(of) === parent && state !== 'Z' && read(pid, 'cmdline').includes('chdb/server');
  });
  return found === undefined ? undefined : Number(found);
}

test('kill -9 of reporting and of chdb, and a chdb that hangs: delivery goes on, and reports come to the books', async (t) => {
  const customers = ['whale', 'small'];
  const link = await openLink(postgres.dsn);
  t.onTestFinished(() => link.close());
  for (const id of customers) await addCustomer(link, id, { balance: 1_000_000 });
  let calls = 0;
  const api = 'http://127.0.0.1:24889';
  const operator = await startHttpOperator(t, {
    token: 'token-of-mci-for-tests',
    receipts: { url: api, name: 'mci' },
    judge: () => (++calls % 7 === 0 ? 'refuse' : calls % 41 === 0 ? 'cut' : 'take'),
  });
  const shared = { KAFKA_BROKERS: brokers.join(','), KAFKA_SESSION_TIMEOUT_MS: '2s' };
  const mci = { name: 'mci', driver: 'http', url: operator.url, token: 'token-of-mci-for-tests', timeout_ms: 1000 };
  const sending = { ...impatient, ...shared, OPERATORS: JSON.stringify([mci]) };
  const wishes = {
    port: 24_883,
    dsn: postgres.dsn,
    role: 'reporting',
    env: {
      ...shared,
      REPORTS: 'on',
      REPORTS_EVERY_MS: '200ms',
      REPORTING_ADDR: '127.0.0.1:24883',
      CHDB_DIR: await chdbFolder(),
      CHDB_PORT: '24884',
      HTTP_SINK_TIMEOUT_MS: '2s',
    },
  };
  const [, first] = await Promise.all([
    startSms(t, { port: 24_889, dsn: postgres.dsn, env: sending }),
    startSms(t, wishes),
  ]);
  let reporting = first;

  const day = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const range = `from=${isoOf(day)}&to=${isoOf(day + 2 * DAY_MS)}`;
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const ask = (path: string) => fetch(`${reporting.url}${path}`, { headers }).catch(() => undefined);
  const wait = { timeout: 180_000, interval: 100 };
  const clients = new Clients(() => api, customers, 18);
  const ofDay = async (customer: string) => {
    const answer = await ask(`/v1/reports/day?${range}&customer_id=${customer}`);
    return answer?.status === 200 ? ((await answer.json()) as { rows: TimeRow[] }).rows : undefined;
  };
  /** Reports have what was answered until now; the process of chdb that they are from. */
  const catchUp = async (): Promise<number> => {
    const answered = clients.answered.size;
    const accepted = async () => {
      const rows = await Promise.all(customers.map(ofDay));
      return rows.reduce((sum, found) => sum + (found?.[0]?.accepted ?? 0), rows.includes(undefined) ? -1e9 : 0);
    };
    await expect.poll(accepted, wait).toBeGreaterThanOrEqual(answered);
    return chdbOf(reporting.process.pid)!;
  };
  /** Messages are accepted and delivered, whatever else happens. */
  const goesOn = async () => {
    const [accepted, taken] = [clients.answered.size, operator.taken.length];
    const more = () => Math.min(clients.answered.size - accepted, operator.taken.length - taken);
    await expect.poll(more, wait).toBeGreaterThan(40);
  };

  await catchUp();
  clients.start(3, 20);
  await goesOn();
  await reporting.process.end('SIGKILL');
  await goesOn();
  reporting = await startSms(t, { ...wishes, folder: reporting.folder });
  const killed = await catchUp();

  process.kill(killed, 'SIGKILL');
  await goesOn();
  await expect.poll(() => chdbOf(reporting.process.pid) ?? killed, wait).not.toBe(killed);
  const hung = await catchUp();

  // Longer than an insert may take: it is made again, and may have been made.
  const failures = async () =>
    Number(/sink_failures_total\{sink="reports",class="retry"\} (\d+)/.exec(await (await ask('/metrics'))!.text())![1]);
  const before = await failures();
  process.kill(hung, 'SIGSTOP');
  t.onTestFinished(() => void (chdbOf(reporting.process.pid) === hung && process.kill(hung, 'SIGCONT')));
  await goesOn();
  await expect.poll(failures, wait).toBeGreaterThan(before);
  process.kill(hung, 'SIGCONT');

  await clients.stop();
  await untilEnded(postgres.dsn);
  const { sent, failed } = await compareBooks(link, [operator], clients.answered);
  assert.ok(sent > 200 && failed > 30, `sent=${sent}, failed=${failed}`);
  operator.judge = undefined;
  await resend(link, await failedOf(link, 'whale', '', 20), Date.now());
  await untilEnded(postgres.dsn);
  for (const { message_id } of operator.taken.slice(0, 40)) await operator.receipt(message_id, 'delivered');

  const { rows: books } = await link.query(
    `SELECT message_id, customer_id, status, coalesce(operator, '') AS operator, attempts,
       CASE money WHEN 'refunded' THEN 0 ELSE cost::int END AS cost
     FROM sms_logs WHERE customer_id = ANY ($1) ORDER BY message_id`,
    [customers],
  );
  const exported = async () => {
    const text = await (await ask(`/v1/export?format=jsonl&${range}`))?.text();
    const lines = (text ?? '').split('\n').filter((line) => line.startsWith('{'));
    return lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((row) => customers.includes(row['customer_id'] as string))
      .map(({ message_id, customer_id, status, operator: by, attempts, cost }) => ({
        ...{ message_id, customer_id, status, operator: by, attempts, cost },
      }))
      .sort((a, b) => ((a.message_id as string) < (b.message_id as string) ? -1 : 1));
  };
  await expect.poll(exported, wait).toEqual(books);
  for (const customer of customers) {
    const { rows: sums } = await link.query(
      `SELECT count(*)::int AS accepted, count(sent_at)::int AS sent,
         count(*) FILTER (WHERE status = 'delivered')::int AS delivered,
         count(*) FILTER (WHERE status = 'failed')::int AS failed,
         count(*) FILTER (WHERE status = 'unknown')::int AS unknown,
         sum(CASE money WHEN 'refunded' THEN 0 ELSE cost END)::int AS cost
       FROM sms_logs WHERE customer_id = $1`,
      [customer],
    );
    await expect.poll(() => ofDay(customer), wait).toEqual([expect.objectContaining(sums[0]!)]);
  }
});
