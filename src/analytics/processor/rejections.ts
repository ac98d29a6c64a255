/** Rejections: apart from the reader of records, because every thread of the service has them as labels. */
import { limits } from '../event.ts';

/** Why a record is no event, in words. The names are labels of a metric, so the list is closed. */
export const rejections = {
  no_value: 'the value must not be null: the record is a tombstone',
  too_large: 'the value must not be larger than an event may be',
  not_json: 'the value must be JSON in UTF-8',
  not_object: 'the value must be a JSON object',
  site_id: `site_id must be a text of 1 to ${limits.siteId} characters`,
  event_type: `event_type must be a text of 1 to ${limits.eventType} characters`,
  user_id: `user_id must be a text of at most ${limits.userId} characters`,
  event_id: 'event_id must be a UUID',
  timestamp: 'timestamp must be a date and time after RFC 3339',
  too_old: 'timestamp must not be older than MAX_EVENT_AGE, RETENTION_DAYS and the retention of the site allow',
  refused: 'the database must take it',
} as const;

export type RejectReason = keyof typeof rejections;
