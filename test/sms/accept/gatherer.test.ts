/** Groups of requests: what gathers while one is committed, bounds, keys under way, and who is to be left out. */
import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { problem } from '../../../src/kernel/errors.ts';
import type { Decision, Verdict } from '../../../src/sms/accept/decide.ts';
import { Gatherer } from '../../../src/sms/accept/gatherer.ts';
import type { Wanted } from '../../../src/sms/accept/wanted.ts';
import { wantedOf } from './accepting.ts';

const accepted = (wanted: Wanted): Verdict => ({
  kind: 'accepted',
  messageId: wanted.text,
  segments: 1,
  cost: 1,
  balance: 1,
  lane: 'normal',
});
const decided = (group: readonly Wanted[]): Decision => ({ verdicts: group.map(accepted), messages: [], charges: [] });

/** A gatherer whose commits end when the test says so. */
function gathering(options: { groupMessages?: number; acceptQueue?: number; acceptSessions?: number } = {}) {
  const groups: { readonly session: number; readonly texts: readonly string[]; end(error?: unknown): void }[] = [];
  const gatherer = new Gatherer({
    groupMs: 0,
    groupMessages: 100,
    acceptQueue: 1000,
    acceptSessions: 1,
    ...options,
    failed: problem,
    commit: (group, session) =>
      new Promise((resolve, reject) => {
        groups.push({
          session,
          texts: group.map(({ text }) => text),
          end: (error) => (error === undefined ? resolve(decided(group)) : reject(error)),
        });
      }),
  });
  const group = async (i: number) => {
    await expect.poll(() => groups.length).toBeGreaterThan(i);
    return groups[i]!;
  };
  return { gatherer, groups, group };
}
const one = (text: string, key?: string) =>
  wantedOf('ada', { text, ...(key === undefined ? {} : { idempotency_key: key }) });
const textsOf = (verdicts: readonly Verdict[]) =>
  verdicts.map((verdict) => (verdict.kind === 'refused' ? verdict.problem.code : verdict.messageId));

test('what comes while a group is committed is the next group, in order, and each gets its own verdicts', async () => {
  const { gatherer, group } = gathering();
  const first = gatherer.accept([one('a')]);
  await group(0);
  const others = [gatherer.accept([one('b'), one('c')]), gatherer.accept([one('d')])];
  assert.equal(gatherer.waiting, 4);
  (await group(0)).end();
  assert.deepEqual(textsOf(await first), ['a']);
  assert.deepEqual((await group(1)).texts, ['b', 'c', 'd']);
  (await group(1)).end();
  assert.deepEqual((await Promise.all(others)).map(textsOf), [['b', 'c'], ['d']]);
  assert.equal(gatherer.waiting, 0);
});

test('a group has at most so many messages, but a batch is never parted', async () => {
  const { gatherer, group } = gathering({ groupMessages: 3 });
  const all = [
    gatherer.accept([one('a'), one('b')]),
    gatherer.accept([one('c'), one('d')]),
    gatherer.accept([one('e'), one('f'), one('g'), one('h')]),
    gatherer.accept([one('i')]),
  ];
  const texts: (readonly string[])[] = [];
  for (let i = 0; i < 4; i++) {
    const next = await group(i);
    texts.push(next.texts);
    next.end();
  }
  assert.deepEqual(texts, [['a', 'b'], ['c', 'd'], ['e', 'f', 'g', 'h'], ['i']]);
  await Promise.all(all);
});

test('a key under way is refused, alone in its batch, and free again when its group has ended, well or not', async () => {
  const { gatherer, group } = gathering();
  const first = gatherer.accept([one('a', 'k')]);
  await group(0);
  assert.deepEqual(textsOf(await gatherer.accept([one('a', 'k')])), ['IDEMPOTENCY_IN_FLIGHT']);
  const mixed = gatherer.accept([one('a', 'k'), one('b', 'other'), one('c')]);
  (await group(0)).end(new TypeError('broken'));
  assert.deepEqual(textsOf(await first), ['INTERNAL']);
  (await group(1)).end();
  assert.deepEqual(textsOf(await mixed), ['IDEMPOTENCY_IN_FLIGHT', 'b', 'c']);
  const again = gatherer.accept([one('a', 'k')]);
  (await group(2)).end();
  assert.deepEqual(textsOf(await again), ['a']);
});

test('beyond the queue requests are refused at once, and those that wait are not', async () => {
  const { gatherer, group } = gathering({ acceptQueue: 2 });
  const waits = gatherer.accept([one('a'), one('b')]);
  assert.deepEqual(textsOf(await gatherer.accept([one('c')])), ['ACCEPT_BUSY']);
  (await group(0)).end();
  assert.deepEqual(textsOf(await waits), ['a', 'b']);
});

test('customers have turns, express before all others, and a flood of one leaves room for the rest', async () => {
  const { gatherer, group } = gathering({ acceptQueue: 20, groupMessages: 4 });
  const of = (customer: string, text: string, type?: string) => gatherer.accept([wantedOf(customer, { text, type })]);
  const all = [of('whale', 'first')];
  await group(0);
  const flood = await Promise.all(
    Array.from({ length: 30 }, (_, i) => Promise.race([of('whale', `w${i}`), undefined])),
  );
  // 10 of 20 places, with the one under way: half, when nobody else is there.
  assert.equal(flood.filter((verdicts) => verdicts !== undefined).length, 21);
  assert.equal(gatherer.waiting, 10);
  all.push(of('ant', 'a0'), of('ant', 'a1'), of('bee', 'b0'), of('whale', 'more'), of('fly', 'f0', 'express'));
  assert.deepEqual(textsOf(await all[4]!), ['ACCEPT_BUSY']);
  (await group(0)).end();
  assert.deepEqual((await group(1)).texts, ['f0', 'w0', 'a0', 'b0']);
  (await group(1)).end();
  assert.deepEqual((await group(2)).texts, ['w1', 'a1', 'w2', 'w3']);
  (await group(2)).end();
  await Promise.all(all);
});

test('a request whose client has gone before its group begins is left out, and its key is free', async () => {
  const { gatherer, groups, group } = gathering();
  const first = gatherer.accept([one('a')]);
  await group(0);
  let open = true;
  void gatherer.accept([one('b', 'k')], () => open);
  const third = gatherer.accept([one('c')]);
  open = false;
  (await group(0)).end();
  await first;
  assert.deepEqual((await group(1)).texts, ['c']);
  (await group(1)).end();
  await third;
  assert.equal(gatherer.waiting, 0);
  const again = gatherer.accept([one('b', 'k')]);
  (await group(2)).end();
  assert.deepEqual(textsOf(await again), ['b']);
  assert.equal(groups.length, 3);
});

test('sessions work side by side, and each has one group at a time', async () => {
  const { gatherer, groups, group } = gathering({ acceptSessions: 2, groupMessages: 1 });
  const all = ['a', 'b', 'c'].map((text) => gatherer.accept([one(text)]));
  await group(1);
  assert.equal(groups.length, 2);
  assert.notEqual(groups[0]!.session, groups[1]!.session);
  groups[1]!.end();
  assert.equal((await group(2)).session, groups[1]!.session);
  groups[0]!.end();
  groups[2]!.end();
  assert.deepEqual((await Promise.all(all)).flatMap(textsOf), ['a', 'b', 'c']);
});
