/** Errors of access: a request without a key or a login, with a wrong one, or with one for something else. */
import { answer, defineErrors } from '../kernel/errors.ts';

interface Reason {
  readonly reason: string;
}

export const accessErrors = defineErrors('access', {
  KEY_REQUIRED: answer(401, false, 'A key is required', (f: Reason) => f.reason),
  KEY_INVALID: answer(
    401,
    false,
    'The key is not valid',
    () => 'the key must be one that exists, unchanged, neither revoked nor expired',
  ),
  KEY_FORBIDDEN: answer(403, false, 'The key is for something else', (f: Reason) => f.reason),
  LOGIN_REQUIRED: answer(401, false, 'A login is required', (f: Reason) => f.reason),
  LOGIN_FAILED: answer(
    401,
    false,
    'Name or password is wrong',
    () => 'user and password must be those of a user who is not disabled',
  ),
  ROLE_FORBIDDEN: answer(403, false, 'The role does not allow this', (f: Reason) => f.reason),
  FORGED_REQUEST: answer(403, false, 'The request does not come from a page of this service', (f: Reason) => f.reason),
  TOO_MANY_ATTEMPTS: answer(
    429,
    true,
    'There were too many attempts',
    (f: { by: string; retryAfterS: number }) => `attempts must pause: limit=${f.by}, retry after ${f.retryAfterS} s`,
  ),
  LOGIN_BUSY: answer(
    429,
    true,
    'Too many logins wait',
    () => 'passwords are checked a few at a time; retry in a moment',
  ),
  SHARE_INVALID: answer(
    401,
    false,
    'The share link is not valid',
    () => 'the link must be one that exists, for this site, not expired',
  ),
  SHARE_LOCKED: answer(
    401,
    false,
    'The share link needs its password',
    () => 'the password of the link must be given first: POST /api/share/unlock',
  ),
  SHARE_PASSWORD: answer(
    401,
    false,
    'The password of the share link is wrong',
    () => 'password must be that of the link',
  ),
  ACCESS_UNKNOWN: answer(
    503,
    true,
    'It is not known yet who may do this',
    () => 'sites and keys have not been read from the database yet; retry later',
  ),
});
