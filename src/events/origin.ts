/**
 * Origin: what a request carries besides its events, and the options that both encoders share.
 */
import type { SidMaker, UuidMaker } from '../kernel/ids.ts';

/** Who sent the events of one request, and when. Strings are empty when there is nothing. */
export interface Origin {
  /** The User-Agent header. */
  userAgent: string;
  /** The client's address after IP_MODE is applied. */
  ip: string;
  /** The sid of a well-formed cookie. */
  cookieSid: string;
  /** Whether the encoder may make a sid when neither event nor cookie has one: a cookie could bring it back. */
  mintSid: boolean;
  /** DNT_MODE=anonymize: no field that the schema calls personal is written, and no sid is made. */
  anonymous: boolean;
  /** Each a JSON object; undefined: no geo is known, UA_PARSE is off. */
  geo: Buffer | undefined;
  device: Buffer | undefined;
  /** Now, whole ms since 1970. */
  receivedMs: number;
  /** Source id of the record. */
  source: number;
}

/** An origin to be written over for each request: of nobody, at no time. */
export const blankOrigin = (source = 0): Origin => ({
  userAgent: '',
  ip: '',
  cookieSid: '',
  mintSid: false,
  anonymous: false,
  geo: undefined,
  device: undefined,
  receivedMs: 0,
  source,
});

export interface EncoderOptions {
  /** MAX_EVENT_BYTES: the longest line, without its newline. */
  readonly eventBytesMax: number;
  /** Where ids come from: one maker per thread, shared by its encoders. */
  readonly ids: UuidMaker;
  readonly sids: SidMaker;
  /**
   * How to read a header's text that is not pure ASCII. Some servers hand over one character per byte; then this
   * function restores the text that was sent. Left out: the text is used as it is. Never called for ASCII.
   */
  readonly headerText?: (text: string) => string;
}

/** For servers that hand over header texts decoded. */
export const asItIs = (text: string): string => text;
