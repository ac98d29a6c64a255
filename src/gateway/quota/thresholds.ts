/** Thresholds: at which shares of a quota a message is sent (messages.ts), in SQL. */

/** Percent. */
export const THRESHOLDS = [80, 100];

/** The highest threshold that a figure has reached; 0: none, or there is no quota. */
export const reached = (used: string, quota: string): string =>
  `CASE WHEN coalesce(${quota}, 0) = 0 THEN 0 ${[...THRESHOLDS]
    .sort((a, b) => b - a)
    .map((percent) => `WHEN ${used}::numeric * 100 >= ${quota}::numeric * ${percent} THEN ${percent}`)
    .join(' ')} ELSE 0 END`;

/** A quota that was raised is told about again: its months forget what they had reached of a smaller one. */
export const FORGET_REACHED = `UPDATE usage_months u SET
    notified_requests = least(u.notified_requests, ${reached('u.requests', 'q.monthly_requests')}),
    notified_bytes = least(u.notified_bytes, ${reached('u.bytes', 'q.monthly_bytes')})
  FROM quotas q WHERE q.user_id = u.user_id AND u.user_id = $1
    AND u.month >= date_trunc('month', now() AT TIME ZONE 'UTC')`;
