/**
 * Origin: what a request brings besides its events, and what both encoders are made with.
 */
import type { SidMaker, UuidMaker } from '../kernel/ids.ts';

/** Who sent the events of one request, and when. Strings are empty when there is nothing. */
export interface Origin {
  /** The User-Agent header. */
  userAgent: string;
  /** The client's address as IP_MODE leaves it. */
  ip: string;
  /** The sid of a well-formed cookie. */
  cookieSid: string;
  /** Whether a sid may be made when neither event nor cookie has one. */
  mintSid: boolean;
  /** DNT_MODE=anonymize: no field that the schema calls personal, given or not; no sid is made. */
  anonymous: boolean;
  /** A JSON object each; undefined: nothing known of geo, UA_PARSE off. */
  geo: Buffer | undefined;
  device: Buffer | undefined;
  /** Now, whole ms since 1970. */
  receivedMs: number;
  /** Source id of the record. */
  source: number;
}

export interface EncoderOptions {
  /** MAX_EVENT_BYTES: the longest line, without its newline. */
  readonly eventBytesMax: number;
  /** Where ids come from: one maker per thread, shared by its encoders. */
  readonly ids: UuidMaker;
  readonly sids: SidMaker;
  /**
   * How to read a header's text that holds more than ASCII. Some servers hand a header over as one character per byte: then this
   * makes of them the text that was sent. Left out: the text is the text. Never called for ASCII, so it costs nothing there.
   */
  readonly headerText?: (text: string) => string;
}

/** A header's text that is a text already. */
export const asItIs = (text: string): string => text;
