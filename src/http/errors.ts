/** Errors of HTTP itself: requests that are refused whatever the route does, and a port that is taken. */
import { answer, defineErrors, exitCodes, inside } from '../kernel/errors.ts';

interface Reason {
  readonly reason: string;
}

interface Limit {
  readonly bytes: number;
  readonly limit: number;
}

export const httpErrors = defineErrors('http', {
  BAD_REQUEST: answer(400, false, 'The request is not well-formed HTTP', (f: Reason) => f.reason),
  ORIGIN_FORBIDDEN: answer(
    403,
    false,
    'The origin is not allowed',
    (f: { origin: string }) => `origin must be one of CORS_ORIGINS: origin=${f.origin}`,
  ),
  NOT_FOUND: answer(404, false, 'No such route', (f: { path: string }) => `no such route: path=${f.path}`),
  METHOD_NOT_ALLOWED: answer(
    405,
    false,
    'The route does not support this method',
    (f: { method: string; allow: string }) => `method must be one of ${f.allow}: method=${f.method}`,
  ),
  BODY_TIMEOUT: answer(
    408,
    true,
    'The body arrived too slowly',
    (f: { bytes: number; limitMs: number }) => `body must arrive within ${f.limitMs} ms: bytes=${f.bytes}`,
  ),
  BODY_TOO_LARGE: answer(
    413,
    false,
    'The body is too large',
    (f: Limit) => `body exceeds the limit: bytes=${f.bytes}, limit=${f.limit}`,
  ),
  UNSUPPORTED_ENCODING: answer(
    415,
    false,
    'The content encoding is not supported',
    (f: { encoding: string }) => `content encoding must be identity, gzip, deflate or br: encoding=${f.encoding}`,
  ),
  INVALID_ENCODING: answer(
    400,
    false,
    'The body does not match its content encoding',
    (f: { encoding: string }) => `body cannot be decompressed: encoding=${f.encoding}`,
  ),
  BACKPRESSURE: answer(
    429,
    true,
    'Events cannot be accepted at the moment',
    (f: Reason) => `nothing was stored, retry later: reason=${f.reason}`,
  ),
  OVERLOADED: answer(
    503,
    true,
    'The server has no room for the request at the moment',
    (f: Reason) => `nothing was done, retry later: reason=${f.reason}`,
  ),
  ANSWER_TIMEOUT: answer(
    503,
    true,
    'The answer took too long',
    (f: { limitMs: number }) => `no answer in time: limitMs=${f.limitMs}`,
  ),
  PORT_IN_USE: inside(
    false,
    'The port is in use',
    (f: { address: string }) =>
      `port is in use: address=${f.address}; a second collector needs its own SERVER_ADDR, JOURNAL_DIR and LOG_PATH`,
    exitCodes.temporary,
  ),
});
