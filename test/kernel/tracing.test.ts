/** Tracing: its clocks. What it sends is tried in test/deploy/tracing.test.ts. */
import { expect, test } from 'vitest';
import { ManualClock } from '../../src/kernel/clock.ts';
import { beginSpan, TraceSampler } from '../../src/kernel/tracing.ts';

test('a span lasts as long as time passes, and the next one begins at the time that the clock was set to', () => {
  const clock = new ManualClock(1_000_000);
  const { startMs, endMs } = beginSpan(clock);
  clock.advance(7);
  clock.set(500);
  clock.advance(5);
  expect([startMs, endMs()]).toEqual([1_000_000, 1_000_012]);
  expect(beginSpan(clock).startMs).toBe(505);
});

test('TRACE_LIMIT counts seconds that pass, not those of a clock that is set', () => {
  const clock = new ManualClock(1_000_000);
  const sampler = new TraceSampler({ otelTracesSamplerArg: 1, traceLimit: 2 }, () => clock.elapsed());
  const taken = () => Array.from({ length: 5 }, () => sampler.sample('')).filter((found) => found !== undefined).length;
  expect(taken()).toBe(2);
  for (const ms of [0, 5_000_000, 2000]) {
    clock.set(ms);
    expect(taken()).toBe(0);
  }
  clock.advance(1000);
  expect(taken()).toBe(2);
});
