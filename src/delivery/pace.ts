/**
 * Pace: does an output keep up with what comes in? Pace measures its lag in windows. A lag that has grown in every
 * window of a minute, while the target took events all the time, means that the target is too slow; no back-off mends
 * that.
 *
 * There is no alarm for one burst, for a backlog that shrinks after an outage, or for a target that is away.
 */
export interface Behind {
  readonly intakePerSecond: number;
  readonly deliveredPerSecond: number;
  readonly lagEvents: number;
}

const WINDOW_MS = 10_000;
/** Windows in a row that make an alarm: one minute. */
const WINDOWS = 6;

export class Pace {
  #beganMs = Number.NaN;
  #lag = 0;
  #passed = 0;
  #upAllTheTime = true;
  #grown = 0;

  /**
   * Called often, with the number of events not delivered yet and of all those ever passed. At the end of a window it
   * returns how far the output is behind if its lag has grown for a minute, or 'keeps up' if the lag has not grown.
   */
  observe(nowMs: number, up: boolean, lagEvents: number, passed: number): Behind | 'keeps up' | undefined {
    if (!up) this.#upAllTheTime = false;
    const ms = nowMs - this.#beganMs;
    if (ms < WINDOW_MS) return undefined;
    const first = Number.isNaN(ms);
    const delivered = passed - this.#passed;
    const growth = lagEvents - this.#lag;
    this.#grown = !first && this.#upAllTheTime && growth > 0 ? this.#grown + 1 : 0;
    this.#beganMs = nowMs;
    this.#lag = lagEvents;
    this.#passed = passed;
    this.#upAllTheTime = up;
    if (first) return undefined;
    if (this.#grown < WINDOWS) return this.#grown === 0 ? 'keeps up' : undefined;
    const perSecond = (events: number): number => Math.round((events * 1000) / ms);
    return { intakePerSecond: perSecond(delivered + growth), deliveredPerSecond: perSecond(delivered), lagEvents };
  }
}
