/** Refusals: apart from the lane, because every thread of a service has them as labels. */

/** Why a lane takes no more events now. Closed: also the label of the refused counter. */
export const refusals = [
  'ring_full',
  'journal_full',
  'journal_stalled',
  'sink_lag',
  'write_failed',
  'journal_failed',
] as const;
export type Refusal = (typeof refusals)[number];
