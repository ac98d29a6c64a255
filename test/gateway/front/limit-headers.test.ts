/**
 * Goal: the lines of limits are those of their own verdict, although they are kept for the next answer.
 * Method: rows of verdicts, each unlike the one before in one thing or in none.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { limitLines } from '../../../src/gateway/front/limit-headers.ts';
import type { Window } from '../../../src/gateway/limits/limiter.ts';

const minute: Window = { policy: 'user-minute', subject: 'user:1', limit: 60, windowS: 60, burst: 60 };
const hour: Window = { policy: 'user-hour', subject: 'user:1', limit: 600, windowS: 3600, burst: 600 };
const ip: Window = { policy: 'ip', subject: 'ip:1', limit: 60, windowS: 60, burst: 60 };
const both: readonly Window[] = [minute, hour];
const alone: readonly Window[] = [minute];
const address: readonly Window[] = [ip];
const asked = fc.record({
  who: fc.constantFrom([both, minute], [both, hour], [alone, minute], [address, ip]) as fc.Arbitrary<
    readonly [readonly Window[], Window]
  >,
  remaining: fc.constantFrom(0, 1, 59),
  resetMs: fc.constantFrom(0, 1, 999, 1000, 1001),
  nowMs: fc.constantFrom(1_796_000_000_000, 1_796_000_000_001, 1_796_000_001_000),
});

test('the lines are those of this verdict, whatever the one before was', () => {
  fc.assert(
    fc.property(fc.array(asked, { minLength: 1, maxLength: 20 }), (row) => {
      for (const { who, remaining, resetMs, nowMs } of row) {
        const [windows, window] = who;
        const said = limitLines(windows, { allowed: true, window, remaining, resetMs, retryAfterMs: 0 }, nowMs);
        expect(said.split('\r\n')).toEqual([
          '',
          `RateLimit: "${window.policy}";r=${remaining};t=${Math.ceil(resetMs / 1000)}`,
          `RateLimit-Policy: ${windows.map((one) => `"${one.policy}";q=${one.limit};w=${one.windowS}`).join(', ')}`,
          `X-RateLimit-Limit: ${window.limit}`,
          `X-RateLimit-Remaining: ${remaining}`,
          `X-RateLimit-Reset: ${Math.ceil((nowMs + resetMs) / 1000)}`,
        ]);
      }
    }),
    { numRuns: 500 },
  );
});
