/** Goal: threads are started again, in time, and what they held is let go at once. Method: real threads that end as the test says. */
import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { createLog } from '../../../src/kernel/log.ts';
import { Supervisor } from '../../../src/kernel/threads/supervisor.ts';

const log = createLog({ level: 'silent', destination: 2, name: 'test' });
const file = (code: string): URL => new URL(`data:text/javascript,${encodeURIComponent(code)}`);
const DIES = file('process.exit(3)');
const LIVES = file('setTimeout(() => process.exit(0), 500)');

test('a thread that ends is cleaned up after at once and started again after a pause that doubles', async () => {
  const seen: { what: string; ms: number }[] = [];
  const note = (what: string) => seen.push({ what, ms: performance.now() });
  const supervisor = new Supervisor(log, () => assert.fail('not fatal'));
  supervisor.spawn({
    name: 'a',
    file: DIES,
    data: undefined,
    onDeath: 'restart',
    onStart: () => note('start'),
    onEnd: () => note('end'),
  });
  await expect.poll(() => seen.length).toBeGreaterThanOrEqual(8);
  supervisor.stop();
  assert.deepEqual(
    seen.slice(0, 8).map(({ what }) => what),
    Array.from({ length: 4 }, () => ['start', 'end']).flat(),
  );
  // What it held (pins!) is let go when it ends; only the start waits.
  for (const [i, pauseMs] of [100, 200, 400].entries()) {
    const pause = (seen[2 * i + 2]?.ms ?? 0) - (seen[2 * i + 1]?.ms ?? 0);
    assert.ok(pause >= pauseMs - 5, `pause ${i} was ${pause} ms`);
  }
  assert.deepEqual(supervisor.missing(), ['a']);
});

test('a thread that cannot be replaced is told by name and reason', async () => {
  const told: string[] = [];
  const supervisor = new Supervisor(log, (name, reason) => told.push(`${name}: ${reason}`));
  supervisor.spawn({ name: 'b', file: file('throw new Error("gone")'), data: undefined, onDeath: 'fatal' });
  await expect.poll(() => told.length).toBeGreaterThan(0);
  assert.match(told[0] ?? '', /^b: code 1: Error: gone/);
});

test('after stop() an end is what was wanted; join() names those that are late', async () => {
  const supervisor = new Supervisor(log, () => assert.fail('not fatal'));
  supervisor.spawn({ name: 'quick', file: DIES, data: undefined, onDeath: 'fatal' });
  supervisor.spawn({ name: 'late', file: LIVES, data: undefined, onDeath: 'restart' });
  supervisor.stop();
  assert.deepEqual(await supervisor.join(['quick'], 30_000), []);
  assert.deepEqual(await supervisor.join(['quick', 'late'], 50), ['late']);
  assert.deepEqual(await supervisor.join(['late'], 30_000), []);
});
