/**
 * Goal: the word to stop reaches the keeper also out of its deepest sleep, promptly, and what is published is synced by
 * the time it has ended. Method: the real thread over a journal on a real disk, told to end as the process tells it:
 * another phase, then a wake-up.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, type TestContext, test } from 'vitest';
import { type EngineConfig, engineConfig } from '../../src/engine/config.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { LaneWriter } from '../../src/engine/lane.ts';
import { keeperMetrics } from '../../src/engine/metrics.ts';
import { loadConfig } from '../../src/kernel/config.ts';
import { createLog } from '../../src/kernel/log.ts';
import { createBoard } from '../../src/kernel/metrics.ts';
import { ThreadBoard } from '../../src/kernel/threads/board.ts';
import { KEEPER_SEAT } from '../../src/kernel/threads/roster.ts';
import { Supervisor } from '../../src/kernel/threads/supervisor.ts';
import { createWakeWords, WakeWords } from '../../src/kernel/threads/wake.ts';
import { appendRecord } from './lanes.ts';

const file = new URL('../../src/engine/keeper-thread.ts', import.meta.url);
/** i32 words from one sleeper to the next. */
const line = createWakeWords(1).byteLength / 4;

async function startKeeper(t: TestContext, options: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-keeper-'));
  const env = { JOURNAL_DIR: join(folder, 'journal'), JOURNAL_MAX_BYTES: '1GiB', RING_BYTES: '1MiB', ...options };
  const { values } = loadConfig([engineConfig], { env, argv: [] });
  const engine = openEngine({
    config: (values as unknown as { engine: EngineConfig }).engine,
    lanes: 1,
    sinks: [{ name: 'log', drops: false, lagBytesMax: 0 }],
    keep: [],
    start: 'earliest',
  });
  const { shared } = engine;
  const supervisor = new Supervisor(createLog({ level: 'silent', destination: 2, name: 'test' }), () => undefined);
  t.onTestFinished(() => {
    engine.release();
    rmSync(folder, { recursive: true });
  });
  supervisor.spawn({
    name: 'keeper',
    file,
    data: {
      shared: shared.keeper,
      metrics: createBoard([keeperMetrics], 1),
      log: { level: 'silent', destination: 2 },
    },
    onDeath: 'restart',
  });
  const wake = new WakeWords(shared.wake);
  const words = new Int32Array(shared.wake);
  const sleeps = (): boolean => Atomics.load(words, KEEPER_SEAT * line + 1) === 1;
  const writer = new LaneWriter(shared.lanes[0]!);
  await expect.poll(() => writer.control.spareReady(), { message: 'a segment is ready' }).toBe(true);
  return {
    writer,
    /** Resolves when it has just begun to sleep deeply. */
    asleep: () => expect.poll(() => sleeps(), { message: 'an idle keeper sleeps deeply' }).toBe(true),
    wake: () => wake.wake(KEEPER_SEAT),
    /** As the service does it at the end of a drain. Resolves with whether it lay down once more before it ended. */
    stop: async (): Promise<boolean> => {
      supervisor.stop();
      new ThreadBoard(shared.board.threads).setPhase(KEEPER_SEAT, 'drain');
      wake.wake(KEEPER_SEAT);
      let layDown = false;
      // It would lie for a quarter of a second, so a look every millisecond sees it, whatever else the machine does.
      const look = setInterval(() => {
        layDown ||= sleeps();
      }, 1);
      assert.deepEqual(await supervisor.join(['keeper'], 30_000), []);
      clearInterval(look);
      return layDown;
    },
  };
}

// The keeper looks at its phase between the count of its wake word and its nap: one that looked before would sleep
// through the wish.
test('a stop that finds the keeper in deep sleep ends it at once, in its first such sleep and in a later one', async (t) => {
  for (const sleepsBefore of [0, 0, 0, 1, 2]) {
    const keeper = await startKeeper(t);
    await keeper.asleep();
    for (let i = 0; i < sleepsBefore; i++) {
      keeper.wake();
      await keeper.asleep();
    }
    assert.equal(await keeper.stop(), false, `it lay down once more: sleepsBefore=${sleepsBefore}`);
  }
});

test('what is published and not due yet is synced by the stop', async (t) => {
  const { writer, stop } = await startKeeper(t, { SYNC_INTERVAL_MS: '10s' });
  // The first sync is due at once, whatever the interval.
  appendRecord(writer, 1, 100);
  assert.ok(writer.publish());
  await expect.poll(() => writer.ring.synced() === writer.tail, { message: 'the first sync' }).toBe(true);
  appendRecord(writer, 2, 100);
  assert.ok(writer.publish());
  await sleep(50);
  assert.ok(writer.ring.synced() < writer.tail, 'it is not due for seconds');
  await stop();
  assert.equal(writer.ring.synced(), writer.tail);
});
