/**
 * Day counts: what the raw events of a day say where its sums cannot (raw-paths.ts), for everybody who asks. A count may
 * read the database for seconds, and a busy day has other views each time it is asked for. So
 *
 *   one at a time  in a process; few others wait, and whoever asks for a day that is counted or waits shares its count
 *   remembered     a count holds for as long as the sums have the views that it was made of: they only ever grow, so
 *                  the day has the same events then. A day that grows is counted anew when its count is FRESH_MS old
 *   the last one   stands in while a count is under way, and where a later one failed, until it is OLD_MS old
 *
 * A count is all numbers of the day at one moment, so an answer that is some seconds old agrees with itself.
 */
import { type Clock, systemClock } from '../../kernel/clock.ts';
import type { Stats } from '../schemas.ts';

const FRESH_MS = 10_000;
const OLD_MS = 60_000;
/** A day that could not be counted is left alone for so long. Shorter than OLD_MS: one failure costs no answer. */
const REST_MS = 30_000;
/** Counts under way or waiting: as many as can end before whoever asks gives up (ASK_MS_MAX). */
const COUNTS_MAX = 4;
/** Days that are remembered; ten paths of 2000 characters each take some kilobytes. */
const DAYS_MAX = 200;

export type DayNumbers = Pick<Stats, 'total_views' | 'unique_users' | 'top_paths'>;

export interface DayCount {
  /** Page views with a path. */
  readonly views: number;
  readonly numbers: DayNumbers;
}

interface Day {
  /** The last count that was right. */
  readonly count: DayCount | undefined;
  /** It is not older than this moment. */
  readonly countMs: number;
  /** When it could not be counted, if that was later. */
  readonly failedMs: number;
}
const NEVER = Number.NEGATIVE_INFINITY;
const UNKNOWN: Day = { count: undefined, countMs: NEVER, failedMs: NEVER };

export class DayCounts {
  /** The one that was asked for least recently is the first. */
  readonly #days = new Map<string, Day>();
  /** Under way or waiting, by day. */
  readonly #counts = new Map<string, Promise<DayNumbers | undefined>>();
  /** Ends with the last of them. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #clock: Pick<Clock, 'elapsed'>;

  constructor(clock: Pick<Clock, 'elapsed'> = systemClock) {
    this.#clock = clock;
  }

  /**
   * `sums`: what the sums say now, with ten that may lack one. `count`: reads the day, or resolves with undefined when
   * raw events cannot say it. Undefined: neither can this.
   */
  async of(key: string, sums: DayCount, count: () => Promise<DayCount | undefined>): Promise<DayNumbers | undefined> {
    const nowMs = this.#clock.elapsed();
    const day = this.#days.get(key) ?? UNKNOWN;
    if (day.count?.views === sums.views) {
      // It is of this moment then, and so are numbers that events without a path have moved.
      const numbers = { ...sums.numbers, top_paths: day.count.numbers.top_paths };
      this.#keep(key, { ...day, count: { views: sums.views, numbers }, countMs: nowMs });
      return numbers;
    }
    const last = this.#last(key);
    const due = nowMs - day.countMs >= FRESH_MS && nowMs - day.failedMs >= REST_MS;
    if (!due || (last !== undefined && this.#counts.size > 0)) return last;
    return this.#shared(key, count);
  }

  #shared(key: string, count: () => Promise<DayCount | undefined>): Promise<DayNumbers | undefined> {
    const shared = this.#counts.get(key);
    if (shared !== undefined) return shared;
    if (this.#counts.size >= COUNTS_MAX) return Promise.resolve(undefined);
    const counted = this.#turn.then(() => this.#count(key, count)).finally(() => this.#counts.delete(key));
    this.#counts.set(key, counted);
    this.#turn = counted.catch(() => undefined);
    return counted;
  }

  async #count(key: string, count: () => Promise<DayCount | undefined>): Promise<DayNumbers | undefined> {
    const beginMs = this.#clock.elapsed();
    const counted = await count();
    if (counted !== undefined) {
      this.#keep(key, { count: counted, countMs: beginMs, failedMs: NEVER });
      return counted.numbers;
    }
    this.#keep(key, { ...(this.#days.get(key) ?? UNKNOWN), failedMs: this.#clock.elapsed() });
    return this.#last(key);
  }

  /** The last count of a day, where it may stand in for one of now. */
  #last(key: string): DayNumbers | undefined {
    const { count, countMs } = this.#days.get(key) ?? UNKNOWN;
    return this.#clock.elapsed() - countMs < OLD_MS ? count?.numbers : undefined;
  }

  #keep(key: string, day: Day): void {
    this.#days.delete(key);
    this.#days.set(key, day);
    if (this.#days.size <= DAYS_MAX) return;
    for (const oldest of this.#days.keys()) {
      this.#days.delete(oldest);
      return;
    }
  }
}
