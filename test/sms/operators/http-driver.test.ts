import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { HttpOperator } from '../../../src/sms/operators/http-driver.ts';
import { type GivenOperator, parseOperators } from '../../../src/sms/operators/operator-option.ts';
import { type OperatorBehaviour, startHttpOperator } from '../../servers/http-operator.ts';
import type { TestScope } from '../../servers/process.ts';
import { message, never } from './messages.ts';

const TOKEN = '0123456789abcdef';

function driverOf(t: TestScope, url: string, more: Partial<GivenOperator> = {}): HttpOperator {
  const [given] = parseOperators([{ name: 'mci', driver: 'http', url, token: TOKEN, timeout_ms: 20_000, ...more }]);
  const driver = new HttpOperator(given!);
  t.onTestFinished(() => driver.close());
  return driver;
}

test("a message that the operator takes arrives whole, under the token, with the operator's own sender", async (t) => {
  const operator = await startHttpOperator(t, { token: TOKEN });
  const driver = driverOf(t, operator.url, { sender: '98200' });
  assert.deepEqual(await driver.send(message('m1', { text: 'سلام' }), never), { kind: 'taken', id: 'op-m1' });
  assert.deepEqual(
    operator.taken.map(({ atMs: _, ...rest }) => rest),
    [{ message_id: 'm1', to: '+989121234567', from: '98200', text: 'سلام' }],
  );
  await driver.send(message('m2', { sender: 'Shop' }), never);
  assert.equal(operator.taken[1]!.from, 'Shop');
});

const verdicts: readonly (readonly [OperatorBehaviour, object, number])[] = [
  ['refuse', { kind: 'rejected', reason: 'status 422: the number is blocked' }, 0],
  ['throttle', { kind: 'later', reason: 'status 429', away: true, afterMs: 1000 }, 0],
  ['away', { kind: 'later', reason: 'status 503', away: true }, 0],
  ['redirect', { kind: 'later', reason: 'status 307' }, 0],
  ['drop', { kind: 'unknown', reason: 'the connection was lost before an answer came' }, 0],
  ['cut', { kind: 'unknown', reason: 'the connection was lost before an answer came' }, 1],
  ['silent', { kind: 'unknown', reason: 'no answer within 300 ms' }, 1],
  ['broken', { kind: 'unknown', reason: 'status 500' }, 1],
  ['garbage', { kind: 'unknown', reason: 'status 200 with a body that is no JSON object with an id' }, 1],
  ['nameless', { kind: 'unknown', reason: 'status 200 with a body that is no JSON object with an id' }, 1],
  ['huge', { kind: 'unknown', reason: 'status 200 with a body that is no JSON object with an id' }, 1],
];
test.for(verdicts)('an operator that does "%s" is understood', async ([behaviour, result, taken], t) => {
  const operator = await startHttpOperator(t, { token: TOKEN, behaviour });
  // Only who is silent is waited for in vain.
  const driver = driverOf(t, operator.url, behaviour === 'silent' ? { timeout_ms: 300 } : {});
  assert.deepEqual(await driver.send(message('m1'), never), result);
  assert.equal(operator.taken.length, taken);
  assert.equal(operator.requests, 1, 'a call is made once');
});

test('what was never written is tried again later: nobody listens, or nobody takes the connection', async (t) => {
  const operator = await startHttpOperator(undefined);
  await operator.close();
  const refused = await driverOf(t, operator.url).send(message('m1'), never);
  assert.deepEqual(refused, { kind: 'later', reason: 'the call failed: ECONNREFUSED', away: true });

  const nowhere = await driverOf(t, 'http://operator.invalid/messages').send(message('m1'), never);
  assert.equal(nowhere.kind, 'later');

  // A TLS handshake that never comes: connected, and nothing written.
  const mute = createServer(() => undefined);
  await new Promise<void>((done) => mute.listen(0, '127.0.0.1', done));
  t.onTestFinished(() => void mute.close());
  const { port } = mute.address() as { port: number };
  const waited = await driverOf(t, `https://127.0.0.1:${port}/messages`, { timeout_ms: 300 }).send(
    message('m1'),
    never,
  );
  assert.deepEqual(waited, { kind: 'later', reason: 'no answer within 300 ms', away: true });
});

test('a wrong token is no fault of the message, and stands in no reason', async (t) => {
  const operator = await startHttpOperator(t, { token: 'fedcba9876543210' });
  const result = await driverOf(t, operator.url).send(message('m1'), never);
  assert.deepEqual(result, { kind: 'later', reason: 'status 401: not the token: Bearer ***', away: true });
});

test('a drain ends a call: written is unknown, not written is later', async (t) => {
  const operator = await startHttpOperator(t, { token: TOKEN, behaviour: 'silent' });
  const driver = driverOf(t, operator.url, { timeout_ms: 60_000 });
  const drain = new AbortController();
  const written = driver.send(message('m1'), drain.signal);
  await expect.poll(() => operator.taken.length).toBe(1);
  drain.abort();
  assert.equal((await written).kind, 'unknown');
  assert.equal((await driver.send(message('m2'), drain.signal)).kind, 'later');
  assert.equal(operator.taken.length, 1);
});

test('a query says what became of a message', async (t) => {
  const operator = await startHttpOperator(t, { token: TOKEN, behaviour: 'silent' });
  const driver = driverOf(t, operator.url, { timeout_ms: 1000 });
  assert.deepEqual(await driver.query('m1', null, never), { kind: 'never' });
  assert.equal((await driver.send(message('m1'), never)).kind, 'unknown');
  assert.deepEqual(await driver.query('m1', null, never), { kind: 'taken', id: 'op-m1' });
  operator.states.set('m1', 'delivered');
  assert.deepEqual(await driver.query('m1', null, never), { kind: 'taken', id: 'op-m1', state: 'delivered' });
  operator.queries = 'away';
  assert.deepEqual(await driver.query('m1', null, never), { kind: 'unanswered', reason: 'status 500' });
  operator.cutAll();
  await operator.close();
  assert.equal((await driver.query('m1', null, never)).kind, 'unanswered');
});

test('a hundred messages at once have a connection each up to the window, and each is taken once', async (t) => {
  const operator = await startHttpOperator(t, { token: TOKEN, delayMs: 5 });
  const driver = driverOf(t, operator.url, { window: 8 });
  const ids = Array.from({ length: 100 }, (_, i) => `m${i}`);
  const results = await Promise.all(ids.map((id) => driver.send(message(id), never)));
  assert.ok(results.every(({ kind }) => kind === 'taken'));
  assert.deepEqual(operator.twice, []);
  assert.equal(operator.counts.size, 100);
  assert.ok(operator.runningMax <= 10, `at once: ${operator.runningMax}`);
});
