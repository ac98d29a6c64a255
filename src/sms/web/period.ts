/** Period: how far back the page looks, and the steps that its chart has. */
const MINUTE = 60_000;
const DAY = 86_400_000;

export interface Period {
  readonly id: 'hour' | 'day' | 'month';
  readonly label: string;
  readonly report: 'minute' | 'day';
  readonly stepMs: number;
  readonly steps: number;
}

export const periods: readonly Period[] = [
  { id: 'hour', label: '1 hour', report: 'minute', stepMs: MINUTE, steps: 60 },
  { id: 'day', label: '24 hours', report: 'minute', stepMs: 15 * MINUTE, steps: 96 },
  { id: 'month', label: '30 days', report: 'day', stepMs: DAY, steps: 30 },
];

export interface Stretch {
  /** Ms since 1970. */
  readonly from: number;
  readonly to: number;
}

/** Whole steps up to the one that runs. */
export function stretchOf({ stepMs, steps }: Period, now: number): Stretch {
  const to = (Math.floor(now / stepMs) + 1) * stepMs;
  return { from: to - steps * stepMs, to };
}

export const query = ({ from, to }: Stretch): string =>
  `from=${encodeURIComponent(new Date(from).toISOString())}&to=${encodeURIComponent(new Date(to).toISOString())}`;

/** The period of the address (#day); the first one without. */
export const periodIn = (hash: string): Period => periods.find(({ id }) => hash === `#${id}`) ?? periods[0]!;
