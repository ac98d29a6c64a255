import assert from 'node:assert/strict';
import { test } from 'vitest';
import { type Behind, Pace } from '../../src/delivery/pace.ts';
import { Standing } from '../../src/delivery/standing.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import type { Logger } from '../../src/kernel/log.ts';

/** Plays seconds of [events in per second, events out per second, up], and gives back what was said and when. */
function play(
  ...parts: [seconds: number, into: number, out: number, up?: boolean][]
): [second: number, said: Behind | 'keeps up'][] {
  const pace = new Pace();
  const said: [number, Behind | 'keeps up'][] = [];
  let [second, lag, passed] = [0, 0, 0];
  for (const [seconds, into, out, up = true] of parts) {
    for (let n = 0; n < seconds * 10; n += 1) {
      const found = pace.observe(second * 1000, up, Math.round(lag), Math.round(passed));
      if (found !== undefined) said.push([Math.round(second), found]);
      const taken = Math.min(out / 10, lag + into / 10);
      lag += into / 10 - taken;
      passed += taken;
      second += 0.1;
    }
  }
  return said;
}
const alarms = (said: [number, Behind | 'keeps up'][]) => said.filter(([, what]) => what !== 'keeps up');

test('an intake above what the target takes is told after a minute, with both rates', () => {
  const said = alarms(play([95, 50_000, 20_000]));
  assert.deepEqual(
    said.map(([second]) => second),
    [60, 70, 80, 90],
  );
  const [, first] = said[0]! as [number, Behind];
  assert.ok(Math.abs(first.intakePerSecond - 50_000) < 600, JSON.stringify(first));
  assert.ok(Math.abs(first.deliveredPerSecond - 20_000) < 300);
  assert.ok(Math.abs(first.lagEvents - 1_800_000) < 20_000);
});

test('no alarm for a burst, for a backlog that shrinks, for an even load, for a target that is away', () => {
  assert.deepEqual(alarms(play([45, 50_000, 20_000], [200, 5000, 20_000])), []);
  assert.deepEqual(alarms(play([300, 20_000, 20_000])), []);
  assert.deepEqual(alarms(play([200, 20_000, 0, false], [300, 20_000, 30_000])), []);
});

test('after the alarm it says when the sink keeps up again', () => {
  const said = play([75, 50_000, 20_000], [60, 5000, 20_000]);
  const last = said.findLastIndex(([, what]) => what !== 'keeps up');
  assert.equal(said[last + 1]![1], 'keeps up');
  assert.ok(said[last + 1]![0] <= 90);
});

// Goal: the operator learns it. Method: a sink's standing over two minutes of its own clock, its figures told ten times
// a second.
test('the warning is one line in the log, after a minute, with both rates; a target that keeps up writes none', () => {
  for (const [into, expected] of [
    [5000, 1],
    [2000, 0],
  ] as const) {
    const warned: [ms: number, fields: object, sentence: string][] = [];
    let [now, lag, passed] = [0, 0, 0];
    const log = {
      info: () => undefined,
      warn: (fields: object, sentence: string) => void warned.push([now, fields, sentence]),
    };
    const standing = new Standing(
      {
        name: 'postgres',
        classify: () => 'retry',
        kind: { waits: 'event-loop' },
        board: new SinkBoard(SinkBoard.create(1)),
        index: 0,
        waiter: { pause: async () => undefined },
        log: log as unknown as Logger,
      },
      () => now,
      () => ({
        published: { records: passed + lag, bytes: 500 * (passed + lag) },
        lag: { records: lag, bytes: 500 * lag },
        ledger: { passed, delivered: passed, dead: 0, givenUp: 0 },
        oldestMs: 0,
      }),
    );
    standing.up();
    for (; now < 120_000; now += 100) {
      standing.tell();
      passed += 200;
      lag += into / 10 - 200;
    }
    assert.equal(warned.length, expected);
    for (const [ms, fields, sentence] of warned) {
      assert.ok(ms >= 60_000 && ms < 75_000, `after ${ms} ms`);
      assert.equal(sentence, 'intake has exceeded the throughput of postgres for a minute');
      assert.deepEqual({ ...fields, lagEvents: 0 }, { intakePerSecond: 5000, deliveredPerSecond: 2000, lagEvents: 0 });
    }
  }
});
