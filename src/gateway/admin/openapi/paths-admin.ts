/** Paths of the document that administrators ask: users, keys, limits, the audit log, usage, backends, request logs. */
import { OVERLAP_S_MAX } from '../../../service/database/key-changes.ts';
import { LOGS_LIMIT_MAX } from '../../logs/question.ts';
import { outcomes } from '../../metrics.ts';
import { keyIdSchema, userIdSchema } from '../schemas.ts';
import { administrators, answer, inPath, inQuery, type Json, json, type Refusal, refusals, takes } from './parts.ts';

const userPath = inPath('id', 'Id of the user.', userIdSchema);
const keyPath = inPath('id', 'Id of the key, the part of its text behind the environment.', keyIdSchema);
const backendPath = inPath('id', 'Id of the backend.', userIdSchema);
const always = [400, 401, 403, 429, 500, 503] as const;
const sends = [...always, 408, 413, 415] as const;
const ofQuery = (max: number) =>
  inQuery('limit', 'Entries of a page.', { type: 'integer', minimum: 1, maximum: max, default: 100 });
const month = { type: 'string', pattern: '^\\d{4}-(0[1-9]|1[0-2])$' } as const;
const time = { type: 'string', format: 'date-time' } as const;

interface Asked {
  readonly tag: string;
  readonly summary: string;
  readonly ok: Json;
  readonly refused?: readonly Refusal[];
  readonly more?: Json;
}

function asked(operationId: string, { tag, summary, ok, refused = always, more = {} }: Asked): Json {
  return {
    operationId,
    tags: [tag],
    summary,
    security: administrators,
    ...more,
    responses: { ...ok, ...refusals(...refused) },
  };
}
const gone = { 204: answer('It is gone.') };

/** A part of a user that is read and replaced as a whole. */
/** `nothing`: what it means when they are left out. */
function partOfUser(
  part: 'Limits' | 'Quota' | 'Networks',
  what: string,
  nothing = 'what is left out is not limited',
): Json {
  const ok = { 200: answer(`The ${what} as they are now.`, json(part)) };
  const more = { parameters: [userPath] };
  return {
    get: asked(`getUser${part}`, {
      tag: 'users',
      summary: `The ${what} of a user.`,
      ok,
      refused: [...always, 404],
      more,
    }),
    put: asked(`setUser${part}`, {
      tag: 'users',
      summary: `Replaces the ${what} of a user as a whole; ${nothing}.`,
      ok,
      refused: [...sends, 404],
      more: { ...more, ...takes(part) },
    }),
  };
}

export const adminPaths: Json = {
  '/api/v1/users': {
    get: asked('listUsers', {
      tag: 'users',
      summary: 'Users by id, a page at a time.',
      ok: { 200: answer('A page; `next` is the `after` of the one behind it.', json('UserPage')) },
      more: {
        parameters: [
          inQuery('after', 'Only users with a larger id.', { type: 'integer', minimum: 0 }),
          inQuery('search', 'Only users with this text in name or address.', { type: 'string', maxLength: 255 }),
          ofQuery(1000),
        ],
      },
    }),
    post: asked('addUser', {
      tag: 'users',
      summary: 'Adds a user.',
      ok: { 201: answer('The user.', json('User')) },
      refused: [...sends, 409],
      more: takes('NewUser'),
    }),
  },
  '/api/v1/users/{id}': {
    get: asked('getUser', {
      tag: 'users',
      summary: 'A user with limits, quota and networks.',
      ok: { 200: answer('The user.', json('User')) },
      refused: [...always, 404],
      more: { parameters: [userPath] },
    }),
    patch: asked('changeUser', {
      tag: 'users',
      summary: 'Changes a user; one that is not active is refused everywhere within a second.',
      ok: { 200: answer('The user as it is now.', json('User')) },
      refused: [...sends, 404, 409],
      more: { parameters: [userPath], ...takes('UserChange') },
    }),
    delete: asked('removeUser', {
      tag: 'users',
      summary: 'Removes a user with its keys; its requests and its usage stay in the log.',
      ok: gone,
      refused: [...always, 404],
      more: { parameters: [userPath] },
    }),
  },
  '/api/v1/users/{id}/limits': partOfUser(
    'Limits',
    'limits',
    'what is left out is not limited, but for requests per minute: USER_REQUESTS_PER_MINUTE',
  ),
  '/api/v1/users/{id}/quota': partOfUser('Quota', 'quotas'),
  '/api/v1/users/{id}/networks': partOfUser('Networks', 'networks', 'none: every network'),
  '/api/v1/users/{id}/keys': {
    get: asked('listKeys', {
      tag: 'keys',
      summary: 'The keys of a user, also those that were revoked; the newest is the last.',
      ok: { 200: answer('The keys, without their secrets.', json('KeyList')) },
      refused: [...always, 404],
      more: { parameters: [userPath] },
    }),
    post: asked('addKey', {
      tag: 'keys',
      summary: 'Makes a key.',
      ok: { 201: answer('The key: `key` and `signing_key` are shown here and never again.', json('MadeKey')) },
      refused: [...sends, 404, 409],
      more: { parameters: [userPath], ...takes('NewKey') },
    }),
  },
  '/api/v1/keys/{id}/rotate': {
    post: asked('rotateKey', {
      tag: 'keys',
      summary: `Gives a key another secret; the one before stays good for overlap_s seconds, at most ${OVERLAP_S_MAX}.`,
      ok: { 200: answer('The key: `key` and `signing_key` are shown here and never again.', json('MadeKey')) },
      refused: [...sends, 404, 409],
      more: { parameters: [keyPath], ...takes('Rotation') },
    }),
  },
  '/api/v1/keys/{id}': {
    patch: asked('changeKey', {
      tag: 'keys',
      summary:
        'Changes name, scopes, end, networks or limits of a key; what is left out stays, the key itself as well.',
      ok: { 200: answer('The key.', json('Key')) },
      refused: [...sends, 404, 409],
      more: { parameters: [keyPath], ...takes('KeyChange') },
    }),
    delete: asked('revokeKey', {
      tag: 'keys',
      summary: 'Revokes a key for good; it is refused everywhere within a second.',
      ok: gone,
      refused: [...always, 404],
      more: { parameters: [keyPath] },
    }),
  },
  '/api/v1/audit': {
    get: asked('listAudit', {
      tag: 'audit',
      summary: 'What administrators did, the newest first.',
      ok: { 200: answer('A page; `next` is the `before` of the one behind it.', json('AuditPage')) },
      more: {
        parameters: [
          inQuery('before', 'Only entries with a smaller id.', { type: 'integer', minimum: 1 }),
          ofQuery(1000),
        ],
      },
    }),
  },
  '/api/v1/usage': {
    get: asked('getUsage', {
      tag: 'usage',
      summary: 'What a user has used in a month: requests, and bytes of the bodies of answers.',
      ok: { 200: answer('The usage.', json('Usage')) },
      refused: [...always, 404],
      more: {
        security: administrators,
        parameters: [
          inQuery('user_id', 'The user; a key asks for its own, also when it is left out.', userIdSchema),
          inQuery('month', 'A month of UTC, YYYY-MM; default: the present one.', month),
        ],
      },
    }),
  },
  '/api/v1/backends': {
    get: asked('listBackends', {
      tag: 'backends',
      summary: 'Backends, and how they do.',
      ok: { 200: answer('The backends.', json('BackendList')) },
    }),
    post: asked('addBackend', {
      tag: 'backends',
      summary: 'Adds a backend.',
      ok: { 201: answer('The backend.', json('Backend')) },
      refused: [...sends, 409],
      more: takes('NewBackend'),
    }),
  },
  '/api/v1/backends/{id}': {
    patch: asked('changeBackend', {
      tag: 'backends',
      summary: 'Changes the weight of a backend, or drains it; it holds at once.',
      ok: { 200: answer('The backend as it is now.', json('Backend')) },
      refused: [...sends, 404],
      more: { parameters: [backendPath], ...takes('BackendChange') },
    }),
    delete: asked('removeBackend', {
      tag: 'backends',
      summary: 'Removes a backend.',
      ok: gone,
      refused: [...always, 404],
      more: { parameters: [backendPath] },
    }),
  },
  '/api/v1/logs': {
    get: asked('listLogs', {
      tag: 'logs',
      summary: 'Requests, also those that were refused, the newest first.',
      ok: { 200: answer('A page; `next` is the `cursor` of the one behind it.', json('LogPage')) },
      more: {
        parameters: [
          inQuery('user_id', 'Of this user.', userIdSchema),
          inQuery('key_id', 'With this key.', keyIdSchema),
          inQuery('status', 'A status, or a class like 4xx.', { type: 'string', pattern: '^[1-5](xx|\\d\\d)$' }),
          inQuery('outcome', 'How it ended.', { type: 'string', enum: [...outcomes] }),
          inQuery('from', 'Not before this time.', time),
          inQuery('to', 'Before this time.', time),
          inQuery('path', 'What the path begins with.', { type: 'string', maxLength: 8192 }),
          ofQuery(LOGS_LIMIT_MAX),
          inQuery('cursor', '`next` of the page before.', { type: 'string' }),
        ],
      },
    }),
  },
};
