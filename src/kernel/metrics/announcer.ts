/**
 * Announcer: tells in the log that something happens which is only counted on the hot path: refusals, connections that
 * were closed, events that are given up. The first one makes a line at once; while it goes on, one line a minute says
 * how many and how fast. Main looks at the shared cells once a second, so the threads that count do nothing for it.
 */
import { type Clock, systemClock } from '../clock.ts';
import type { Logger } from '../log.ts';
import { SetCells } from './board.ts';
import { combinations, labelsAt, type MetricSet, stride, type Told } from './declare.ts';

const QUIET_MS = 60_000;

/** A number that grows from 0 while this process runs, and the words for it. */
export interface Growing extends Told {
  readonly fields: Readonly<Record<string, string>>;
  read(): number;
}

interface Watched {
  readonly growing: Growing;
  /** Where it stood when the last line was written. */
  told: number;
  /** When that was; -Infinity: never. */
  toldMs: number;
}

export class Announcer {
  readonly #log: Pick<Logger, 'info' | 'warn' | 'error'>;
  readonly #clock: Clock;
  readonly #watched: readonly Watched[];

  constructor(growing: readonly Growing[], log: Pick<Logger, 'info' | 'warn' | 'error'>, clock: Clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
    this.#watched = growing.map((one) => ({ growing: one, told: 0, toldMs: Number.NEGATIVE_INFINITY }));
  }

  /**
   * Writes the lines that are due. Call about once a second. `last`: nobody will look again, so nothing is held back.
   */
  look(last = false): void {
    const now = this.#clock.elapsed();
    for (const one of this.#watched) {
      const value = one.growing.read();
      const count = value - one.told;
      // A thread that is started again counts from 0 in the same cells: nothing to tell.
      if (count < 0) one.told = value;
      if (count <= 0 || (!last && now - one.toldMs < QUIET_MS)) continue;
      const { level, sentence, fields } = one.growing;
      const seconds = (now - one.toldMs) / 1000;
      // After a pause the first line says only that it has begun; a rate over less than a second says nothing.
      const rate =
        seconds >= 1 && seconds < 2 * (QUIET_MS / 1000)
          ? { seconds: Math.round(seconds), perSecond: rounded(count / seconds) }
          : {};
      this.#log[level]({ ...fields, count, ...rate }, sentence);
      one.told = value;
      one.toldMs = now;
    }
  }
}

const rounded = (rate: number): number => (rate >= 10 ? Math.round(rate) : Math.round(rate * 100) / 100);

/** The counters of these sets that are told, one per combination of labels, summed over all threads. */
export function growingIn(sets: readonly MetricSet[], board: SharedArrayBuffer): readonly Growing[] {
  return sets.flatMap((set) => {
    const cells = new SetCells(board, set);
    const slabs = Array.from({ length: cells.slots }, (_, slot) => cells.cells(slot));
    return Object.entries(set.metrics).flatMap(([name, metric]) => {
      const { told } = metric;
      if (told === undefined) return [];
      return Array.from({ length: combinations(metric.labels) }, (_, i): Growing => {
        const at = set.firstCells.get(name)! + i * stride(metric);
        return {
          ...told,
          fields: labelsAt(metric.labels, i),
          read: () => slabs.reduce((sum, slab) => sum + slab[at]!, 0),
        };
      });
    });
  });
}
