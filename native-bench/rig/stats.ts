/**
 * The arithmetic of a benchmark: medians with their spread, percentiles, and a verdict on pairs that knows the noise.
 *
 * The verdict rests on order statistics, not on a normal distribution: of n independent paired ratios the true median
 * lies between the k-th smallest and the k-th largest with probability 1 - 2 * P(Binomial(n, 1/2) < k). That holds
 * whatever the noise looks like (a VM's is skewed and has outliers), needs no random numbers and no tuning.
 */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
  /** The probability that really stands behind the interval; steps with n, so it is at least what was asked for. */
  readonly confidence: number;
}

export type Verdict = 'faster' | 'slower' | 'same';

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = ascending(values);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function spread(values: readonly number[]): Spread {
  const sorted = ascending(values);
  return {
    median: median(sorted),
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
    count: sorted.length,
  };
}

/** The smallest value that at least `share` of all values do not exceed (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) return Number.NaN;
  return ascending(values)[Math.max(0, Math.ceil(share * values.length) - 1)]!;
}

/** Round i of one side over round i of the other: rounds are interleaved, so slow drift of the machine cancels. */
export function pairedRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.slice(0, theirs.length).map((value, i) => value / theirs[i]!);
}

/** The distribution-free interval of the median, or undefined when n is too small for the confidence asked for. */
export function medianInterval(values: readonly number[], confidence: number): Interval | undefined {
  const sorted = ascending(values);
  const n = sorted.length;
  let outside = 0; // P(Binomial(n, 1/2) < k), the chance to miss on one side
  let found: Interval | undefined;
  let term = 0.5 ** n; // P(Binomial(n, 1/2) = k - 1)
  for (let k = 1; k <= n / 2; k++) {
    outside += term;
    term *= (n - k + 1) / k;
    if (1 - 2 * outside < confidence) break;
    found = { low: sorted[k - 1]!, high: sorted[n - k]!, confidence: 1 - 2 * outside };
  }
  return found;
}

/**
 * Judges paired ratios new/old of a cost. 'same' means: not told apart at this confidence, or by less than `matters`;
 * the interval says how large a difference could have hidden.
 */
export function judge(
  ratios: readonly number[],
  { confidence = 0.99, matters = 0.01 } = {},
): { verdict: Verdict; ratio: number; interval: Interval | undefined } {
  const interval = medianInterval(ratios, confidence);
  const ratio = median(ratios);
  let verdict: Verdict = 'same';
  if (interval !== undefined && Math.abs(ratio - 1) >= matters) {
    if (interval.high < 1) verdict = 'faster';
    else if (interval.low > 1) verdict = 'slower';
  }
  return { verdict, ratio, interval };
}
