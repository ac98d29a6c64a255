/** Finding: what `ringmain doctor` has seen at one place, how grave it is, and what to do about it. */

/** error: events cannot be taken, kept or delivered. warning: they can, at a price. */
export type Severity = 'ok' | 'note' | 'warning' | 'error';

export interface Finding {
  readonly severity: Severity;
  /** One sentence: what was seen. */
  readonly text: string;
  /** What to do, for a warning or an error. */
  readonly advice?: string;
}

export const ok = (text: string): Finding => ({ severity: 'ok', text });
export const note = (text: string): Finding => ({ severity: 'note', text });
export const warning = (text: string, advice: string): Finding => ({ severity: 'warning', text, advice });
export const error = (text: string, advice: string): Finding => ({ severity: 'error', text, advice });

/** Clocks this far apart show in reports; record times and signatures are judged by them. */
const SKEW_MS_MAX = 2000;

/**
 * Compares another clock with ours. `theirMs`: what the other told; `askedMs`, `toldMs`: our clock before and after.
 * The true difference lies within half of the round trip.
 */
export function skewFinding(who: string, theirMs: number, askedMs: number, toldMs: number): Finding {
  const skewMs = Math.round(theirMs - (askedMs + toldMs) / 2);
  const margin = Math.ceil((toldMs - askedMs) / 2);
  if (Math.abs(skewMs) <= SKEW_MS_MAX + margin)
    return ok(`the clock of ${who} agrees with ours within ${Math.max(Math.abs(skewMs), margin)} ms`);
  const way = skewMs > 0 ? 'ahead of' : 'behind';
  return warning(
    `the clock of ${who} is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${way} ours`,
    'Sync both clocks with NTP (chrony, systemd-timesyncd): receive times and reports are off by the difference.',
  );
}
