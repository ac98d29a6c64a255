/**
 * Goal: whose turn it is does not depend on how much anybody has waiting, and no customer gets more than its rate.
 * Method: the queue alone, with a clock of the test's own.
 */
import { expect, test } from 'vitest';
import { Bucket } from '../../../src/sms/delivery/bucket.ts';
import { Buckets } from '../../../src/sms/delivery/buckets.ts';
import { FairQueue } from '../../../src/sms/delivery/fair-queue.ts';
import type { Queued } from '../../../src/sms/delivery/queued.ts';
import { Resting } from '../../../src/sms/delivery/resting.ts';
import { normalPart } from '../../../src/sms/model.ts';

let number = 0;
const messages = (customerId: string, count: number, segments = 1): Queued[] =>
  Array.from({ length: count }, () => {
    number += 1;
    return {
      messageId: `m${number}`,
      customerId,
      shard: 0,
      lane: 'normal',
      to: '+1',
      segments,
      acceptedMs: 0,
      validMs: 1e9,
      retries: 0,
      tried: [],
    } as const;
  });

const takeAll = (queue: FairQueue, nowMs: number, max: number): string[] => {
  const taken: string[] = [];
  while (taken.length < max) {
    const message = queue.take(nowMs, () => 'taken');
    if (message === undefined) break;
    taken.push(message.customerId);
  }
  return taken;
};
const countOf = (taken: readonly string[], id: string) => taken.filter((one) => one === id).length;

test('a customer with 10,000 waiting gets no more turns than one with ten', () => {
  const queue = new FairQueue();
  queue.add(messages('whale', 10_000), 0, 0);
  queue.add(messages('small', 10), 0, 0);
  const taken = takeAll(queue, 0, 20);
  expect(countOf(taken, 'small')).toBe(10);
  expect(countOf(taken, 'whale')).toBe(10);
});

test('a turn is counted in segments: long messages get fewer turns', () => {
  const queue = new FairQueue();
  queue.add(messages('long', 100, 5), 0, 0);
  queue.add(messages('short', 500), 0, 0);
  const taken = takeAll(queue, 0, 120);
  expect(countOf(taken, 'long')).toBeGreaterThanOrEqual(19);
  expect(countOf(taken, 'long')).toBeLessThanOrEqual(21);
});

test('a rate is kept exactly from the moment at which the shard was taken, and nothing is refused', () => {
  const queue = new FairQueue();
  queue.add(messages('shaped', 1000), 10, 1000);
  const times: number[] = [];
  for (let nowMs = 1000; nowMs <= 11_000; nowMs += 1) for (const _ of takeAll(queue, nowMs, 1000)) times.push(nowMs);
  expect(times[0]).toBe(1100);
  expect(times).toHaveLength(100);
  // In any second no more than the rate and the depth of the bucket.
  for (const [at, from] of times.entries())
    expect(times.slice(at).filter((time) => time < from + 1000).length).toBeLessThanOrEqual(12);
  expect(queue.waiting).toBe(900);
});

test('a customer that was idle may go at once, and one that is new on an old shard too', () => {
  const queue = new FairQueue();
  queue.add(messages('new', 2), 10, 0);
  expect(takeAll(queue, 60_000, 10)).toHaveLength(2);
  queue.add(messages('new', 3), 10, 0);
  expect(takeAll(queue, 60_050, 10), 'its bucket was remembered').toHaveLength(0);
  expect(takeAll(queue, 60_100, 10)).toHaveLength(1);
});

test('an idle customer is forgotten when its bucket is full, and not before', () => {
  const queue = new FairQueue();
  const [message] = messages('one', 1);
  queue.add([message!], 10, 0);
  expect(queue.take(1000, () => 'taken')).toBeDefined();
  queue.settled(message!, 1000);
  expect(queue.take(1000, () => 'taken')).toBeUndefined();
  expect(queue.has('one')).toBe(true);
  expect(queue.take(1301, () => 'taken')).toBeUndefined();
  expect(queue.has('one')).toBe(false);
});

test('both lanes of a customer share its rate, and a line that was forgotten comes back with the same bucket', () => {
  const buckets = new Buckets();
  const [express, normal] = [new FairQueue(buckets), new FairQueue(buckets)];
  let taken = 0;
  for (let ms = 0; ms <= 10_000; ms += 10) {
    // Short backlogs: each lane runs dry and is filled again, in turns.
    if (ms % 200 === 0) express.add(messages('a', 3), 20, 0);
    if (ms % 300 === 0) normal.add(messages('a', 5), 20, 0);
    taken += takeAll(express, ms, 10).length + takeAll(normal, ms, 10).length;
    for (const queue of [express, normal])
      for (const { out } of [...queue.lines()]) for (let n = 0; n < out; n += 1) queue.settled({ customerId: 'a' }, ms);
  }
  expect(taken).toBeGreaterThanOrEqual(190);
  expect(taken).toBeLessThanOrEqual(20 * 10 + 4);
});

test.each([
  [512, 0.25, 384],
  [10, 0.9, 1],
  [20, 0.9, 2],
  [4, 0.9, 1],
  [1, 0, 1],
])('of %i places with a share of %f for express, normal messages have %i', (whole, share, normal) => {
  expect(normalPart(whole, share)).toBe(normal);
});

test('an operator without room holds up its own messages only', () => {
  const queue = new FairQueue();
  const full = messages('mixed', 3).map((message) => ({ ...message, to: '+full' }));
  queue.add([...full, ...messages('mixed', 2)], 0, 0);
  const chance = ({ to }: Queued) => (to === '+full' ? ('no_room' as const) : ('taken' as const));
  expect(queue.take(0, chance)?.to).toBe('+1');
  expect(queue.take(0, chance)?.to).toBe('+1');
  expect(queue.take(0, chance)).toBeUndefined();
  expect(queue.waiting).toBe(3);
  expect(queue.take(20, () => 'taken')?.to).toBe('+full');
});

test('what is dropped costs no token', () => {
  const queue = new FairQueue();
  queue.add(messages('one', 50), 1, 0);
  let dropped = 0;
  const message = queue.take(1000, () => {
    dropped += 1;
    return dropped < 50 ? 'dropped' : 'taken';
  });
  expect(message).toBeDefined();
  expect(queue.waiting).toBe(0);
});

test('a shard that is given back leaves nothing behind', () => {
  const queue = new FairQueue();
  queue.add(messages('a', 3), 0, 0);
  queue.add(
    messages('b', 2).map((message) => ({ ...message, shard: 1 })),
    0,
    0,
  );
  expect(queue.dropShard(0)).toHaveLength(3);
  expect(takeAll(queue, 0, 10)).toEqual(['b', 'b']);
  expect(queue.waiting).toBe(0);
});

test('what rests comes back in the order of its times', () => {
  const resting = new Resting<number>();
  const times = Array.from({ length: 200 }, (_, i) => (i * 7919) % 211);
  for (const time of times) resting.add(time, time);
  const came: number[] = [];
  for (let item = resting.take(1000); item !== undefined; item = resting.take(1000)) came.push(item);
  expect(came).toEqual([...times].sort((a, b) => a - b));
});

test('a bucket whose rate changes keeps no more than the new one allows', () => {
  const bucket = new Bucket(1000, 0);
  expect(bucket.waitMs(10_000)).toBe(0);
  bucket.setRate(1, 10_000);
  bucket.take();
  expect(bucket.waitMs(10_000)).toBe(1000);
});
