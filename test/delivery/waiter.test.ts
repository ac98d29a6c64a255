import assert from 'node:assert/strict';
import { test } from 'vitest';
import { Waiter } from '../../src/delivery/waiter.ts';
import { createWakeWords, WakeWords } from '../../src/kernel/threads/wake.ts';

/** The shortest of some rests, ms: a busy machine may take long once; a wake-up that is lost is lost every time. */
async function shortestOf(rest: () => Promise<void>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const begin = performance.now();
    await rest();
    took.push(performance.now() - begin);
  }
  return Math.min(...took);
}

for (const kind of ['blocking', 'event-loop'] as const) {
  test(`${kind}: work that came between the last look and the announcement of sleep is found, not slept over`, async () => {
    const wake = new WakeWords(createWakeWords(2));
    const waiter = new Waiter(wake, 1, kind, 2 ** 24);
    await waiter.rest(1000, Number.POSITIVE_INFINITY, () => false);
    const ms = await shortestOf(() => {
      // Idle for long enough to lie down. The producer has published, and saw nobody asleep.
      wake.nudge(1);
      return waiter.rest(2000, Number.POSITIVE_INFINITY, () => true);
    });
    assert.ok(ms < 250, 'slept although there was work');
  });

  test(`${kind}: a deep sleeper is woken by a nudge that comes while it looks for the last time`, async () => {
    const wake = new WakeWords(createWakeWords(2));
    const waiter = new Waiter(wake, 1, kind, 2 ** 24);
    await waiter.rest(1000, Number.POSITIVE_INFINITY, () => false);
    const ms = await shortestOf(() =>
      waiter.rest(2000, Number.POSITIVE_INFINITY, () => {
        // Published after the look, before the wait: the nudge has to end the wait.
        wake.nudge(1);
        return false;
      }),
    );
    assert.ok(ms < 250, 'the wake-up was lost');
  });
}

/** How long the naps last after each of these amounts of work, ms, as the wait was asked for. */
async function naps(ringBytes: number, ...came: number[]): Promise<number[]> {
  const asked: number[] = [];
  const wake = new WakeWords(createWakeWords(2));
  wake.nap = (_sleeper, _count, ms) => void asked.push(ms);
  const waiter = new Waiter(wake, 1, 'blocking', ringBytes);
  for (const bytes of came) {
    waiter.busy(bytes);
    await waiter.rest(1000, Number.POSITIVE_INFINITY, () => false);
  }
  return asked;
}

test('naps grow while little comes, shrink while much comes, and are never longer than asked for or than the ring allows', async () => {
  const [little, fair, much] = [1000, 100_000, 1_000_000];
  assert.deepEqual(await naps(2 ** 24, little, little, little, fair, much, much, much), [8, 16, 16, 16, 8, 4, 4]);
  assert.deepEqual(await naps(2 ** 22, little, little, little), [8, 8, 8]);
  assert.deepEqual(await naps(2 ** 18, little, little), [4, 4]);
});
