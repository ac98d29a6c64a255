import assert from 'node:assert/strict';
import test from 'node:test';
import { createWakeWords, WakeWords } from '../../src/engine/wake.ts';
import { Waiter } from '../../src/sinks/waiter.ts';

for (const kind of ['blocking', 'event-loop'] as const) {
  test(`${kind}: work that came between the last look and the announcement of sleep is found, not slept over`, async () => {
    const wake = new WakeWords(createWakeWords(2));
    const waiter = new Waiter(wake, 1, kind);
    await waiter.rest(1000, Number.POSITIVE_INFINITY, () => false);
    const begin = performance.now();
    // Idle for long enough to lie down. The producer has published, and saw nobody asleep.
    wake.nudge(1);
    await waiter.rest(2000, Number.POSITIVE_INFINITY, () => true);
    assert.ok(performance.now() - begin < 250, 'slept although there was work');
  });

  test(`${kind}: a deep sleeper is woken by a nudge that comes while it looks for the last time`, async () => {
    const wake = new WakeWords(createWakeWords(2));
    const waiter = new Waiter(wake, 1, kind);
    await waiter.rest(1000, Number.POSITIVE_INFINITY, () => false);
    const begin = performance.now();
    await waiter.rest(2000, Number.POSITIVE_INFINITY, () => {
      // Published after the look, before the wait: the nudge has to end the wait.
      wake.nudge(1);
      return false;
    });
    assert.ok(performance.now() - begin < 250, 'the wake-up was lost');
  });
}
