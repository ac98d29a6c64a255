/**
 * Wire text: constant texts (names of headers, values, status lines) in the form that costs least to hand to the addon.
 * A string is measured, copied and freed at every crossing; of an ArrayBuffer only the address crosses. On the hot path
 * eleven constants cross per request: that saves 0.1 to 0.3 us, 2 to 5 % of all that a bare server does (`npm run bench
 * -- --only platform`).
 */

/** The ASCII text as bytes. Make them once, outside of handlers. */
export function wireText(text: string): ArrayBuffer {
  const bytes = new ArrayBuffer(text.length);
  Buffer.from(bytes).write(text, 'latin1');
  return bytes;
}

export const CONTENT_TYPE = wireText('Content-Type');

/** Names of request headers, for getHeader. */
export const asked = {
  contentEncoding: wireText('content-encoding'),
  contentLength: wireText('content-length'),
  contentType: wireText('content-type'),
  cookie: wireText('cookie'),
  dnt: wireText('dnt'),
  fetchDest: wireText('sec-fetch-dest'),
  fetchSite: wireText('sec-fetch-site'),
  forwardedProto: wireText('x-forwarded-proto'),
  gpc: wireText('sec-gpc'),
  origin: wireText('origin'),
  referer: wireText('referer'),
  storageAccess: wireText('sec-fetch-storage-access'),
  transferEncoding: wireText('transfer-encoding'),
  userAgent: wireText('user-agent'),
} as const;

/**
 * The same text in one piece, for one that is sent many times: what V8 puts together stays a tree, which everybody who
 * reads it, or puts it into another text, walks anew.
 */
export const flat = (text: string): string => (text.charCodeAt(0) >= 0 ? text : '');
