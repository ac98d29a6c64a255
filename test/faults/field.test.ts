/**
 * Goal: the failures that other collectors have had in the field are each proven not to be ours, and whoever renames a test keeps its name.
 * Method: the list, and the titles of all tests.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'vitest';

/** Whose failure it was: the words that stand in the titles of the tests that prove it. */
const failures = [
  'fluent-bit#10952', // acknowledged data thrown away after kill -9
  'fluent-bit#2246', // a bad config at a restart deleted the backlog
  'fluent-bit#5265', // one corrupt chunk stopped the start
  'fluent-bit#11847', // alive, and doing nothing
  'fluent-bit#5166', // memory at a restart over a large backlog
  'fluent-bit#7461', // a limit of memory that was ignored
  'fluent-bit#2475', // the oldest undelivered chunks were thrown away
  'vector#25570', // a crash between unlink and ledger
  'vector#8763', // a full disk, then space again
  'vector#22946', // a lone event stays in the buffer
  'vector#4601', // acknowledged although the write failed
  'vector#22489', // acknowledged before the sync
  'vector#18457', // requests pile up instead of 429
  'vector#19759', // counters that wrap
  'bento#329', // the sink returns, delivery does not
  'rudder#4953', // one dead sink slows all
  'rudder#709', // "delivered" noted before it was
  'GoTrack poison batch', // one refused row stops everything behind it
  'PostHog S3 retry', // a retry that sends nothing
  'posthog#43811', // clients that stall in the middle of a body
  'Divolte, nginx', // answered before it is written
  'matomo#13617', // 60,000 in, 25,000 stored
  'stream-collector#418', // a sink that blocks, blocks intake
  'snowplow#2465', // 200 for ever, kept in the heap
  'Jitsu shutdown', // what is left at the end is forgotten
  'jitsu#1180', // events lost for hours, no health signal
  'worldmonitor#5715', // the monitor green while every POST failed
  'worldmonitor#6024', // silent for 144 minutes
] as const;

test('each known failure of another collector has a test that carries its name', () => {
  const titles = globSync('test/**/*.test.ts').flatMap((file) =>
    [
      ...readFileSync(file, 'utf8').matchAll(/^\s*(?:await t\.)?test\(\s*(['"`].*)$|^ {2}\['(?:journal|sync)'.*$/gm),
    ].map(([line]) => line),
  );
  assert.deepEqual(
    failures.filter((failure) => !titles.some((title) => title.includes(failure))),
    [],
  );
});
