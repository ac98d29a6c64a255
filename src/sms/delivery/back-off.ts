/** When a message is tried again: the pause doubles with each attempt, and half of it is random, so that those that
 * failed together do not come together. */
export interface BackOff {
  readonly retryMs: number;
  readonly retryMaxMs: number;
}

/** Ms of the pause after attempt number `attempt` (from 1). `random`: 0 to 1. `afterMs`: what the operator asked for. */
export function pauseAfter(
  attempt: number,
  { retryMs, retryMaxMs }: BackOff,
  random: number,
  afterMs: number | undefined,
): number {
  const whole = Math.min(retryMaxMs, retryMs * 2 ** Math.min(attempt - 1, 30));
  const pause = whole / 2 + (random * whole) / 2;
  return Math.max(pause, afterMs ?? 0);
}
