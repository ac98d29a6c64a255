/** What the engine tells operators, computed from the memory that keeper and producer write to. */
import { expect, test } from 'vitest';
import { createLaneControl, FULL_DISK, FULL_NONE, FULL_QUOTA, LaneControl } from '../../src/engine/lane-control.ts';
import { JournalFigures, journalCollector, laneCollector, laneProblem } from '../../src/engine/metrics.ts';
import { createRing, Ring, RingProducer } from '../../src/engine/ring.ts';
import type { Collector } from '../../src/kernel/metrics.ts';
import { publishFrame } from './ring-frames.ts';

const valuesOf = (collect: Collector): Record<string, number[]> =>
  Object.fromEntries(collect().map(({ name, values }) => [name, values.map(({ value }) => value)]));

test('a lane names the worst of what keeps it from taking events', () => {
  const control = new LaneControl(createLaneControl());
  expect(laneProblem(control)).toBeUndefined();
  control.setFull(FULL_DISK);
  expect(laneProblem(control)).toMatch(/disk refuses/);
  control.setFull(FULL_QUOTA);
  expect(laneProblem(control)).toMatch(/JOURNAL_MAX_BYTES/);
  control.offerSpare({ fd: 3, serial: 1, bytes: 8192 });
  expect(laneProblem(control)).toBeUndefined();
  control.setFull(FULL_NONE);
  control.setPaused(true);
  expect(laneProblem(control)).toMatch(/MAX_LAG_BYTES/);
  control.setStuck(true);
  expect(laneProblem(control)).toMatch(/write failed/);
  control.setFailed();
  expect(laneProblem(control)).toMatch(/syncing failed twice in a row/);
});

test('a lane counts what is published, and with a journal what is not synced', () => {
  const ring = new Ring(createRing(4096, 0));
  const producer = new RingProducer(ring, true);
  publishFrame(producer, 0, 128, 1);
  publishFrame(producer, 1, 256, 1);
  ring.setSynced(128);
  const idle = new Ring(createRing(4096, 0));
  expect(valuesOf(laneCollector([ring, idle], true))).toEqual({
    ringmain_lane_events_total: [2, 0],
    ringmain_lane_bytes_total: [384, 0],
    ringmain_lane_unsynced_bytes: [256, 0],
  });
  expect(valuesOf(laneCollector([ring], false))['ringmain_lane_unsynced_bytes']).toEqual([0]);
});

test('the journal tells how long its room lasts at the present rate', () => {
  const figures = new JournalFigures(JournalFigures.create());
  figures.set('quotaBytes', 1000);
  figures.set('usedBytes', 400);
  const left = () => valuesOf(journalCollector(figures))['ringmain_journal_seconds_left'];
  expect(left()).toEqual([Number.POSITIVE_INFINITY]);
  figures.set('rateBytesPerSecond', 60);
  expect(left()).toEqual([10]);
  figures.set('usedBytes', 1200);
  expect(left()).toEqual([0]);
});
