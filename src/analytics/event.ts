/**
 * The event of analytics: what a record of the log and of the topic holds. Its line is JSON in the shape of the
 * contract, with fields of ours beside it; keys stand in this order, and those without a value are left out.
 *
 *   event_id     uuid in lower case; made at intake when the client gives none
 *   site_id      1 to 100 characters       event_type  1 to 50
 *   path         text                      user_id     up to 100
 *   timestamp    RFC 3339, UTC, milliseconds: the event's time after the rules of clock.ts
 *   received_at  when a process of ours took it; six more digits tell acceptances of one ms apart (intake/receipts.ts).
 *                A record without it, or without `via`, is foreign
 *   visitor      32 hex digits: who it was, when there is no user_id (visitor-id.ts)
 *   url, referrer, title, props, utm_source, utm_medium, utm_campaign, utm_term, utm_content
 *   country, region, device, browser, os, bot (name of the bot)
 *   via          events | px | collect: the route
 */

/** Kind of the record (events/service-record.ts). */
export const ANALYTICS_KIND = 16;

/** Limits in characters (code points), as varchar counts them. */
export const limits = {
  siteId: 100,
  eventType: 50,
  userId: 100,
  /** path, url, referrer, title, utm_*: longer ones are cut. */
  text: 2000,
  props: 30,
  propKey: 100,
  propValue: 500,
} as const;

/** How far a clock may be ahead, ms; beyond, the time of receipt counts. */
export const AHEAD_MS_MAX = 5 * 60_000;

export const utmKeys = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content'] as const;
/** What a client may set, in the order of the line. */
export const eventKeys = [
  ...(['event_id', 'site_id', 'event_type', 'path', 'user_id', 'timestamp'] as const),
  ...(['url', 'referrer', 'title', 'props', ...utmKeys] as const),
] as const;
export type EventKey = (typeof eventKeys)[number];
export const placeKeys = ['country', 'region'] as const;
export const agentKeys = ['device', 'browser', 'os'] as const;

type Texts<K extends string> = { readonly [P in K]?: string | undefined };
export type PropValue = string | number | boolean;

/**
 * An event of this type whose only property is `ms`, a positive number, says how long somebody looked at a page. It is
 * no event of a visit or a visitor, and counts under nothing but the engaged time of its site and page. Anybody may use
 * the word: with other properties, or none, it is an event like all others.
 */
export const ENGAGEMENT = 'engagement';
/** Of one event; a tracker tells far more often. */
const ENGAGED_MS_MAX = 86_400_000;

/** Whole ms, 1 at least; 0: the event says nothing of the kind. */
export function engagedMs(eventType: string, props: Readonly<Record<string, unknown>> | null | undefined): number {
  if (eventType !== ENGAGEMENT || !props) return 0;
  const { ms, ...others } = props;
  if (typeof ms !== 'number' || !(ms > 0) || Object.keys(others).length > 0) return 0;
  return Math.min(Math.max(1, Math.round(ms)), ENGAGED_MS_MAX);
}

/** An event whose line was read and found valid (processor/record-line.ts). */
export interface AnalyticsEvent
  extends Texts<(typeof utmKeys)[number] | (typeof placeKeys)[number] | (typeof agentKeys)[number]> {
  readonly eventId: string;
  readonly siteId: string;
  readonly eventType: string;
  readonly path?: string | undefined;
  readonly userId?: string | undefined;
  /** Ms since 1970. */
  readonly timestampMs: number;
  readonly receivedMs: number;
  /** As the line has it: of an event without a user id. */
  readonly visitor?: string | undefined;
  readonly url?: string | undefined;
  readonly referrer?: string | undefined;
  readonly title?: string | undefined;
  readonly props?: Readonly<Record<string, PropValue>> | undefined;
  readonly bot?: string | undefined;
  readonly via?: string | undefined;
}

/** An event as it is counted: its site is known, and who it was. */
export interface CountedEvent {
  readonly event: AnalyticsEvent;
  /** `sites.site`. */
  readonly site: number;
  /**
   * 32 hex digits; undefined: nobody knows. Of a user id: 128 bits of SHA-256 of it. Without one: of the UTC day of the
   * timestamp and the record's visitor, so that it never stands on two days.
   */
  readonly visitor: string | undefined;
  /** It has a user id: its visitor is the same on every day. */
  readonly signedIn: boolean;
  /** Where the visit came from (processor/source.ts): a known name, a host, or '' for none. */
  readonly source: string;
}
