/**
 * Clock: time as an argument, so that tests can stop it, set it back and move it forward.
 *   now()      ms since 1970 by the wall clock; may step backwards (NTP, an operator): never use it for durations
 *   elapsed()  ms since a fixed moment, never steps backwards: for time-outs, ages and latencies
 */
export interface Clock {
  /** Whole ms since 1970 UTC. */
  now(): number;
  /** Ms with fractions; only differences have a meaning. */
  elapsed(): number;
}

/** The machine's clocks. */
export const systemClock: Clock = { now: () => Date.now(), elapsed: () => performance.now() };

/** Whole ms since 1970 UTC by the machine's wall clock. */
export const now: () => number = systemClock.now;

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  private wall: number;
  private monotonic = 0;

  constructor(startMs = 0) {
    this.wall = startMs;
  }

  now(): number {
    return this.wall;
  }

  elapsed(): number {
    return this.monotonic;
  }

  /** Time passes: both clocks move. */
  advance(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
  }

  /** Somebody sets the wall clock, perhaps backwards; no time passes. */
  set(wallMs: number): void {
    this.wall = wallMs;
  }
}
