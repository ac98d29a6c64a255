/** The queue of callbacks, on a real Postgres. */
import assert from 'node:assert/strict';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../../src/kernel/clock.ts';
import { Courier, callbackBody, shared } from '../../../src/sms/callbacks/courier.ts';
import {
  claimCallbacks,
  dropCallbacks,
  expireCallbacks,
  retryCallbacks,
  waitingCallbacks,
} from '../../../src/sms/callbacks/queue.ts';
import { Receivers } from '../../../src/sms/callbacks/receivers.ts';
import type { Outgoing } from '../../../src/sms/callbacks/sender.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { fileScope } from '../../servers/scope.ts';
import { addCustomer, emptyTables, openLink, startDatabase } from '../database.ts';
import { type CallbackRow, enqueueCallbacks } from './enqueue.ts';

const scope = fileScope();
let dsn: string;
let link: PostgresLink;
const never = new AbortController().signal;

beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, 26_410));
});
beforeEach(async () => {
  link = await openLink(dsn);
  await emptyTables(link);
});
afterEach(() => link.close());

const row = (message_id: string, status = 'sent', customer_id = 'shop'): CallbackRow => ({
  message_id,
  customer_id,
  url: `http://${customer_id}.example/hook`,
  status,
  reason: null,
  at_ms: Date.UTC(2027, 0, 31, 12, 0, 0, 5),
});

interface Sent extends Outgoing {
  readonly told: { readonly message_id: string; readonly customer_id: string; readonly status: string };
}

/** A courier whose receivers answer by `judge`: undefined is delivered. */
function courierOf(judge: (sent: Sent) => string | undefined | Promise<string | undefined>, more = {}) {
  const clock = new ManualClock();
  const sent: Sent[] = [];
  const outcomes: string[] = [];
  const courier = new Courier({
    sender: {
      send: async (outgoing) => {
        const one = { ...outgoing, told: JSON.parse(outgoing.body.toString()) as Sent['told'] };
        sent.push(one);
        return judge(one);
      },
    },
    receivers: new Receivers(clock),
    concurrency: 10,
    leaseMs: 60_000,
    retryMs: 86_400_000,
    random: () => 0.5,
    ended: (outcome) => void outcomes.push(outcome),
    ...more,
  });
  /** Rounds until there is nothing to do. */
  const run = async (): Promise<void> => {
    while (await courier.round(link, never)) await courier.idle();
  };
  return { courier, clock, sent, outcomes, run };
}
const left = async (): Promise<number> => (await waitingCallbacks(link, 1000)).rows;
const due = () => link.query("UPDATE sms_callbacks SET next_at = now() - interval '1 second'");

test('a callback says what became of the message, under the secret of its customer, and leaves the queue', async () => {
  await addCustomer(link, 'shop');
  await link.query("UPDATE customers SET callback_secret = 'whsec_abc'::bytea");
  await enqueueCallbacks(link, [{ ...row('m1', 'failed'), reason: 'expired' }]);
  const { sent, run, outcomes } = courierOf(() => undefined);
  await run();
  const [one] = sent as [Sent];
  assert.equal(
    one.body.toString(),
    callbackBody({
      message_id: 'm1',
      customer_id: 'shop',
      status: 'failed',
      operator: null,
      reason: 'expired',
      at: '2027-01-31T12:00:00.005Z',
    }),
  );
  assert.deepEqual([one.url, one.secret], ['http://shop.example/hook', 'whsec_abc']);
  assert.match(one.id, /^m1-\d+$/);
  assert.deepEqual([await left(), outcomes], [0, ['sent']]);
});

test('states of a message are told in their order, the second only when the first has arrived', async () => {
  await enqueueCallbacks(link, [row('m1', 'sent'), row('m1', 'delivered'), row('m2', 'sent')]);
  let works = false;
  const { sent, run, clock } = courierOf(({ told }) => (works || told.message_id === 'm2' ? undefined : 'status 500'));
  await run();
  const states = () => sent.map(({ told }) => `${told.message_id} ${told.status}`);
  assert.deepEqual(states(), ['m1 sent', 'm2 sent']);
  works = true;
  clock.advance(60_000);
  await due();
  await run();
  assert.deepEqual(states().slice(2), ['m1 sent', 'm1 delivered']);
  assert.equal(sent[0]!.id, sent[2]!.id, 'a try again is the same callback');
  assert.equal(await left(), 0);
});

test('states behind one that waits wait with it, so that no claim passes by them, and are due when it has arrived', async () => {
  const ids = Array.from({ length: 200 }, (_, i) => `m${i}`);
  await enqueueCallbacks(link, [...ids.map((id) => row(id)), ...ids.map((id) => row(id, 'delivered'))]);
  const claim = async () => claimCallbacks(link, [{ customerId: 'shop', rows: 1000 }], 60_000);
  const heads = await claim();
  assert.equal(heads.length, 200);
  await retryCallbacks(
    link,
    heads.map(({ id }) => ({ id, afterMs: 3_600_000 })),
  );
  const { rows } = await link.query("SELECT FROM sms_callbacks WHERE next_at < now() + interval '59 minutes'");
  assert.equal(rows.length, 0);
  await dropCallbacks(
    link,
    heads.slice(0, 50).map(({ id }) => id),
  );
  const next = await claim();
  assert.deepEqual([next.length, new Set(next.map(({ status }) => status))], [50, new Set(['delivered'])]);
});

test('a failure is tried again after a pause that doubles, and given up when it is too old', async () => {
  await enqueueCallbacks(link, [row('m1')]);
  const { run, clock, outcomes } = courierOf(() => 'status 500');
  const pauses: number[] = [];
  for (let i = 0; i < 4; i += 1) {
    clock.advance(60_000);
    await due();
    await run();
    const { rows } = await link.query<{ s: number }>(
      'SELECT extract(epoch FROM next_at - now())::float8 AS s FROM sms_callbacks',
    );
    pauses.push(Math.round(rows[0]!.s));
  }
  assert.deepEqual(pauses, [2, 4, 8, 16]);
  await link.query("UPDATE sms_callbacks SET created_at = now() - interval '25 hours'");
  clock.advance(60_000);
  await due();
  await run();
  assert.deepEqual([await left(), outcomes.at(-1)], [0, 'given_up']);
});

test('old callbacks of a receiver whose turn never comes are given up as well', async () => {
  await enqueueCallbacks(
    link,
    Array.from({ length: 20 }, (_, i) => row(`m${i}`)),
  );
  await link.query("UPDATE sms_callbacks SET created_at = now() - interval '2 hours' WHERE message_id < 'm15'");
  assert.equal(await expireCallbacks(link, 3_600_000), 7);
  assert.equal(await left(), 13);
});

test('a dead receiver with many callbacks delays nobody else, and gets one try at a time', async () => {
  const rows = Array.from({ length: 500 }, (_, i) => row(`dead-${i}`, 'sent', 'a-dead'));
  const others = Array.from({ length: 50 }, (_, i) => row(`m${i}`, 'sent', `shop-${i % 5}`));
  await enqueueCallbacks(link, [...rows, ...others]);
  const { sent, run } = courierOf(({ told }) => (told.customer_id === 'a-dead' ? 'ECONNREFUSED' : undefined));
  await run();
  assert.equal(sent.filter(({ told }) => told.customer_id !== 'a-dead').length, 50);
  const tries = sent.filter(({ told }) => told.customer_id === 'a-dead').length;
  assert.ok(tries <= 8, `tries at the dead receiver: ${tries}`);
});

test('the rounds go on where the last one ended: behind many dead receivers the living ones have their turn', async () => {
  const customers = Array.from({ length: 230 }, (_, i) => `${i < 150 ? 'dead' : 'shop'}-${String(i).padStart(3, '0')}`);
  await enqueueCallbacks(
    link,
    customers.map((customer, i) => row(`m${i}`, 'sent', customer)),
  );
  const dead = ({ told }: Sent) => (told.customer_id.startsWith('dead') ? 'ECONNREFUSED' : undefined);
  const { sent, courier } = courierOf(dead, { concurrency: 100 });
  for (let i = 0; i < 3; i += 1) {
    await courier.round(link, never);
    await courier.idle();
  }
  assert.equal(sent.filter((one) => dead(one) === undefined).length, 80);
});

test('two processes share the queue: each callback goes out once', async (t) => {
  const other = await openLink(dsn);
  t.onTestFinished(() => other.close());
  const rows = Array.from({ length: 400 }, (_, i) => row(`m${i % 200}`, i < 200 ? 'sent' : 'delivered', `c${i % 40}`));
  await enqueueCallbacks(link, rows);
  const one = courierOf(() => undefined);
  const two = courierOf(() => undefined);
  const drive = async ({ courier }: typeof one, on: PostgresLink): Promise<void> => {
    while ((await waitingOf(on)) > 0) {
      await courier.round(on, never);
      await courier.idle();
    }
    await courier.settle(on);
  };
  const waitingOf = async (on: PostgresLink): Promise<number> => (await waitingCallbacks(on, 1000)).rows;
  await Promise.all([drive(one, link), drive(two, other)]);
  const ids = [...one.sent, ...two.sent].map(({ id }) => id);
  assert.equal(ids.length, 400);
  assert.equal(new Set(ids).size, 400);
  assert.ok(one.sent.length > 0 && two.sent.length > 0);
});

test('what a dead process had taken is taken again when its lease is over', async () => {
  await enqueueCallbacks(link, [row('m1')]);
  const wishes = [{ customerId: 'shop', rows: 5 }];
  assert.equal((await claimCallbacks(link, wishes, 300)).length, 1);
  assert.equal((await claimCallbacks(link, wishes, 300)).length, 0);
  await expect.poll(async () => (await claimCallbacks(link, wishes, 300)).length).toBe(1);
});

test('an end that could not be written down is written by the next round, and nothing is sent twice', async () => {
  await enqueueCallbacks(link, [row('m1')]);
  const { courier, sent } = courierOf(() => undefined);
  await courier.round(link, never);
  await courier.idle();
  const broken = { query: () => Promise.reject(new Error('away')) } as unknown as PostgresLink;
  await assert.rejects(courier.round(broken, never));
  await courier.round(link, never);
  assert.deepEqual([sent.length, await left()], [1, 0]);
});

test('callbacks that end while others are written down are written by the next round', async () => {
  await enqueueCallbacks(link, [row('m1'), row('m2', 'sent', 'other')]);
  let late: (() => void) | undefined;
  const { courier, sent } = courierOf(({ told }) =>
    told.message_id === 'm1' ? undefined : new Promise<undefined>((resolve) => (late = () => resolve(undefined))),
  );
  await courier.round(link, never);
  await expect.poll(() => courier.running).toBe(1);
  const slow = {
    query: async (...query: Parameters<PostgresLink['query']>) => {
      late?.();
      await courier.idle();
      return link.query(...query);
    },
  } as unknown as PostgresLink;
  await courier.settle(slow);
  assert.equal(await left(), 1);
  await courier.settle(link);
  assert.deepEqual([sent.length, await left()], [2, 0]);
});

test('one round looks behind thousands of receivers that have nothing due', async () => {
  await link.query(
    `INSERT INTO sms_callbacks (message_id, customer_id, url, status, at, next_at)
       SELECT 'm' || i, 'dead-' || i, 'http://dead.example/', 'sent', now(), now() + interval '1 hour'
       FROM generate_series(10001, 13000) i`,
  );
  await enqueueCallbacks(link, [row('alive', 'sent', 'shop')]);
  const { courier, sent } = courierOf(() => undefined);
  await courier.round(link, never);
  await courier.idle();
  assert.deepEqual(
    sent.map(({ told }) => told.message_id),
    ['alive'],
  );
});

test('places are shared in turns', () => {
  const wishes = [
    { customerId: 'a', rows: 8 },
    { customerId: 'b', rows: 1 },
    { customerId: 'c', rows: 8 },
  ];
  assert.deepEqual(
    shared(wishes, 6).map(({ rows }) => rows),
    [3, 1, 2],
  );
  assert.deepEqual(
    shared(wishes, 2).map(({ customerId }) => customerId),
    ['a', 'b'],
  );
  assert.equal(
    shared(wishes, 100).reduce((sum, { rows }) => sum + rows, 0),
    17,
  );
});
