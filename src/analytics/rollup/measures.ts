/**
 * Measures: the columns of `rollups`. All but the sketch are sums: what a visitor's day counted for before an event is
 * taken off, what it counts for afterwards is put on (visitor-day.ts), so events may come in any order.
 *
 *   events, views   events, and those that are a page_view. Under a dimension of level `visit`: of its visits
 *   visits          visits that begin there
 *   bounces         of these, with one event
 *   duration_ms     of these, from their first to their last event
 *   firsts          grain slot: visitors without a user id whose first time under this value on their UTC day is here
 *                   grain day, month: how many of them there were; a month has the sum of its days
 *   lasts           grain slot: the same of their last time. Other grains: 0
 *   users           grain day: distinct signed-in visitors under this value on the UTC day. Other grains: 0
 *   engaged_ms      of the dimensions site and path: how long somebody looked (event.ts: engagedMs)
 *   sketch          signed-in visitors under this value (sketch.ts), for ranges that are longer than a day
 *
 * A visitor without a user id has another id on the next UTC day. So in a window that begins within UTC day A and ends
 * within a later day B there are exactly
 *
 *   sum of lasts over the slots of A from the begin on  +  sum of firsts over the days between  +  sum of firsts over
 *   the slots of B before the end
 *
 * of them, and within one UTC day the firsts before an end, or the lasts from a begin on. Signed-in visitors of up to
 * 25 hours are exact for a whole site by user_gaps; otherwise they come from the sketches, with an error that the
 * answer states.
 */
export interface Measures {
  events: number;
  views: number;
  visits: number;
  bounces: number;
  duration_ms: number;
  engaged_ms: number;
  firsts: number;
  lasts: number;
  users: number;
}

/** Kinds of `user_gaps`. */
export const gapKinds = { viewers: 0, visitors: 1 } as const;
