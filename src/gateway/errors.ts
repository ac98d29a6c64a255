/** Errors of the gateway: why a request was refused, and what went wrong behind it. */
import { answer, defineErrors } from '../kernel/errors.ts';

interface Reason {
  readonly reason: string;
}

export const gatewayErrors = defineErrors('gateway', {
  KEY_EXPIRED: answer(
    401,
    false,
    'The key has expired',
    (f: { expiredAt: string }) => `the key expired at ${f.expiredAt}`,
  ),
  SIGNATURE_INVALID: answer(401, false, 'The signed URL is not valid', (f: Reason) => f.reason),
  USER_INACTIVE: answer(403, false, 'The user is not active', () => 'the user of this key must be active'),
  SCOPE_MISSING: answer(
    403,
    false,
    'The key may not do this',
    (f: { scope: string }) => `the key must have the scope ${f.scope}`,
  ),
  NETWORK_FORBIDDEN: answer(
    403,
    false,
    'The address is not allowed',
    (f: { address: string }) => `the address must be in a network of the user and of the key: found=${f.address}`,
  ),
  RATE_LIMITED: answer(
    429,
    true,
    'Too many requests',
    (f: { limit: string; retryAfterS: number }) => `the limit ${f.limit} is used up: retry after ${f.retryAfterS} s`,
  ),
  QUOTA_EXCEEDED: answer(
    429,
    true,
    'The quota of the month is used up',
    (f: { which: string; limit: number; used: number; resetAt: string; retryAfterS: number }) =>
      `the ${f.which} of this month are used up: limit=${f.limit}, used=${f.used}, until ${f.resetAt}`,
  ),
  NO_ROOM: answer(
    503,
    true,
    'Requests cannot be recorded now',
    () => 'there is no room for the records of requests, and none is served uncounted; retry later',
  ),
  USAGE_UNKNOWN: answer(
    503,
    true,
    'What was used of the quota is not known yet',
    () => 'the server has just started and still counts what was used this month; retry in a moment',
  ),
  NO_BACKEND: answer(503, true, 'No backend', () => 'no backend may be used now'),
  BACKENDS_BUSY: answer(
    503,
    true,
    'The backends are busy',
    (_: { retryAfterS?: number | undefined }) => 'every place at a backend is taken',
  ),
  BACKEND_FAILED: answer(502, true, 'The backend has failed', (f: Reason) => f.reason),
  BACKEND_TIMEOUT: answer(
    504,
    true,
    'The backend is too slow',
    (f: { limitMs: number }) => `no answer within ${f.limitMs} ms`,
  ),
  PICTURE_UNKNOWN: answer(404, false, 'There is no such picture', () => 'the source of the picture must exist'),
  PICTURE_UNFIT: answer(
    422,
    false,
    'The picture cannot be made',
    (f: { status: number }) => `source and options must be ones that imgproxy takes: its status was ${f.status}`,
  ),
  SOURCE_FORBIDDEN: answer(403, false, 'The source is not allowed', (f: Reason) => f.reason),
  UPLOAD_UNKNOWN: answer(
    415,
    false,
    'It is no picture that is taken',
    (f: { found: string }) =>
      `a picture must be a JPEG, PNG, GIF, WebP, AVIF or HEIC with a header that can be read: found=${f.found}`,
  ),
  UPLOAD_PIXELS: answer(
    413,
    false,
    'The picture has too many pixels',
    (f: { width: number; height: number; limit: number }) =>
      `a picture must have at most ${f.limit} pixels: found=${f.width}x${f.height}`,
  ),
  STORAGE_EXCEEDED: answer(
    413,
    false,
    'The room for uploads is used up',
    (f: { limit: number; used: number; bytes: number }) =>
      `uploads must fit the storage quota: limit=${f.limit}, used=${f.used}, this one=${f.bytes} bytes`,
  ),
  LOGS_TOO_SLOW: answer(
    503,
    true,
    'The log could not be read in time',
    () => 'so many requests could not be looked through in time; narrow the question by from and to, user_id or key_id',
  ),
  UPLOADS_FULL: answer(
    507,
    true,
    'The disk is full',
    () => 'there is no room on the disk of uploads; nothing was kept',
  ),
});
