/**
 * Goal: what was accepted reaches an operator once, by the built service, whatever process dies.
 * Method: a real Postgres, an operator with an HTTP API in this process that counts what it takes, kill -9.
 */

import { beforeAll, expect, test } from 'vitest';
import { noteFinding } from '../../../src/sms/findings.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { type HttpOperator, startHttpOperator } from '../../servers/http-operator.ts';
import { startKafka } from '../../servers/kafka.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { client } from '../../servers/topics.ts';
import { auditedTables } from '../audited-tables.ts';
import { addCustomer } from '../database.ts';
import { type RunningSms, startSms } from '../running.ts';
import { delay, statesOf } from './fixture.ts';

let server: PostgresServer;
let link: PostgresLink;
auditedTables(22_920, (...started) => {
  [server, link] = started;
});

/** Starts of processes are most of what this file costs: the first two tests have a process and an operator in common. */
const file = fileScope();
let operator: HttpOperator;
let stays: RunningSms;
beforeAll(async () => {
  operator = await startHttpOperator(file, { delayMs: 20 });
  stays = await startSms(file, { port: 22_921, dsn: server.dsn, env: environment(operator) });
});

const wait = { timeout: 60_000, interval: 50 };
const environment = (operator: HttpOperator): Record<string, string> => ({
  ACCESS: 'open',
  // So long what a killed worker was sending waits until the operator is asked.
  CALL_TIMEOUT_MS: '2s',
  OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: operator.url, timeout_ms: 1500, window: 200 }]),
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

test('one process without Kafka: accepted, sent, told', async () => {
  await addCustomer(link, 'ada', { balance: 1000 });
  const normal = await sendBatch(stays, 300);
  const express = await sendBatch(stays, 20, { type: 'express' });
  await expect.poll(() => statesOf(link), wait).toEqual({ sent: 320 });
  expect(operator.taken.map(({ message_id }) => message_id).sort()).toEqual([...normal, ...express].sort());
  // Counted when the transaction has committed, a moment after others see it.
  const metrics = async () => (await fetch(`${stays.url}/metrics`)).text();
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
});

test('two processes share the customers; one is killed while it sends, again and again: nothing is sent twice', async (t) => {
  for (let n = 0; n < 20; n += 1) await addCustomer(link, `c${n}`, { balance: 10_000 });
  const env = environment(operator);
  const before = operator.taken.length;
  let dies = await startSms(t, { port: 22_923, dsn: server.dsn, env });
  const accepted: string[] = [];
  for (let round = 0; round < 2; round += 1) {
    for (let n = 0; n < 10; n += 1) {
      const to = round % 2 === 0 ? dies : stays;
      accepted.push(...(await sendBatch(to, 50, { customer_id: `c${n * 2 + (round % 2)}` })));
    }
    await delay(150 + 100 * round);
    await dies.process.end('SIGKILL');
    // The last time the other one is left with everything.
    if (round === 0) dies = await startSms(t, { port: 22_923, dsn: server.dsn, env, folder: dies.folder });
  }
  await expect.poll(() => statesOf(link), { timeout: 60_000, interval: 100 }).toEqual({ sent: 1000 });
  expect(operator.twice).toEqual([]);
  expect(new Set(operator.taken.slice(before).map(({ message_id }) => message_id))).toEqual(new Set(accepted));
  await stays.end();
});

test('with Kafka: an api and two workers, and the death of each of them', async (t) => {
  for (let n = 0; n < 20; n += 1) await addCustomer(link, `c${n}`, { balance: 10_000 });
  const kafka = await startKafka(t, { port: 26_650, own: true, properties: { 'group.min.session.timeout.ms': 1000 } });
  const before = operator.taken.length;
  const env = {
    ...environment(operator),
    KAFKA_BROKERS: kafka.brokers.join(','),
    KAFKA_PREFIX: 'here.',
    // So long the partitions of a killed worker wait for the other one.
    KAFKA_SESSION_TIMEOUT_MS: '2s',
  };
  let api = await startSms(t, { role: 'api', port: 22_924, dsn: server.dsn, env });
  // Ready, for it accepts; that nobody sends is a figure, and an alert.
  const unowned = async () =>
    Number(/^ringmain_sms_shards_unowned (\d+)$/m.exec(await (await fetch(`${api.url}/metrics`)).text())?.[1]);
  await expect.poll(unowned, wait).toBe(64);
  const [one, two] = await Promise.all(
    [22_925, 22_926].map((port) => startSms(t, { role: 'worker', port, dsn: server.dsn, env })),
  );
  await expect.poll(unowned, wait).toBe(0);
  const accepted: string[] = [];
  const load = async (type: string) => {
    for (let n = 0; n < 20; n += 1) accepted.push(...(await sendBatch(api, 20, { customer_id: `c${n}`, type })));
  };
  await load('normal');
  await load('express');
  // The other one takes over what it had; that one may come back, the test before shows, and faults/sms-apart.test.ts.
  await one!.process.end('SIGKILL');
  await api.process.end('SIGKILL');
  api = await startSms(t, { role: 'api', port: 22_924, dsn: server.dsn, env, folder: api.folder });
  await load('normal');
  await expect.poll(() => statesOf(link), { timeout: 90_000, interval: 100 }).toEqual({ sent: 1200 });
  expect(operator.twice).toEqual([]);
  expect(new Set(operator.taken.slice(before).map(({ message_id }) => message_id))).toEqual(new Set(accepted));
  // Nobody reads sms.status here: it has an outcome of every message, at least once.
  await expect.poll(async () => (await link.query('SELECT FROM sms_outbox')).rowCount, wait).toBe(0);
  // Another installation on this Kafka, without the prefix, would have neither topic nor group in common with this one.
  const admin = client(kafka.brokers[0]!).admin();
  await admin.connect();
  const { groups } = await admin.listGroups();
  const names = [...(await admin.listTopics()), ...groups.map(({ groupId }) => groupId)];
  await admin.disconnect();
  expect(names.filter((name) => !name.startsWith('__')).sort()).toEqual([
    ...['here.sms-worker', 'here.sms-worker-express'],
    ...['here.sms.accepted', 'here.sms.delivery', 'here.sms.express', 'here.sms.status'],
  ]);
  await Promise.all([api.end(), two!.end()]);
});
