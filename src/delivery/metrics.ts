import { SinkBoard, type SinkBoardShared } from '../engine/sink-board.ts';
import { type Collected, type Collector, counter, defineMetrics, histogram } from '../kernel/metrics.ts';
import { seatStates } from '../kernel/threads/board.ts';

import type { Amount } from './source.ts';

/** What a failed try of a sink was, or what followed. */
export const failureClasses = ['retry', 'split', 'stop', 'connect'] as const;

/** Metrics that the threads of these outputs keep themselves; at least one output. */
export const sinkMetrics = (outputs: readonly string[]) =>
  defineMetrics({
    sink_failures_total: counter({
      help:
        'Failed attempts of a sink. Writes, by what followed: retry, split (halved), stop (needs an operator). ' +
        'connect: the target could not be opened, or did not respond to a probe.',
      labels: { sink: outputs, class: failureClasses },
    }),
    batch_flush_seconds: histogram({
      help: 'Time from handing a batch to a sink until its delivery, retries included.',
      labels: { sink: outputs },
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
    }),
    ringmain_sink_batches_total: counter({ help: 'Batches delivered.', labels: { sink: outputs } }),
    ringmain_sink_bytes_total: counter({ help: 'Bytes of batches delivered.', labels: { sink: outputs } }),
  });

/** A sink that has told nothing for this long is busy with one call; what came meanwhile is added to its lag. */
const QUIET_MS = 2000;

const dealtWith = ['delivered', 'dead', 'givenUp', 'skipped'] as const;

/**
 * What is computed from the sinks' board when somebody asks. `published`: what the source of an output holds by now,
 * counted as the output's thread counts it.
 */
export function sinkCollector(
  memory: SinkBoardShared,
  sinks: readonly string[],
  published: (sink: number) => Amount,
  now: () => number,
): Collector {
  const board = new SinkBoard(memory);
  // A thread that is held up tells no lag: its last word must not stand for ever while events pile up.
  const lag = (told: 'lagRecords' | 'lagBytes', seen: 'seenRecords' | 'seenBytes', what: 'records' | 'bytes') => {
    return (i: number): number => {
      const since = board.quietMs(i) > QUIET_MS ? published(i)[what] - board.get(i, seen) : 0;
      return board.get(i, told) + Math.max(0, since);
    };
  };
  const lagRecords = lag('lagRecords', 'seenRecords', 'records');
  const lagBytes = lag('lagBytes', 'seenBytes', 'bytes');
  const oldestSeconds = (i: number): number => {
    const told = age(board.get(i, 'oldestMs'), now());
    return board.quietMs(i) > QUIET_MS && lagRecords(i) > 0 ? Math.max(told, board.quietMs(i) / 1000) : told;
  };
  const each = (value: (i: number) => number) => sinks.map((sink, i) => ({ labels: { sink }, value: value(i) }));
  const ledger = (
    name: string,
    help: string,
    value: (i: number) => number,
    type: Collected['type'] = 'counter',
  ): Collected => ({
    name,
    help,
    type,
    // A figure that nobody has measured yet is left out: after a crash a lag of 0 would hide the backlog.
    values: each(value).filter((_, i) => board.told(i)),
  });
  return () => [
    ledger('queue_depth', 'Events that a sink has not delivered yet.', lagRecords, 'gauge'),
    ledger(
      'ringmain_sink_accepted_total',
      'Events that were to be delivered: delivered, dead, given up, skipped and pending.',
      (i) => board.get(i, 'passed') + lagRecords(i),
    ),
    ledger('ringmain_sink_delivered_total', 'Events delivered.', (i) => board.get(i, 'delivered')),
    ledger(
      'ringmain_sink_dead_letters_total',
      'Events that the target rejected for good, now in a dead-letter file.',
      (i) => board.get(i, 'dead'),
    ),
    ledger(
      'ringmain_sink_given_up_total',
      'Events that can no longer be delivered: damaged on disk, or deleted before the sink got to them.',
      (i) => board.get(i, 'givenUp'),
    ),
    ledger('ringmain_sink_skipped_total', 'Events of a kind that the output does not handle.', (i) =>
      board.get(i, 'skipped'),
    ),
    ledger(
      'ringmain_sink_ledger_mismatch',
      'Passed minus delivered, dead, given up and skipped. Anything but 0 is a bug: please report it.',
      (i) => board.get(i, 'passed') - dealtWith.reduce((sum, figure) => sum + board.get(i, figure), 0),
      'gauge',
    ),
    ledger('ringmain_sink_lag_bytes', 'Bytes of the log that a sink has not delivered yet.', lagBytes, 'gauge'),
    ledger(
      'ringmain_sink_oldest_seconds',
      'Age of the oldest event that a sink is working on; 0: none.',
      oldestSeconds,
      'gauge',
    ),
    {
      name: 'ringmain_sink_up',
      help: '1: the sink accepts events; 0 also while its thread is unresponsive.',
      type: 'gauge',
      values: each((i) => (board.state(i) === 'up' && !board.silent(i) ? 1 : 0)),
    },
    {
      name: 'ringmain_sink_state',
      help: `State of a sink: ${seatStates.join(', ')}.`,
      type: 'gauge',
      values: sinks.flatMap((sink, i) =>
        seatStates.map((state) => ({ labels: { sink, state }, value: board.state(i) === state ? 1 : 0 })),
      ),
    },
  ];
}

const age = (ms: number, now: number): number => (ms === 0 ? 0 : Math.max(0, (now - ms) / 1000));
