/**
 * Goal: every row of the outbox becomes records of the log, none is lost, and a full log leaves them where they are.
 * Method: a real Postgres; a lane that a test can fill, that keeps what was published.
 */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { SinkBatch } from '../../../src/delivery/contract.ts';
import { jsonLength, jsonStart, kindAt } from '../../../src/events/record.ts';
import { keyOf } from '../../../src/events/record-key.ts';
import { putServiceRecord } from '../../../src/events/service-record.ts';
import type { IntakeLane } from '../../../src/service/intake.ts';
import type { Transaction } from '../../../src/sinks/postgres/transaction.ts';
import { queueLoad } from '../../../src/sms/delivery/queue-load.ts';
import { Relay } from '../../../src/sms/outbox/relay.ts';
import { DELIVERY_KIND, EXPRESS_KIND, outboxLine, STATUS_KIND } from '../../../src/sms/topics.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, startDatabase } from '../database.ts';

const file = fileScope();
let server: PostgresServer;
let link: PostgresLink;
beforeAll(async () => {
  server = await startDatabase(file, 22_911);
  link = await openLink(server.dsn);
  file.onTestFinished(() => link.close());
});
beforeEach(() => emptyTables(link));

interface Published {
  readonly kind: number;
  readonly key: string;
  readonly value: unknown;
}

/** A lane of some bytes. */
class TestLane implements IntakeLane {
  readonly buffer = Buffer.alloc(1 << 20);
  readonly draftBytesMax = 1 << 18;
  room = Number.POSITIVE_INFINITY;
  readonly published: Published[] = [];
  #end = 0;
  #draft: Published[] = [];

  refusal(bytes: number) {
    return this.#end + bytes > this.room ? ('ring_full' as const) : undefined;
  }
  begin(): number {
    return this.#end;
  }
  commit(end: number, kind: number, version: number): void {
    const at = this.#end;
    this.buffer.writeUInt32LE(end - at, at);
    this.buffer.writeUInt16LE(kind, at + 4);
    this.buffer.writeUInt16LE(version, at + 6);
    this.#draft.push({
      kind: kindAt(this.buffer, at),
      key: keyOf(this.buffer, at)!.toString(),
      value: JSON.parse(this.buffer.toString('utf8', jsonStart(at), jsonStart(at) + jsonLength(this.buffer, at))),
    });
    this.#end = (end + 7) & ~7;
  }
  mark(): number {
    return this.#end;
  }
  rewind(): void {}
  publish = async (): Promise<void> => {
    this.published.push(...this.#draft);
    this.#draft = [];
    this.room -= this.#end;
    this.#end = 0;
  };
}

const quiet = { info: () => undefined, warn: () => undefined };
const relayTo = (lane: TestLane, publish = lane.publish): Relay =>
  new Relay({
    open: () => openLink(server.dsn),
    lane,
    publish,
    log: quiet,
    published: () => undefined,
    now: () => 1,
  });

const put = async (topic: string, values: readonly unknown[], express = false): Promise<void> => {
  const records = values.map((value, n) => outboxLine(`c${n}`, JSON.stringify(value))).join('\n');
  await link.query('INSERT INTO sms_outbox (express, topic, records) VALUES ($1, $2, $3)', [express, topic, records]);
};
const rows = async (): Promise<number> =>
  (await link.query<{ n: number }>('SELECT count(*)::int AS n FROM sms_outbox')).rows[0]!.n;

test('rows become records of their kind and key, express before the others', async () => {
  await put('sms.delivery', [{ n: 1 }, { n: 2 }]);
  await put('sms.status', [{ text: 'Grüße 😀' }]);
  await put('sms.express', [{ n: 3 }], true);
  const lane = new TestLane();
  const end = new AbortController();
  const running = relayTo(lane).run(end.signal);
  await expect.poll(rows).toBe(0);
  end.abort();
  await running;
  expect(lane.published).toEqual([
    { kind: EXPRESS_KIND, key: 'c0', value: { n: 3 } },
    { kind: DELIVERY_KIND, key: 'c0', value: { n: 1 } },
    { kind: DELIVERY_KIND, key: 'c1', value: { n: 2 } },
    { kind: STATUS_KIND, key: 'c0', value: { text: 'Grüße 😀' } },
  ]);
});

test('a row that was committed late is not passed over, whatever its id', async () => {
  const slow = await openLink(server.dsn);
  await slow.query('BEGIN');
  await slow.query(`INSERT INTO sms_outbox (topic, records) VALUES ('sms.status', E'late\\t{"n":1}')`);
  await put('sms.status', [{ n: 2 }]);
  const lane = new TestLane();
  const relay = relayTo(lane);
  expect(await relay.pass(link)).toBe('moved');
  expect(await relay.pass(link)).toBe('empty');
  await slow.query('COMMIT');
  await slow.close();
  expect(await relay.pass(link)).toBe('moved');
  expect(lane.published.map(({ value }) => value)).toEqual([{ n: 2 }, { n: 1 }]);
  expect(await rows()).toBe(0);
});

test('a full lane leaves the rows in the outbox, and no transaction is left open', async () => {
  for (let n = 0; n < 20; n += 1) await put('sms.status', [{ n, text: 'x'.repeat(1000) }]);
  const lane = new TestLane();
  lane.room = 16_000;
  const relay = relayTo(lane);
  expect(await relay.pass(link)).toBe('moved');
  const left = await rows();
  expect(left).toBeGreaterThan(5);
  expect(lane.published).toHaveLength(20 - left);
  expect(await relay.pass(link)).toBe('no_room');
  expect((await link.query(`SELECT 1 FROM pg_locks WHERE relation = 'sms_outbox'::regclass`)).rowCount).toBe(0);
  lane.room = Number.POSITIVE_INFINITY;
  expect(await relay.pass(link)).toBe('moved');
  expect(lane.published.map(({ value }) => (value as { n: number }).n)).toEqual(
    Array.from({ length: 20 }, (_, n) => n),
  );
});

test('what was published and not deleted comes again: nothing is lost', async () => {
  await put('sms.status', [{ n: 1 }, { n: 2 }]);
  const lane = new TestLane();
  let failed = false;
  const relay = relayTo(lane, async () => {
    await lane.publish();
    if (failed) return;
    failed = true;
    throw new Error('the process has died between publish and delete');
  });
  await expect(relay.pass(link)).rejects.toThrow('died');
  expect(await rows()).toBe(1);
  expect(await relay.pass(link)).toBe('moved');
  expect(lane.published.map(({ value }) => (value as { n: number }).n)).toEqual([1, 2, 1, 2]);
});

test('two relays share one outbox: each row goes out once', async () => {
  for (let n = 0; n < 300; n += 1) await put('sms.status', [{ n }]);
  const lanes = [new TestLane(), new TestLane()];
  const end = new AbortController();
  const running = lanes.map((lane) => relayTo(lane).run(end.signal));
  await expect.poll(rows).toBe(0);
  end.abort();
  await Promise.all(running);
  const all = lanes.flatMap((lane) => lane.published.map(({ value }) => (value as { n: number }).n));
  expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, n) => n));
});

const message = (n: number) => ({
  message_id: `01ARZ3NDEKTSV4RRFFQ69G5F${n}A`,
  customer_id: 'a',
  to: '+989121234567',
  sender: '',
  text: 'x',
  type: 'express',
  segments: 1,
  cost: 1,
  at: 1000,
  valid_until: 2000,
});

const batchOf = (values: readonly unknown[]): SinkBatch => {
  const buffer = Buffer.alloc(64 * 1024);
  const offsets = new Int32Array(values.length);
  let end = 0;
  for (const [i, value] of values.entries()) {
    offsets[i] = end;
    const line = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
    end = putServiceRecord(buffer, end, { kind: EXPRESS_KIND, key: Buffer.from('a'), line, receivedMs: 1 });
  }
  return { buffer, offsets, count: values.length } as unknown as SinkBatch;
};
const transaction = { query: (sql: string, values: readonly unknown[]) => link.query(sql, values) };

test('records become rows of the queue, once', async () => {
  const load = (values: readonly unknown[]) => queueLoad.load(transaction as unknown as Transaction, batchOf(values));
  await load([message(1), message(2)]);
  await load([message(2), message(3)]);
  const { rows } = await link.query(
    'SELECT message_id, customer_id, express, due_ms::int, valid_ms::int FROM sms_queue',
  );
  expect(rows).toHaveLength(3);
  expect(rows[0]).toEqual({
    message_id: message(1).message_id,
    customer_id: 'a',
    express: true,
    due_ms: 1000,
    valid_ms: 2000,
  });
});

test.each([
  ['no JSON', '{'],
  ['no object', 'null'],
  ['a foreign id', { ...message(1), message_id: 'x' }],
  ['a foreign customer', { ...message(1), customer_id: 'a b' }],
  ['a number without a plus', { ...message(1), to: '0912' }],
  ['a lane that is none', { ...message(1), type: 'slow' }],
  ['no segments', { ...message(1), segments: 0 }],
  ['a time that is none', { ...message(1), at: 'now' }],
])('a record that no relay has made is refused alone: %s', async (_what, value) => {
  const failed = await queueLoad.load(transaction as unknown as Transaction, batchOf([value])).catch((error) => error);
  expect(failed).toBeInstanceOf(Error);
  expect(queueLoad.classify!(failed)).toBe('split');
});
