/** Whom requests are counted under, and how often they may come. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { createLimits, LocalLimiter } from '../../../src/gateway/limits/local.ts';
import { Windows } from '../../../src/gateway/limits/windows.ts';
import type { GatewayKey, GatewayUser, Rates } from '../../../src/gateway/model.ts';

const windows = new Windows({ ipRequestsPerMinute: 3, userRequestsPerMinute: 1000 });

const userWith = (rates: Rates): GatewayUser => ({
  id: 17,
  username: 'ada',
  email: 'ada@example.com',
  active: true,
  rates,
  quota: {},
  networks: [],
});
const keyWith = (rates: Rates): GatewayKey => ({
  id: '9fK2mQx07TbA',
  userId: 17,
  name: '',
  scopes: ['read'],
  secrets: [],
  networks: [],
  rates,
});
const told = (user: Rates, key: Rates) =>
  windows
    .ofKey(userWith(user), keyWith(key))
    .map(({ policy, subject, limit, windowS, burst }) => `${policy} ${subject} ${limit}/${windowS} burst ${burst}`);

test('the key comes before its user, the minute before the hour; a limit per hour leaves the default per minute', () => {
  assert.deepEqual(told({}, {}), ['user-minute user:17 1000/60 burst 1000']);
  assert.deepEqual(told({ requestsPerHour: 50_000, burst: 5 }, {}), [
    'user-minute user:17 1000/60 burst 5',
    'user-hour user:17 50000/3600 burst 5',
  ]);
  assert.deepEqual(told({ burst: 5 }, {}), ['user-minute user:17 1000/60 burst 5']);
  assert.deepEqual(
    told({ requestsPerMinute: 10, requestsPerHour: 100, burst: 20 }, { requestsPerMinute: 2, requestsPerHour: 9 }),
    [
      'key-minute key:9fK2mQx07TbA 2/60 burst 2',
      'key-hour key:9fK2mQx07TbA 9/3600 burst 9',
      'user-minute user:17 10/60 burst 10',
      'user-hour user:17 100/3600 burst 20',
    ],
  );
});

test('windows of a key are made once, and again when its user has changed', () => {
  const key = keyWith({});
  const user = userWith({});
  assert.equal(windows.ofKey(user, key), windows.ofKey(user, key));
  assert.equal(windows.ofKey(userWith({ requestsPerMinute: 7 }), key)[0]!.limit, 7);
});

test('an address of IPv6 counts as its /64, and a flood of addresses takes no place from users', () => {
  const limiter = new LocalLimiter(createLimits(16));
  const passed = (address: string) => limiter.take(windows.ofAddress(address))!.allowed;
  assert.deepEqual(['2001:db8::1', '2001:db8::2', '2001:db8:0:0:9::3', '2001:db8::4'].map(passed), [
    true,
    true,
    true,
    false,
  ]);
  assert.equal(passed('2001:db8:0:1::1'), true);
  const mine = windows.ofKey(userWith({ requestsPerHour: 2 }), keyWith({}));
  assert.equal(limiter.take(mine)!.remaining, 1);
  assert.equal(limiter.take(mine)!.remaining, 0);
  for (let i = 0; i < 5000; i += 1) passed(`10.0.${i >> 8}.${i & 255}`);
  const refused = limiter.take(mine)!;
  assert.equal(refused.allowed, false);
  assert.equal(refused.window.policy, 'user-hour');
  assert.ok(refused.retryAfterMs > 1_700_000 && refused.retryAfterMs <= 1_800_000);
  assert.equal(limiter.take([]), undefined);
});
