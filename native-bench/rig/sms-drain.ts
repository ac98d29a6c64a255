/**
 * Delivers a backlog with one process of the SMS gateway, both cores for it, Postgres, which is durable (fsync,
 * synchronous_commit), and a simulated operator that answers after 20 ms. Prints JSON.
 * node sms-drain.ts <main.js> <folder> <first port> <messages> <ms that the operator is away>
 *
 *   drain     a thousand customers with equal backlogs. The first fifth warms up; fairness is counted at half
 *   flood     one customer with all of it; beside it express messages come over HTTP, 50 a second, and the operator says
 *             when it took each: the time in the id to the operator's answer
 *   outage    the operator is away (sms-outage.ts)
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { shardOf } from '../../src/sms/delivery/shard.ts';
import { UlidMaker, ulidMs } from '../../src/sms/message/ulid.ts';
import { audit } from '../../src/sms/money/audit.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { migrateUp } from '../../src/store/postgres/migrate.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import { treeCpuUs } from './proc.ts';
import { outage, type SmsOutage } from './sms-outage.ts';
import { startPinned, stopChild, untilListening } from './subject.ts';

export interface SmsDrained {
  readonly messages: number;
  readonly perSecond: number;
  /** CPU us per message, of the gateway and of Postgres. */
  readonly gatewayUs: number;
  readonly postgresUs: number;
  /** Of a customer's messages when half was sent: the least and the most, beside the mean. */
  readonly fairness: readonly [number, number];
  /** Express messages beside the flood: how many, and their ms from acceptance to the operator, ascending. */
  readonly expressMs: readonly number[];
  /** Of the flood, while express came. */
  readonly floodPerSecond: number;
  /** Messages that the operator took more than once. */
  readonly twice: number;
  readonly outage: SmsOutage;
  /** Figures of customers that differ from the ledger after all of it. */
  readonly differences: number;
}

const migrations = new URL('../../src/sms/migrations/', import.meta.url);
const CUSTOMERS = 1000;
const OPERATOR_MS = 20;
const WARM = 0.2;
const STALLED_MS = 120_000;
const PAGE = 5000;

type Taken = readonly (readonly [string, string, number])[];

/** Rows as accepting leaves them, of customers in turn. */
async function fill(link: PostgresLink, customers: readonly string[], messages: number): Promise<void> {
  const maker = new UlidMaker();
  for (let from = 0; from < messages; from += PAGE) {
    const rows = Array.from({ length: Math.min(PAGE, messages - from) }, (_, i) => {
      const id = maker.make(Date.now());
      return { id, ms: ulidMs(id)!, customer: customers[(from + i) % customers.length]! };
    });
    await link.query(
      `WITH given AS (
         SELECT * FROM unnest($1::text[], $2::float8[], $3::text[], $4::int2[]) AS g (id, ms, customer, shard)
       ), logs AS (
         INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, sender, body, segments, cost, valid_until)
           SELECT to_timestamp(ms / 1000), id, customer, '+989121234567', customer, 'A message of usual length.', 1, 1,
             now() + interval '1 day' FROM given
       ), ledger AS (
         INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
           SELECT customer, 'reserve', 'available', 'reserved', 1, id FROM given
       ), queued AS (
         INSERT INTO sms_queue (message_id, customer_id, shard, express, segments, recipient, accepted_ms, valid_ms, due_ms)
           SELECT id, customer, shard, false, 1, '+989121234567', ms, ms + 86400000, ms FROM given
       )
       UPDATE customers c SET balance = balance - n, reserved = reserved + n, waiting = waiting + n
         FROM (SELECT customer, count(*) AS n FROM given GROUP BY customer) s WHERE customer_id = s.customer`,
      [
        rows.map(({ id }) => id),
        rows.map(({ ms }) => ms),
        rows.map(({ customer }) => customer),
        rows.map(({ customer }) => shardOf(customer)),
      ],
    );
  }
  await link.query('VACUUM ANALYZE sms_queue');
  await link.query('ANALYZE sms_logs');
}

async function addCustomers(link: PostgresLink, ids: readonly string[], balance: number): Promise<void> {
  await link.query('INSERT INTO customers (customer_id, balance) SELECT id, $2 FROM unnest($1::text[]) id', [
    ids,
    balance,
  ]);
  await link.query(
    `INSERT INTO balance_txn (customer_id, kind, debit, credit, amount)
       SELECT id, 'credit', 'external', 'available', $2 FROM unnest($1::text[]) id`,
    [ids, balance],
  );
}

async function main(): Promise<void> {
  const [program = '', dir = '', port = '', given = '', awayMs = '0'] = process.argv.slice(2);
  const messages = Number(given);
  const first = Number(port);
  const undo: (() => unknown)[] = [];
  const scope = { onTestFinished: (end: () => unknown) => void undo.push(end) };
  try {
    const postgres = await startPostgres(scope, { port: first + 1, own: true, settings: { shared_buffers: '512MB' } });
    const operatorUrl = `http://127.0.0.1:${first + 2}`;
    const start = (name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
      startPinned({ command: process.execPath, args, env, cwd: dir, core: '0,1', messages: join(dir, `${name}.log`) });
    const startOperator = async () => {
      const child = start('operator', [
        join(import.meta.dirname, 'sms-operator.ts'),
        String(first + 2),
        String(OPERATOR_MS),
      ]);
      undo.push(() => stopChild(child));
      await untilListening(child, first + 2, join(dir, 'operator.log'));
      return child;
    };
    const operator = await startOperator();
    await migrateUp({ dsn: postgres.dsn, service: 'sms', folder: migrations, tell: () => undefined });
    const link = await openLink(postgres.dsn, { queryTimeoutMs: 600_000 });
    undo.push(() => link.close());
    const many = Array.from({ length: CUSTOMERS }, (_, n) => `c${n}`);
    await addCustomers(link, [...many, 'flood', 'bank'], 100_000_000);
    const gateway = async () => {
      const child = start('gateway', [program, 'sms', 'all'], {
        SERVER_ADDR: `127.0.0.1:${first}`,
        ACCEPTORS: '1',
        ACCESS: 'open',
        REPORTS: 'off',
        REPORTING_ADDR: `127.0.0.1:${first + 3}`,
        PG_DSN: postgres.dsn,
        OPERATORS: JSON.stringify([
          { name: 'mci', driver: 'http', url: `${operatorUrl}/messages`, window: 1000, timeout_ms: 10_000 },
        ]),
        KEY_PEPPER: '0123456789abcdef0123456789abcdef',
      });
      undo.push(() => stopChild(child));
      await untilListening(child, first, join(dir, 'gateway.log'));
      return child;
    };
    const ask = async (path: string) => (await fetch(`${operatorUrl}${path}`)).text();
    const until = async (count: number): Promise<void> => {
      const began = performance.now();
      while (Number(await ask('/seen')) < count) {
        if (performance.now() - began > STALLED_MS)
          throw new Error(`the backlog is not delivered: ${await ask('/seen')}`);
        await delay(50);
      }
    };

    await fill(link, many, messages);
    let service = await gateway();
    const cpu = () => [treeCpuUs(service.pid!), treeCpuUs(postgres.pid)] as const;
    await until(WARM * messages);
    const [beganUs, began, warm] = [cpu(), performance.now(), Number(await ask('/seen'))];
    await until(messages);
    const seconds = (performance.now() - began) / 1000;
    const endUs = cpu();
    const taken = JSON.parse(await ask('/taken')) as Taken;
    const half = new Map(many.map((id) => [id, 0]));
    for (const [, customer] of taken.slice(0, messages / 2)) half.set(customer, half.get(customer)! + 1);
    const mean = messages / 2 / CUSTOMERS;
    const settled = async () => {
      while ((await link.query('SELECT FROM sms_queue LIMIT 1')).rowCount !== 0) await delay(50);
    };
    await settled();
    await stopChild(service);

    await fill(link, ['flood'], messages);
    service = await gateway();
    await until(WARM * messages);
    const floodBegan = performance.now();
    const before = Number(await ask('/seen'));
    const flooded = async () => Number(await ask('/seen')) - before;
    let express = 0;
    while ((await flooded()) < messages * (1 - WARM) * 0.8) {
      const body = JSON.stringify({
        customer_id: 'bank',
        sender: 'bank',
        to: '+989121234567',
        text: 'code',
        type: 'express',
      });
      await fetch(`http://127.0.0.1:${first}/v1/sms/send`, { method: 'POST', body });
      express += 1;
      await delay(20);
    }
    const floodSeconds = (performance.now() - floodBegan) / 1000;
    const floodCount = await flooded();
    await until(messages + express);
    const all = JSON.parse(await ask('/taken')) as Taken;
    await settled();
    const counts = new Map<string, number>();
    for (const [id] of [...taken, ...all]) counts.set(id, (counts.get(id) ?? 0) + 1);
    const stopped = await outage({
      ...{ link, url: `http://127.0.0.1:${first}`, customers: many, awayMs: Number(awayMs) },
      leave: async () => void (await stopChild(operator)),
      comeBack: async () => void (await startOperator()),
    });
    for (const [id] of JSON.parse(await ask('/taken')) as Taken) counts.set(id, (counts.get(id) ?? 0) + 1);
    const out: SmsDrained = {
      outage: stopped,
      differences: (await audit(link)).differences.length,
      messages,
      perSecond: (messages - warm) / seconds,
      gatewayUs: (endUs[0] - beganUs[0]) / (messages - warm),
      postgresUs: (endUs[1] - beganUs[1]) / (messages - warm),
      fairness: [Math.min(...half.values()) / mean, Math.max(...half.values()) / mean],
      expressMs: all
        .filter(([, customer]) => customer === 'bank')
        .map(([id, , ms]) => ms - ulidMs(id)!)
        .sort((a, b) => a - b),
      floodPerSecond: floodCount / floodSeconds,
      twice: [...counts.values()].filter((count) => count > 1).length,
    };
    process.stdout.write(JSON.stringify(out));
  } finally {
    for (const end of undo.reverse()) await end();
  }
}

await main();
