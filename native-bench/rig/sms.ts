/** The API of the SMS gateway, its customers, what it is asked, and pgbench with one transaction for each send. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { runPinned } from './load.ts';
import { type Place, startPeer } from './peers.ts';
import { type HttpRequest, random, variety } from './request.ts';
import type { Subject } from './subject.ts';

const READY_MS_MAX = 30_000;
const BALANCE = 1_000_000_000_000;

/** Nobody listens there: the relay carries records into the journal, where they wait for Kafka. */
const NO_BROKER = '127.0.0.1:9';

/** The role api with one acceptor and its relay, open for everybody; ready when it takes messages. */
export async function startSms(
  name: string,
  tree: string,
  place: Place,
  env: Readonly<Record<string, string>>,
): Promise<Subject> {
  const how = {
    command: process.execPath,
    args: [join(tree, 'dist/main.js'), 'sms', 'api'],
    env: {
      SERVER_ADDR: `127.0.0.1:${place.port}`,
      ACCEPTORS: '1',
      ACCESS: 'open',
      BACKLOG_LIMIT: '1000000000',
      JOURNAL_DIR: join(place.dir, 'journal'),
      JOURNAL_MAX_BYTES: '8GiB',
      KAFKA_BROKERS: NO_BROKER,
      ...env,
    },
    cwd: place.dir,
  };
  const subject = await startPeer(name, place, how, []);
  const ready = async () => (await fetch(`${subject.url}/readyz?sinks=ignore`).catch(() => undefined))?.ok ?? false;
  for (const deadline = performance.now() + READY_MS_MAX; !(await ready()); await sleep(20))
    if (performance.now() > deadline) throw new Error(`${name} must be ready within ${READY_MS_MAX} ms`);
  return subject;
}

export const WHALE = 'whale';
export const customerName = (i: number): string => `c${i}`;

/** The whale and so many small customers, each with more money than a run spends. */
export async function fillCustomers(link: PostgresLink, count: number): Promise<void> {
  await link.query(
    `WITH made AS (
       INSERT INTO customers (customer_id, balance)
         SELECT '${WHALE}', $2::bigint UNION ALL SELECT 'c' || i, $2 FROM generate_series(0, $1::int - 1) i
         RETURNING customer_id, balance
     ) INSERT INTO balance_txn (customer_id, kind, debit, credit, amount)
         SELECT customer_id, 'credit', 'external', 'available', balance FROM made`,
    [count, BALANCE],
  );
  await link.query('VACUUM ANALYZE customers');
}

const TEXT = 'Your order 4711 is on its way and arrives tomorrow between 9 and 12. Track it: shop.example.com/t/4711';

const message = (next: () => number, customers: number) => ({
  customer_id: customers === 1 ? WHALE : customerName(Math.floor(next() * customers)),
  to: `+98912${String(Math.floor(next() * 10_000_000)).padStart(7, '0')}`,
  text: TEXT,
});

function post(path: string, body: unknown): HttpRequest {
  const text = JSON.stringify(body);
  const length = String(Buffer.byteLength(text));
  const headers = { Host: 'sms.example.com', 'Content-Type': 'application/json', 'Content-Length': length };
  return { method: 'POST', path, headers, body: text };
}

/** One message each. `customers` 1: all of the whale. */
export function sendRequests(customers: number): HttpRequest[] {
  const next = random(18);
  return Array.from({ length: 16 * variety }, () => post('/v1/sms/send', message(next, customers)));
}

export function batchRequests(customers: number, messages: number): HttpRequest[] {
  const next = random(19);
  return Array.from({ length: 64 }, () =>
    post('/v1/sms/batch', { messages: Array.from({ length: messages }, () => message(next, customers)) }),
  );
}

/** What a service without groups does for a send, as pgbench writes it; `one`: all of the whale. */
const script = (customers: number): string => `\\set c random(0, ${customers - 1})
BEGIN;
UPDATE customers SET balance = balance - 1, reserved = reserved + 1, waiting = waiting + 1
  WHERE customer_id = ${customers === 1 ? `'${WHALE}'` : "'c' || :c"} AND balance >= 1;
WITH m AS (
  INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, valid_until)
    VALUES (now(), gen_random_uuid()::text, ${customers === 1 ? `'${WHALE}'` : "'c' || :c"}, '+989121234567',
      '${TEXT}', 1, 1, now()) RETURNING customer_id, message_id
) INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
  SELECT customer_id, 'reserve', 'available', 'reserved', 1, message_id FROM m;
INSERT INTO sms_outbox (topic, records) VALUES ('sms.bench', 'c\t{"text":"${TEXT}"}');
END;
`;

export interface PgbenchResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Sends a second by pgbench, prepared statements, one transaction each. */
export async function pgbench(
  dsn: string,
  dir: string,
  { customers, clients, seconds }: { customers: number; clients: number; seconds: number },
): Promise<PgbenchResult> {
  const file = join(dir, `send-${customers}.sql`);
  writeFileSync(file, script(customers));
  const log = join(dir, `pgbench-${customers}-${clients}`);
  const out = await runPinned('pgbench', [
    '-n',
    '-M',
    'prepared',
    '-f',
    file,
    '-c',
    String(clients),
    '-T',
    String(seconds),
    '-l',
    `--log-prefix=${log}`,
    dsn,
  ]);
  const perSecond = Number(/^tps = ([\d.]+)/m.exec(out)?.[1]);
  return { perSecond, ...latencies(log) };
}

function latencies(log: string): { p50Ms: number; p99Ms: number } {
  const { dir, base } = { dir: join(log, '..'), base: log.split('/').at(-1)! };
  const files = readdirSync(dir).filter((name) => name.startsWith(`${base}.`));
  const us = files
    .flatMap((name) => readFileSync(join(dir, name), 'utf8').trim().split('\n'))
    .map((line) => Number(line.split(' ')[2]))
    .sort((a, b) => a - b);
  const at = (share: number) => us[Math.min(us.length - 1, Math.floor(share * us.length))]! / 1000;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}
