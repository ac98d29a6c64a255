/**
 * Goal: messages go to another operator when the first certainly did not take them, and never when it may have.
 * Method: the routing over real sockets, an HTTP operator that changes its temper all the time, and an SMSC behind it; both count.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createLog } from '../../../src/kernel/log.ts';
import { attachBoard, createBoard, metricsText } from '../../../src/kernel/metrics.ts';
import type { Routing, SendResult } from '../../../src/sms/operators/contract.ts';
import { operatorMetrics } from '../../../src/sms/operators/metrics.ts';
import { parseOperators } from '../../../src/sms/operators/operator-option.ts';
import { openRouting } from '../../../src/sms/operators/routing.ts';
import type { SmsValues } from '../../../src/sms/sms.ts';
import { type OperatorBehaviour, startHttpOperator } from '../../servers/http-operator.ts';
import type { TestScope } from '../../servers/process.ts';
import { startSmsc } from '../../servers/smsc.ts';
import { message, never } from './messages.ts';

async function routingOf(t: TestScope, given: readonly object[]) {
  const operators = parseOperators(given);
  const set = operatorMetrics(operators.map(({ name }) => name));
  const board = createBoard([set], 1);
  const lines: string[] = [];
  const log = createLog({
    level: 'info',
    destination: 2,
    name: 'test',
    stream: { write: (line: string) => void lines.push(line) },
  });
  const routing = await openRouting({ operators: { operators } } as unknown as SmsValues, {
    log,
    expressShare: 0,
    receive: async () => 'recorded',
    meters: (one) => attachBoard(one, board, 0),
  });
  t.onTestFinished(() => routing.close());
  return { routing, lines, metrics: () => metricsText([set], board, [], { slotNames: ['test'] }) };
}

/** What delivery does with a message: the next operator after `later`, and nothing more after anything else. */
async function carry(routing: Routing, id: string): Promise<SendResult> {
  let tried: string[] = [];
  for (;;) {
    const place = routing.reserve(message(id, { text: id }), tried);
    if (place.kind === 'none') throw new Error(place.reason);
    if (place.kind === 'wait') {
      if (place.ms >= 1000) tried = [];
      await delay(Math.min(place.ms, 20));
      continue;
    }
    const result = await place.operator.send(message(id, { text: id }), never);
    place.release(result);
    if (result.kind !== 'later') return result;
    tried.push(place.operator.name);
  }
}

test('an operator of every temper, and one behind it: no message is taken twice, and all are accounted for', async (t) => {
  const http = await startHttpOperator(t);
  const smsc = await startSmsc(t);
  const { routing, metrics } = await routingOf(t, [
    { name: 'irancell', driver: 'http', url: http.url, cost: 1, window: 20, timeout_ms: 1000 },
    { name: 'mci', driver: 'smpp', url: smsc.url, system_id: 'a', cost: 2, window: 20, timeout_ms: 5000 },
  ]);
  await expect.poll(() => routing.operators[1]!.state()).toBe('up');
  const tempers: readonly OperatorBehaviour[] = [
    'take',
    'take',
    'away',
    'drop',
    'refuse',
    'cut',
    'broken',
    'throttle',
    'silent',
  ];
  let at = 0;
  http.retryAfterS = 0;
  http.judge = () => tempers[at++ % tempers.length]!;
  const ids = Array.from({ length: 600 }, (_, i) => `m${i}`);
  const results = new Map<string, SendResult['kind']>();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < ids.length) {
      const id = ids[next++]!;
      results.set(id, (await carry(routing, id)).kind);
    }
  };
  await Promise.all(Array.from({ length: 30 }, worker));

  const there = [...http.taken.map(({ message_id: id }) => id), ...smsc.messages.map(({ text }) => text)];
  assert.deepEqual(
    there.filter((id, i) => there.indexOf(id) !== i),
    [],
    'taken twice',
  );
  const have = new Set(there);
  for (const [id, kind] of results) {
    if (kind === 'taken') assert.ok(have.has(id), `${id} is said to be taken`);
    if (kind === 'rejected') assert.ok(!have.has(id), `${id} is said to be rejected`);
  }
  assert.equal(results.size, ids.length);
  for (const kind of ['taken', 'rejected', 'unknown'] as const)
    assert.ok([...results.values()].includes(kind), `no message was ${kind}`);
  assert.ok(smsc.messages.length > 0, 'nobody stood in');
  const counted = (await metrics()).matchAll(/calls_total\{operator="(\w+)",outcome="taken"\} (\d+)/g);
  const sum = [...counted].reduce((all, [, , count]) => all + Number(count), 0);
  assert.equal(sum, [...results.values()].filter((kind) => kind === 'taken').length);
});

test('an operator that goes away hands over at once, is told of once, and is used again when it is back', async (t) => {
  const http = await startHttpOperator(undefined);
  const { port } = http;
  const smsc = await startSmsc(t);
  const { routing, lines, metrics } = await routingOf(t, [
    { name: 'irancell', driver: 'http', url: http.url, cost: 1 },
    { name: 'mci', driver: 'smpp', url: smsc.url, system_id: 'a', cost: 2 },
  ]);
  await expect.poll(() => routing.operators[1]!.state()).toBe('up');
  await carry(routing, 'before');
  assert.equal(http.taken.length, 1);
  await http.close();
  for (let i = 0; i < 20; i += 1) assert.equal((await carry(routing, `away-${i}`)).kind, 'taken');
  assert.equal(smsc.messages.length, 20);
  assert.equal(routing.operators[0]!.state(), 'away');
  await expect.poll(metrics).toMatch(/operator_up\{operator="irancell"\} 0/);
  const back = await startHttpOperator(t, { port });
  await expect
    .poll(async () => {
      await carry(routing, `back-${back.requests}-${performance.now()}`);
      return back.taken.length;
    })
    .toBeGreaterThan(0);
  assert.equal(routing.operators[0]!.state(), 'up');
  assert.equal(lines.filter((line) => line.includes('an operator fails')).length, 1);
});
