import assert from 'node:assert/strict';
import test from 'node:test';
import { type Behind, Pace } from '../../src/sinks/pace.ts';

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
