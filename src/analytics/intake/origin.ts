/**
 * Event origin: what the events of one POST /events have from their request and not from their text. A route reads it
 * inside the handler, because the addon's request is gone afterwards; the encoder asks it when the body is there.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { RefusalCode } from '../../events/batch-result.ts';
import type { Track } from '../../visitor/visitor.ts';

/** May a request write events of a site? Asked once for each site of a body, not for each event. */
export interface SiteGrant {
  admits(siteId: string): boolean;
  /** Of a site that it admits: how many days it keeps its events; Infinity: as long as all do. */
  retentionDays(siteId: string): number;
  /** Why not, for a site that it does not admit. */
  refusal(siteId: string): { readonly code: RefusalCode; readonly message: string };
}

export interface EventOrigin {
  /** Now, whole ms since 1970. */
  receivedMs: number;
  /** DNT_MODE=anonymize: neither a user id nor a visitor is written. */
  anonymous: boolean;
  /**
   * Members of the line that follow the campaign, in the order of event.ts, without braces:
   * `"country":"DE","os":"iOS"`. A bot has its name under "bot", last. Empty for none. Well-formed UTF-8 without
   * U+0000.
   */
  traits: Buffer;
  /** Undefined: every site (ACCESS=open). */
  grant: SiteGrant | undefined;
  /**
   * The visitor of events without a user id: 32 hex digits in lower case, '' when nobody can say. `day`: the UTC day of
   * the event's timestamp, in days since 1970. The encoder keeps the last answer while site and day stay.
   */
  visitorOf(siteId: string, day: number): string;
}

/** Reads origins; one per acceptor. */
export interface OriginReader {
  /** An origin that read() fills again for each request that uses it. */
  make(): EventOrigin;
  /** Do not track: whether events of this request may be stored, and how. */
  track(req: HttpRequest): Track;
  /** Inside the handler only. */
  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, origin: EventOrigin): void;
}
