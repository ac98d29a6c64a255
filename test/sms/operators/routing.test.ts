import assert from 'node:assert/strict';
import { test } from 'vitest';
import { ManualClock } from '../../../src/kernel/clock.ts';
import { Carried } from '../../../src/sms/operators/carried.ts';
import type { Place, Routing, SendResult } from '../../../src/sms/operators/contract.ts';
import { carrierNames, carrierOf } from '../../../src/sms/operators/names.ts';
import { type Driver, OperatorLane } from '../../../src/sms/operators/operator-lane.ts';
import { type GivenOperator, parseOperators } from '../../../src/sms/operators/operator-option.ts';
import { OperatorRouting } from '../../../src/sms/operators/routing.ts';
import { message } from './messages.ts';

const silent = { ended: () => undefined, failed: () => undefined, answered: () => undefined };
const taken: SendResult = { kind: 'taken', id: '1' };
const unknown: SendResult = { kind: 'unknown', reason: 'no answer' };
const refusedLater: SendResult = { kind: 'later', reason: 'nobody listens' };

class Fake implements Driver {
  readonly name = 'fake';
  readonly receiptsBear = 'message_id';
  now: 'up' | 'away' = 'up';
  send = async (): Promise<SendResult> => taken;
  state(): 'up' | 'away' {
    return this.now;
  }
  async close(): Promise<void> {}
}

function routingOf(given: readonly Partial<GivenOperator>[], { expressShare = 0 } = {}) {
  const clock = new ManualClock();
  const fakes = new Map<string, Fake>();
  const operators = parseOperators(given.map((one) => ({ driver: 'http', url: 'http://127.0.0.1:1/', ...one }))).map(
    (one) => {
      const fake = new Fake();
      fakes.set(one.name, fake);
      return new OperatorLane(one, fake, { events: silent, expressShare, clock });
    },
  );
  return { clock, fakes, routing: new OperatorRouting(operators) };
}

const reserve = (
  routing: Routing,
  more: Partial<Parameters<Routing['reserve']>[0]> = {},
  tried: readonly string[] = [],
) => routing.reserve({ ...message('m1'), ...more }, tried);

function placeOf(answer: ReturnType<Routing['reserve']>): Place {
  assert.equal(answer.kind, 'place', JSON.stringify(answer));
  return answer as Place;
}

const nameOf = (answer: ReturnType<Routing['reserve']>): string =>
  answer.kind === 'place' ? answer.operator.name : answer.kind;

test('the longest prefix goes first, then the lower cost; shorter prefixes stand in', () => {
  const { routing, fakes } = routingOf([
    { name: 'any', prefixes: ['+'] },
    { name: 'dear', prefixes: ['+9891'], cost: 5 },
    { name: 'cheap', prefixes: ['+9891'], cost: 3 },
    { name: 'own', prefixes: ['+98912'], cost: 9 },
    { name: 'foreign', prefixes: ['+44'] },
  ]);
  const order: string[] = [];
  for (let answer = reserve(routing); answer.kind === 'place'; answer = reserve(routing, {}, order))
    order.push(answer.operator.name);
  assert.deepEqual(order, ['own', 'cheap', 'dear', 'any']);
  assert.deepEqual(reserve(routing, {}, order), { kind: 'wait', ms: 1000 });
  fakes.get('own')!.now = 'away';
  assert.equal(nameOf(reserve(routing)), 'cheap');
  assert.equal(nameOf(reserve(routing, { to: '+4477' })), 'foreign');
  assert.equal(nameOf(reserve(routing, { to: '+9893' })), 'any');
});

test('a number that no operator carries is told at once', () => {
  const { routing } = routingOf([{ name: 'mci', prefixes: ['+9891'] }]);
  assert.equal(reserve(routing, { to: '+9890123' }).kind, 'none');
  assert.equal(reserve(routing, { to: '+98' }).kind, 'none');
  assert.equal(reserve(routingOf([]).routing).kind, 'none');
});

test('operators that are equal share by weight; weight 0 stands by', () => {
  const { routing, fakes } = routingOf([
    { name: 'a', weight: 3, window: 1000 },
    { name: 'b', weight: 1, window: 1000 },
    { name: 'spare', weight: 0, window: 1000 },
  ]);
  const counts = { a: 0, b: 0, spare: 0 } as Record<string, number>;
  for (let i = 0; i < 400; i += 1) counts[nameOf(reserve(routing))]! += 1;
  assert.deepEqual(counts, { a: 300, b: 100, spare: 0 });
  fakes.get('a')!.now = 'away';
  fakes.get('b')!.now = 'away';
  assert.equal(nameOf(reserve(routing)), 'spare');
});

test('a window bounds what is under way, and a part of it is for express alone', () => {
  const { routing } = routingOf([{ name: 'mci', window: 4 }], { expressShare: 0.25 });
  const places = [1, 2, 3].map(() => placeOf(reserve(routing)));
  assert.equal(reserve(routing).kind, 'wait');
  places.push(placeOf(reserve(routing, { lane: 'express' })));
  assert.equal(reserve(routing, { lane: 'express' }).kind, 'wait');
  places[0]!.release(taken);
  places[0]!.release(taken); // once is enough
  assert.equal(reserve(routing).kind, 'wait', 'what is free is set aside for express');
  places[1]!.release(taken);
  assert.equal(reserve(routing).kind, 'place');
  assert.equal(reserve(routing, { lane: 'express' }).kind, 'place');
  assert.equal(reserve(routing, { lane: 'express' }).kind, 'wait');
});

test('the rate starts empty, is kept over any second, and is given back for what was not sent', () => {
  const { routing, clock } = routingOf([{ name: 'mci', window: 10_000, tps: 100 }]);
  assert.deepEqual(reserve(routing), { kind: 'wait', ms: 10 });
  let sent = 0;
  for (let ms = 0; ms < 1000; ms += 1) {
    clock.advance(1);
    for (let answer = reserve(routing); answer.kind === 'place'; answer = reserve(routing)) sent += 1;
  }
  assert.ok(sent >= 98 && sent <= 102, `in a second: ${sent}`);
  clock.advance(60_000);
  const burst: Place[] = [];
  for (let answer = reserve(routing); answer.kind === 'place'; answer = reserve(routing)) burst.push(answer);
  assert.equal(burst.length, 2, 'a pause saves up no more than a burst');
  burst[0]!.release();
  assert.equal(reserve(routing).kind, 'place');
});

test('a long SMPP message takes its segments from the rate', () => {
  const { routing, clock } = routingOf([
    { name: 'mci', driver: 'smpp', url: 'smpp://127.0.0.1', system_id: 'a', tps: 100 },
  ]);
  clock.advance(100);
  placeOf(reserve(routing, { segments: 5 }));
  assert.deepEqual(reserve(routing), { kind: 'wait', ms: 40 });
});

test('who asks for a pause gets it, and is no failure', () => {
  const { routing, clock } = routingOf([{ name: 'mci' }]);
  for (let i = 0; i < 10; i += 1) {
    placeOf(reserve(routing)).release({ kind: 'later', reason: 'status 429', afterMs: 500 });
    assert.deepEqual(reserve(routing), { kind: 'wait', ms: 500 });
    clock.advance(500);
  }
  assert.equal(routing.operators[0]!.state(), 'up');
});

test('five failures in a row open the breaker; one trial at a time closes it, or opens it for longer', () => {
  const { routing, clock } = routingOf([{ name: 'mci' }]);
  const [operator] = routing.operators;
  for (let i = 0; i < 4; i += 1) placeOf(reserve(routing)).release(unknown);
  placeOf(reserve(routing)).release(taken);
  for (let i = 0; i < 5; i += 1) placeOf(reserve(routing)).release(i % 2 === 0 ? unknown : refusedLater);
  assert.equal(operator!.state(), 'away');
  assert.equal(reserve(routing).kind, 'wait');
  clock.advance(1300);
  const trial = placeOf(reserve(routing));
  assert.equal(reserve(routing).kind, 'wait', 'a second message while the trial runs');
  trial.release(unknown);
  clock.advance(1300);
  assert.equal(reserve(routing).kind, 'wait', 'the second opening lasts two seconds');
  clock.advance(1300);
  placeOf(reserve(routing)).release(); // not sent: the next one is the trial
  placeOf(reserve(routing)).release({ kind: 'rejected', reason: 'the number is blocked' });
  assert.equal(operator!.state(), 'up');
  assert.equal(operator!.breaker, 'closed');
});

test('half of twenty calls that fail open the breaker, too; calls from before an opening teach nothing', () => {
  const { routing, clock } = routingOf([{ name: 'mci' }]);
  const [operator] = routing.operators;
  const old = [1, 2].map(() => placeOf(reserve(routing)));
  for (let i = 0; i < 18; i += 1) placeOf(reserve(routing)).release(i % 2 === 0 ? unknown : taken);
  assert.equal(operator!.breaker, 'closed');
  placeOf(reserve(routing)).release(unknown);
  assert.equal(operator!.breaker, 'open');
  clock.advance(1300);
  const trial = placeOf(reserve(routing));
  old[0]!.release(taken);
  assert.equal(operator!.breaker, 'half_open');
  trial.release(taken);
  old[1]!.release(unknown);
  assert.equal(operator!.breaker, 'closed');
});

test('an operator that opens its breaker hands over to the next one, and gets its share back', () => {
  const { routing, clock } = routingOf([
    { name: 'first', cost: 1 },
    { name: 'second', cost: 2 },
  ]);
  for (let i = 0; i < 5; i += 1) placeOf(reserve(routing)).release(refusedLater);
  assert.equal(nameOf(reserve(routing)), 'second');
  clock.advance(1300);
  const trial = placeOf(reserve(routing));
  assert.equal(trial.operator.name, 'first');
  assert.equal(nameOf(reserve(routing)), 'second');
  trial.release(taken);
  assert.equal(nameOf(reserve(routing)), 'first');
});

test('an operator that is away is waited for as long again as it has been away, by its breaker or without a bind', () => {
  const { routing, clock, fakes } = routingOf([{ name: 'mci', window: 1 }]);
  const waitAfter = (ms: number) => {
    clock.advance(ms);
    return reserve(routing);
  };
  const fake = fakes.get('mci')!;
  fake.now = 'away';
  assert.deepEqual([0, 900, 3000].map(waitAfter), [
    { kind: 'wait', ms: 100 },
    { kind: 'wait', ms: 900 },
    { kind: 'wait', ms: 3900 },
  ]);
  fake.now = 'up';
  for (let i = 0; i < 5; i += 1) placeOf(reserve(routing)).release(unknown);
  assert.deepEqual(waitAfter(0), { kind: 'wait', ms: 100 });
  // A trial is under way, and then it has failed.
  const trial = placeOf(waitAfter(1300));
  assert.deepEqual(waitAfter(2000), { kind: 'wait', ms: 3300 });
  trial.release(unknown);
  assert.deepEqual(waitAfter(100), { kind: 'wait', ms: 3400 });
  placeOf(waitAfter(30_000)).release(taken);
  placeOf(reserve(routing)).release(taken);
  fake.now = 'away';
  assert.deepEqual(waitAfter(0), { kind: 'wait', ms: 100 });
});

test('a number may be carried where no operator is known, by an operator of this process, or of a worker', () => {
  const numbers = ['+989121234567', '+442071234567'];
  const carried = (...own: string[][]) => new Carried(own.map((prefixes) => ({ prefixes })));
  const nobody = carried();
  assert.deepEqual(
    numbers.map((to) => nobody.has(to)),
    [true, true],
  );
  nobody.told(['+44']);
  assert.deepEqual(
    numbers.map((to) => nobody.has(to)),
    [false, true],
  );
  nobody.told([]);
  assert.deepEqual(
    numbers.map((to) => nobody.has(to)),
    [true, true],
  );
  const own = carried(['+9891', '+9899'], ['+9890']);
  assert.deepEqual(
    numbers.map((to) => own.has(to)),
    [true, false],
  );
  own.told(['+9890', '+4420']);
  assert.deepEqual(
    numbers.map((to) => own.has(to)),
    [true, true],
  );
  own.told([]);
  assert.deepEqual(
    numbers.map((to) => own.has(to)),
    [true, false],
  );
  assert.ok(carried(['+']).has('+442071234567'));
});

test('a message is counted for the operator that its number is routed to first', () => {
  const given = (name: string, more: Partial<GivenOperator>) => ({ name, driver: 'http', url: 'http://a/', ...more });
  const operators = parseOperators([
    given('mci', { prefixes: ['+9891'], cost: 3 }),
    given('dear', { prefixes: ['+9891'], cost: 5 }),
    given('one', { prefixes: ['+9893'], weight: 2 }),
    given('two', { prefixes: ['+9893'] }),
    given('standby', { prefixes: ['+9894'], weight: 0 }),
    given('rest', { prefixes: ['+98'] }),
  ]);
  const values = { operators: { operators } };
  const carrier = carrierOf(values);
  const numbers = ['+989121234567', '+989351234567', '+989401234567', '+982112345678', '+442071234567', '+'];
  assert.deepEqual(numbers.map(carrier), ['mci', 'several', 'standby', 'rest', 'none', 'none']);
  for (const name of numbers.map(carrier)) assert.ok(carrierNames(values).includes(name), name);
  assert.equal(carrierOf({ operators: { operators: [] } })('+989121234567'), 'none');
});
