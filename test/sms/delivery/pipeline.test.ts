/**
 * Goal: what was accepted reaches an operator once, by the built service, whatever process dies.
 * Method: a real Postgres, an operator with an HTTP API in this process that counts what it takes, kill -9.
 */

import { expect, test } from 'vitest';
import { noteFinding } from '../../../src/sms/findings.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { type HttpOperator, startHttpOperator } from '../../servers/http-operator.ts';
import { startKafka } from '../../servers/kafka.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { auditedTables } from '../audited-tables.ts';
import { addCustomer } from '../database.ts';
import { type RunningSms, startSms } from '../running.ts';
import { delay, statesOf } from './fixture.ts';

let server: PostgresServer;
let link: PostgresLink;
auditedTables(22_920, (...started) => {
  [server, link] = started;
});

const wait = { timeout: 60_000, interval: 50 };
const environment = (operator: HttpOperator): Record<string, string> => ({
  ACCESS: 'open',
  CALL_TIMEOUT_MS: '4s',
  OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url, timeout_ms: 3000, window: 200 }]),
});

async function sendBatch({ url }: RunningSms, count: number, more: object = {}): Promise<string[]> {
  const messages = Array.from({ length: count }, () => ({
    customer_id: 'ada',
    to: '+989121234567',
    text: 'hi',
    ...more,
  }));
  const response = await fetch(`${url}/v1/sms/batch`, { method: 'POST', body: JSON.stringify({ messages }) });
  const { results } = (await response.json()) as { results: { message_id: string }[] };
  return results.map(({ message_id }) => message_id);
}

test('one process without Kafka: accepted, sent, told', async (t) => {
  await addCustomer(link, 'ada', { balance: 1000 });
  const operator = await startHttpOperator(t);
  const sms = await startSms(t, { port: 22_921, dsn: server.dsn, env: environment(operator) });
  const normal = await sendBatch(sms, 300);
  const express = await sendBatch(sms, 20, { type: 'express' });
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 320 });
  expect(operator.taken.map(({ message_id }) => message_id).sort()).toEqual([...normal, ...express].sort());
  // Counted when the transaction has committed, a moment after others see it.
  const metrics = async () => (await fetch(`${sms.url}/metrics`)).text();
  await expect.poll(metrics, wait).toMatch(/ringmain_sms_outcomes_total\{lane="express",outcome="sent"\} 20/);
  expect(await metrics()).toMatch(/ringmain_sms_worker_shards 64/);
  expect(await metrics()).toMatch(/sms_accepted_total\{lane="express",operator="mci"\} 20/);
  // REPORTS=off: nobody is called for reports.
  expect(await metrics()).toMatch(/ringmain_sms_reports_up 1/);
  // Another process found it.
  await noteFinding(link, 'audit_differences', 3);
  await expect.poll(metrics, wait).toMatch(/sms_audit_differences 3/);
  await expect
    .poll(async () => (await link.query('SELECT FROM sms_outbox UNION ALL SELECT FROM sms_queue')).rowCount, wait)
    .toBe(0);
  await sms.end();
});

test('two processes share the customers; one is killed while it sends, again and again: nothing is sent twice', async (t) => {
  for (let n = 0; n < 20; n += 1) await addCustomer(link, `c${n}`, { balance: 10_000 });
  const operator = await startHttpOperator(t, { delayMs: 20 });
  const env = environment(operator);
  const [stays, first] = await Promise.all([
    startSms(t, { port: 22_922, dsn: server.dsn, env }),
    startSms(t, { port: 22_923, dsn: server.dsn, env }),
  ]);
  let dies = first;
  const accepted: string[] = [];
  for (let round = 0; round < 2; round += 1) {
    for (let n = 0; n < 10; n += 1) {
      const to = round % 2 === 0 ? dies : stays;
      accepted.push(...(await sendBatch(to, 50, { customer_id: `c${n * 2 + (round % 2)}` })));
    }
    await delay(150 + 100 * round);
    await dies.process.end('SIGKILL');
    dies = await startSms(t, { port: 22_923, dsn: server.dsn, env, folder: dies.folder });
  }
  await expect.poll(() => statesOf(link), { timeout: 60_000, interval: 100 }).toEqual({ sent: 1000 });
  expect(operator.twice).toEqual([]);
  expect(new Set(operator.taken.map(({ message_id }) => message_id))).toEqual(new Set(accepted));
  await Promise.all([stays.end(), dies.end()]);
});

test('with Kafka: an api and two workers, and the death of each of them', async (t) => {
  for (let n = 0; n < 20; n += 1) await addCustomer(link, `c${n}`, { balance: 10_000 });
  const kafka = await startKafka(t, { port: 26_650, own: true, properties: { 'group.min.session.timeout.ms': 1000 } });
  const operator = await startHttpOperator(t, { delayMs: 20 });
  const env = {
    ...environment(operator),
    KAFKA_BROKERS: kafka.brokers.join(','),
    // So long the partitions of a killed worker wait for the other one.
    KAFKA_SESSION_TIMEOUT_MS: '2s',
  };
  let api = await startSms(t, { role: 'api', port: 22_924, dsn: server.dsn, env });
  // Ready, for it accepts; that nobody sends is a figure, and an alert.
  const unowned = async () =>
    Number(/^ringmain_sms_shards_unowned (\d+)$/m.exec(await (await fetch(`${api.url}/metrics`)).text())?.[1]);
  await expect.poll(unowned, wait).toBe(64);
  let one = await startSms(t, { role: 'worker', port: 22_925, dsn: server.dsn, env });
  await expect.poll(unowned, wait).toBe(0);
  const two = await startSms(t, { role: 'worker', port: 22_926, dsn: server.dsn, env });
  const accepted: string[] = [];
  const load = async (type: string) => {
    for (let n = 0; n < 20; n += 1) accepted.push(...(await sendBatch(api, 20, { customer_id: `c${n}`, type })));
  };
  await load('normal');
  await load('express');
  await one.process.end('SIGKILL');
  await api.process.end('SIGKILL');
  [one, api] = await Promise.all([
    startSms(t, { role: 'worker', port: 22_925, dsn: server.dsn, env, folder: one.folder }),
    startSms(t, { role: 'api', port: 22_924, dsn: server.dsn, env, folder: api.folder }),
  ]);
  await load('normal');
  await expect.poll(() => statesOf(link), { timeout: 90_000, interval: 100 }).toEqual({ sent: 1200 });
  expect(operator.twice).toEqual([]);
  expect(new Set(operator.taken.map(({ message_id }) => message_id))).toEqual(new Set(accepted));
  // Nobody reads sms.status here: it has an outcome of every message, at least once.
  await expect.poll(async () => (await link.query('SELECT FROM sms_outbox')).rowCount, wait).toBe(0);
  await Promise.all([api.end(), one.end(), two.end()]);
});
