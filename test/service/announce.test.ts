/**
 * Goal: an event that a target rejects or that a sink gives up is told even when it happens while main still starts or
 * already ends; what earlier processes have counted is not told again.
 */
import { expect, test } from 'vitest';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import { createBoard } from '../../src/kernel/metrics.ts';
import { announce } from '../../src/service/announce.ts';

test('dead letters and given-up events of this process are told once, from its start to its last look', () => {
  const shared = SinkBoard.create(1);
  const board = new SinkBoard(shared);
  const lines: object[] = [];
  const log = { warn: (fields: object) => void lines.push(fields) };
  const deps = { sets: [], metrics: createBoard([], 1), engine: { board: shared }, outputs: ['http'] };
  // An earlier process has left seven; three come before the first look. Of the given-up ones only the base is set yet.
  board.set(0, 'deadBefore', 7);
  board.set(0, 'dead', 10);
  board.set(0, 'givenUpBefore', 4);
  const hush = announce({ ...deps, log: log as never });
  hush();
  expect(lines.splice(0)).toEqual([{ sink: 'http', count: 3 }]);
  board.set(0, 'givenUp', 4);
  hush();
  expect(lines).toEqual([]);
  board.set(0, 'givenUp', 6);
  board.set(0, 'dead', 11);
  hush();
  expect(lines).toEqual([
    { sink: 'http', count: 1 },
    { sink: 'http', count: 2 },
  ]);
});
