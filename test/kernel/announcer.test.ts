import { expect, test } from 'vitest';
import { ManualClock } from '../../src/kernel/clock.ts';
import { Announcer, attachBoard, counter, createBoard, defineMetrics, growingIn } from '../../src/kernel/metrics.ts';

const set = defineMetrics({
  refused_total: counter({
    help: 'Refused.',
    labels: { reason: ['full', 'slow'] },
    told: { level: 'warn', sentence: 'refused' },
  }),
  quiet_total: counter({ help: 'Nobody is told.' }),
});

function setUp() {
  const board = createBoard([set], 2);
  const threads = [attachBoard(set, board, 0), attachBoard(set, board, 1)];
  return { threads, ...announcerOf(board) };
}

function announcerOf(board: SharedArrayBuffer) {
  const lines: object[] = [];
  const write = (level: string) => (fields: object, sentence: string) =>
    void lines.push({ level, ...fields, sentence });
  const clock = new ManualClock();
  const log = { info: write('info'), warn: write('warn'), error: write('error') };
  const announcer = new Announcer(growingIn([set], board), log as never, clock);
  return { lines, clock, announcer };
}

// Goal: an operator sees the first refusal at once, and afterwards how many and how fast, without a line for each.
test('the first one is told at once, those of the next minute together with their rate', () => {
  const { threads, lines, clock, announcer } = setUp();
  announcer.look();
  expect(lines).toEqual([]);
  threads[0]!.refused_total.at({ reason: 'full' }).add(1);
  threads[1]!.quiet_total.at().add(5);
  announcer.look();
  expect(lines.splice(0)).toEqual([{ level: 'warn', reason: 'full', count: 1, sentence: 'refused' }]);

  for (let second = 1; second <= 60; second++) {
    clock.advance(1000);
    for (const thread of threads) thread.refused_total.at({ reason: 'full' }).add(10);
    announcer.look();
  }
  expect(lines.splice(0)).toEqual([
    { level: 'warn', reason: 'full', count: 1200, seconds: 60, perSecond: 20, sentence: 'refused' },
  ]);

  clock.advance(3_600_000);
  announcer.look();
  expect(lines).toEqual([]);
  threads[0]!.refused_total.at({ reason: 'slow' }).add(2);
  threads[0]!.refused_total.at({ reason: 'full' }).add(1);
  announcer.look();
  expect(lines).toEqual([
    { level: 'warn', reason: 'full', count: 1, sentence: 'refused' },
    { level: 'warn', reason: 'slow', count: 2, sentence: 'refused' },
  ]);
});

// Goal: nothing that was counted before the first look or since the last line is kept back: main looks only when the
// process is up, and for the last time when it ends.
test('what was counted before the first look is told, and the last look tells what waits for its minute', () => {
  const board = createBoard([set], 1);
  const full = attachBoard(set, board, 0).refused_total.at({ reason: 'full' });
  full.add(3);
  const { lines, clock, announcer } = announcerOf(board);
  announcer.look();
  expect(lines.splice(0)).toEqual([{ level: 'warn', reason: 'full', count: 3, sentence: 'refused' }]);
  clock.advance(10_000);
  full.add(5);
  announcer.look();
  expect(lines).toEqual([]);
  announcer.look(true);
  expect(lines.splice(0)).toEqual([
    { level: 'warn', reason: 'full', count: 5, seconds: 10, perSecond: 0.5, sentence: 'refused' },
  ]);
  announcer.look(true);
  expect(lines).toEqual([]);
  full.add(1);
  announcer.look(true);
  expect(lines).toEqual([{ level: 'warn', reason: 'full', count: 1, sentence: 'refused' }]);
});
