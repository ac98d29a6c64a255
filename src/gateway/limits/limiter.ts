/**
 * Limiter: decides whether a request passes its windows, exactly, over all acceptor threads: in a time t a window lets
 * pass burst + floor(t / interval) requests, and the next one not (GCRA, ITU-T I.371).
 */

/** One window of one subject. */
export interface Window {
  /** Names the limit in answers: `ip`, `user;w=60`, `key;w=3600`. */
  readonly policy: string;
  /** Whom it counts: `ip:203.0.113.0`, `user:17`, `key:9fK2mQx07TbA`. */
  readonly subject: string;
  /** Requests in `windowS` seconds. */
  readonly limit: number;
  readonly windowS: number;
  /** The most at once; at most `limit`. */
  readonly burst: number;
}

export interface Verdict {
  readonly allowed: boolean;
  /** The window that refused; else the one that has the least left. */
  readonly window: Window;
  /** Requests that would pass at once now. */
  readonly remaining: number;
  /** Ms until the window is whole again. */
  readonly resetMs: number;
  /** Refused: ms until one request passes. */
  readonly retryAfterMs: number;
}

export interface Limiter {
  /**
   * Takes one request from each window, or from none of them. undefined: there is no window. A promise only with Redis,
   * which is asked across hosts.
   */
  take(windows: readonly Window[]): Verdict | undefined | Promise<Verdict | undefined>;
  /** What take() would find; takes nothing. */
  look(windows: readonly Window[]): Verdict | undefined;
  close(): void;
}
