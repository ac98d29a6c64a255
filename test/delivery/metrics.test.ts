import { expect, test } from 'vitest';
import { sinkCollector } from '../../src/delivery/metrics.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';

// Goal: after a crash nobody reads "nothing is owed" before the sink's thread has looked at the log.
test('the lag of a sink is no figure before its thread has measured it', () => {
  const memory = SinkBoard.create(2);
  const board = new SinkBoard(memory);
  const collect = sinkCollector(
    memory,
    ['log', 'kafka'],
    () => ({ records: 0, bytes: 0 }),
    () => 0,
  );
  const values = (name: string) => collect().find((metric) => metric.name === name)?.values;
  board.set(1, 'lagRecords', 7);
  board.tell(1);

  expect(values('queue_depth')).toEqual([{ labels: { sink: 'kafka' }, value: 7 }]);
  expect(values('ringmain_sink_accepted_total')).toEqual([{ labels: { sink: 'kafka' }, value: 7 }]);
  expect(values('ringmain_sink_up')).toHaveLength(2);

  board.tell(0);
  expect(values('queue_depth')).toEqual([
    { labels: { sink: 'log' }, value: 0 },
    { labels: { sink: 'kafka' }, value: 7 },
  ]);
});
