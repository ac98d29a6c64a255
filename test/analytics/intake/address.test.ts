/**
 * Goal: an address of a client is in memory only, whatever way its event takes.
 * Method: send events by every route with addresses that occur nowhere else, through a real Kafka into a real Postgres;
 * then look for their bytes in every file of the process, in the topic, and in every column of every table.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startKafka } from '../../servers/kafka.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { consumeAll } from '../../sinks/kafka/events.ts';
import { startAnalytics } from '../running.ts';

const four = '203.0.113.77';
const six = '2001:db8:77aa::1234';
const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 CanaryBrowser';
const EVENTS = 8;

/** What of a request must not be found; the address also as raw bytes and as a number. */
const canaries: readonly Buffer[] = [
  Buffer.from(four),
  Buffer.from(four.split('.').map(Number)),
  Buffer.from(String(0xcb00714d)),
  Buffer.from(six),
  Buffer.from('2001:0db8:77aa'),
  Buffer.from('20010db877aa', 'hex'),
  Buffer.from('CanaryBrowser'),
  Buffer.from('CanaryCookie'),
];
const found = (bytes: Buffer) => canaries.filter((canary) => bytes.includes(canary)).map(String);

test('no address, user agent or cookie of a client gets into journal, topic, table or log', async (t) => {
  const [kafka, postgres] = await Promise.all([
    startKafka(t, { port: 23_360 }),
    startPostgres(t, { port: 23_370, settings: fastSettings }),
  ]);
  const env = { DATABASE_URL: postgres.dsn, KAFKA_BROKER_URLS: kafka.brokers.join(','), TRUST_PROXY: 'true' };
  const { url, folder, process } = await startAnalytics(t, { port: 23_380, env });
  for (const address of [four, six]) {
    const headers = {
      'x-forwarded-for': address,
      'user-agent': agent,
      cookie: 'sid=CanaryCookie',
      'content-type': 'application/json',
      referer: 'https://s/page',
    };
    const send = (path: string, body?: unknown) =>
      fetch(`${url}${path}`, {
        headers,
        method: body === undefined ? 'GET' : 'POST',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    const old = new Date(Date.now() - 400 * 86_400_000).toISOString();
    const answers = [
      await send('/px.gif?site_id=s'),
      await send('/collect', [{ url: 'https://s/a' }, { props: { site_id: 's' }, ts: old }]),
      await send('/events', { site_id: 's', event_type: 'page_view' }),
      // Refused ones are told about, and their requests must not be.
      await send('/events', { site_id: '' }),
      await send('/px.gif?e=nothing&url=x'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 202, 202, 400, 200]);
  }
  const client = new pg.Client({ connectionString: postgres.dsn });
  await client.connect();
  t.onTestFinished(() => client.end());
  const count = async () => (await client.query<{ n: number }>('SELECT count(*)::int AS n FROM events')).rows[0]!.n;
  await expect.poll(count, { timeout: 60_000, interval: 100 }).toBe(EVENTS);

  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
  const journal = files.map((file) => readFileSync(join(file.parentPath, file.name)));
  expect(
    journal.some((bytes) => bytes.includes('"site_id":"s"')),
    'the journal is among the files',
  ).toBe(true);
  for (const [index, bytes] of journal.entries()) expect(found(bytes), files[index]!.name).toEqual([]);
  expect(found(Buffer.from(process.log))).toEqual([]);

  const records = await consumeAll(kafka.brokers, 'events');
  expect(records).toHaveLength(EVENTS);
  for (const { key, value, headers } of records)
    expect(found(Buffer.from(`${key} ${value} ${JSON.stringify(headers)}`))).toEqual([]);

  const { rows: tables } = await client.query<{ name: string }>(
    "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'",
  );
  expect(tables.map(({ name }) => name)).toContain('visitor_salts');
  for (const { name } of tables) {
    const { rows } = await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
    for (const { row } of rows) expect(found(Buffer.from(row)), name).toEqual([]);
  }
  const { rows: visitors } = await client.query('SELECT count(DISTINCT visitor)::int AS n FROM events');
  expect(visitors, 'of each address: one of today, one of the old event').toEqual([{ n: 4 }]);
});
