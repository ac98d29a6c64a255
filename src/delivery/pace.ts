/**
 * Pace: does a sink keep up with the intake? Its lag is looked at in windows; when it has grown in every window for a minute
 * while the target took events all the time, the target is too slow for what comes in, and no back-off will mend that.
 *
 * A backlog that shrinks after an outage is no alarm, nor is one burst; a target that is away is another matter.
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
   * To be called often: the events not delivered yet, and those passed since some beginning. Returns something at the end of each
   * window: how far the sink is behind after a minute of growth, else 'keeps up'.
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
