/**
 * Hints: what the API of another product calls a key of ours, for the answer to who sends its events here. Nothing is
 * renamed: an event that has a key of ours keeps all others in props.
 */
import type { EventKey } from './schema.ts';

const names: Readonly<Partial<Record<EventKey, readonly string[]>>> = {
  event_id: ['eventId', 'id', 'uuid', 'messageId', 'message_id', '$insert_id', 'eid'],
  ts: ['timestamp', 'time', 'date', 'originalTimestamp', 'sentAt', 'timestamp_micros', 'dtm'],
  e: ['event', 'type', 'name', 'event_name', 'eventName', 'event_type', 'eventType', 'action', 'en'],
  uid: ['userId', 'user_id', 'user', 'distinct_id', 'client_id', 'clientId'],
  sid: ['sessionId', 'session_id', 'session', 'anonymousId', 'anonymous_id', 'visitorId', 'visitor_id', 'cid'],
  url: ['page', 'href', 'location', 'page_location', 'page_url', 'pageUrl', '$current_url', 'dl'],
  ref: ['referrer', 'referer', 'page_referrer', '$referrer', 'dr'],
  ua: ['userAgent', 'user_agent'],
  utm: ['campaign', 'utm_source'],
  props: ['properties', 'params', 'data', 'payload', 'traits'],
};
const known = new Map(
  Object.entries(names).flatMap(([key, others]) => others.map((other) => [other.toLowerCase(), key as EventKey])),
);

/** Our key for a name of another API; undefined when there is none. */
export const hintFor = (name: string): EventKey | undefined => known.get(name.toLowerCase());
