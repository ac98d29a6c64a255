/**
 * Dimensions: what events and visits are counted by. The ids stand in the database and never change.
 *
 *   event   an event counts under its own values, in the slot of its timestamp
 *   visit   a visit counts under the values of its first event, in the slot of its begin; so do its events and views
 *
 * A value that is empty is not counted, except for `source`: '' there means that a visit came by itself.
 */
export const dimensions = {
  site: { id: 0, level: 'event', dictionary: 0 },
  bot: { id: 1, level: 'event', dictionary: 1 },
  path: { id: 2, level: 'event', dictionary: 2 },
  entry_page: { id: 3, level: 'visit', dictionary: 2 },
  exit_page: { id: 4, level: 'visit', dictionary: 2 },
  referrer: { id: 5, level: 'visit', dictionary: 5 },
  source: { id: 6, level: 'visit', dictionary: 6 },
  utm_source: { id: 7, level: 'visit', dictionary: 7 },
  utm_medium: { id: 8, level: 'visit', dictionary: 8 },
  utm_campaign: { id: 9, level: 'visit', dictionary: 9 },
  utm_term: { id: 10, level: 'visit', dictionary: 10 },
  utm_content: { id: 11, level: 'visit', dictionary: 11 },
  country: { id: 12, level: 'visit', dictionary: 12 },
  region: { id: 13, level: 'visit', dictionary: 13 },
  device: { id: 14, level: 'visit', dictionary: 14 },
  browser: { id: 15, level: 'visit', dictionary: 15 },
  os: { id: 16, level: 'visit', dictionary: 16 },
  event_type: { id: 17, level: 'event', dictionary: 17 },
  /** Its value is the JSON text of [event_type, key, value]; [event_type, key] is "(other)" of one property. */
  prop: { id: 18, level: 'event', dictionary: 18 },
} as const satisfies Readonly<
  Record<string, { readonly id: number; readonly level: 'event' | 'visit'; readonly dictionary: number }>
>;

export type Dimension = keyof typeof dimensions;
/** Dimensions and dictionaries have numbers below this. */
export const DIMENSIONS_MAX = 32;

/** The value of `site`, which has no others. */
export const ALL = 0n;
/**
 * Stands for every value beyond DIMENSION_VALUES_MAX of a day; shown as "(other)". Of `prop` for those of all properties
 * beyond PROPERTIES_MAX.
 */
export const OTHER = 1n;

/** Columns of `rollups.grain`. */
export const grains = { slot: 0, day: 1, month: 2 } as const;

export const SLOT_MS = 900_000;
export const SLOTS_PER_DAY = 96;
export const DAY_MS = 86_400_000;

export const slotOf = (ms: number): number => Math.floor(ms / SLOT_MS);
export const dayOf = (ms: number): number => Math.floor(ms / DAY_MS);
/** Months since year 0, of a UTC day. */
export function monthOf(day: number): number {
  const date = new Date(day * DAY_MS);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}
