/** How often an address may ask without a right key. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { Attempts, createAttempts } from '../../src/access/attempts.ts';
import { accessErrors } from '../../src/access/errors.ts';
import { httpErrors } from '../../src/http/errors.ts';
import { problem, type RingmainError } from '../../src/kernel/errors.ts';

const MINUTE_NS = 60e9;

function rig(perMinute: number) {
  const clock = { now: 1 };
  const memory = createAttempts(64);
  const threads = [0, 1].map(() => new Attempts(memory, perMinute, () => clock.now));
  /** What the address is told when it shows a wrong key. */
  const told = (address: string, thread = 0): RingmainError =>
    threads[thread]!.judged(accessErrors.KEY_INVALID(), address) as RingmainError;
  return { clock, threads, told };
}

test('so many in a minute are told what is wrong, in all threads together, and the next one to wait', () => {
  const { told } = rig(3);
  const codes = [0, 1, 0, 1].map((thread) => told('203.0.113.1', thread).code);
  assert.deepEqual(codes, ['KEY_INVALID', 'KEY_INVALID', 'KEY_INVALID', 'TOO_MANY_ATTEMPTS']);
  assert.equal(told('203.0.113.2').code, 'KEY_INVALID');
});

test('the time to wait is the time after which one more is told', () => {
  const { clock, told } = rig(2);
  told('203.0.113.1');
  told('203.0.113.1');
  clock.now += 10e9;
  const { retryAfterS } = problem(told('203.0.113.1')) as unknown as { retryAfterS: number };
  assert.equal(retryAfterS, 20);
  clock.now += retryAfterS * 1e9 - 1e6;
  assert.equal(told('203.0.113.1').code, 'TOO_MANY_ATTEMPTS');
  clock.now += 1e6;
  assert.equal(told('203.0.113.1').code, 'KEY_INVALID');
  clock.now += MINUTE_NS;
  assert.deepEqual(
    [0, 1, 2].map(() => told('203.0.113.1').code),
    ['KEY_INVALID', 'KEY_INVALID', 'TOO_MANY_ATTEMPTS'],
  );
});

test('a network of IPv6 counts as one', () => {
  const { told } = rig(1);
  told('2001:db8:0:1::1');
  assert.equal(told('2001:db8:0:1:ffff::2').code, 'TOO_MANY_ATTEMPTS');
  assert.equal(told('2001:db8:0:2::1').code, 'KEY_INVALID');
});

test('what failed for another reason counts for nothing', () => {
  const { threads, told } = rig(1);
  const others = [
    httpErrors.BAD_REQUEST({ reason: 'no JSON' }),
    accessErrors.KEY_FORBIDDEN({ reason: 'another customer' }),
    accessErrors.ACCESS_UNKNOWN(),
    new TypeError('a defect'),
  ];
  for (const error of others) assert.equal(threads[0]!.judged(error, '203.0.113.1'), error);
  assert.equal(told('203.0.113.1').code, 'KEY_INVALID');
  const missing = accessErrors.KEY_REQUIRED({ reason: 'a key must be given' });
  assert.equal((threads[0]!.judged(missing, '203.0.113.1') as RingmainError).code, 'TOO_MANY_ATTEMPTS');
});
