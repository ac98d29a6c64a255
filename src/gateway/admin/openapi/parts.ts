/** Parts that the paths of the document are put together from: schemas by name, answers, refusals, parameters. */
import type { BodySchema } from '../../../http/json.ts';
import { problemSchema } from '../../../http/problem.ts';
import { answer as bare, type Json, namedSchemas, refusalsOf, retryAfter } from '../../../service/openapi/parts.ts';
import { auditPageSchema, readinessSchema } from '../../../service/schemas.ts';
import { logPageSchema } from '../../logs/schemas.ts';
import { usageSchema } from '../../quota/usage-schema.ts';
import * as admin from '../schemas.ts';
import * as other from './schemas.ts';

export { content, inPath, inQuery, type Json, plain } from '../../../service/openapi/parts.ts';

export const named = {
  User: admin.userSchema,
  UserPage: admin.userPageSchema,
  NewUser: admin.newUserSchema,
  UserChange: admin.userChangeSchema,
  Limits: admin.limitsSchema,
  Quota: admin.quotaSchema,
  Networks: admin.networksSchema,
  Key: admin.keySchema,
  KeyList: admin.keyListSchema,
  NewKey: admin.newKeySchema,
  KeyChange: admin.keyChangeSchema,
  MadeKey: admin.madeKeySchema,
  Rotation: admin.rotationSchema,
  AuditPage: auditPageSchema,
  Upload: other.uploadSchema,
  UploadPage: other.uploadPageSchema,
  Signing: other.signingSchema,
  Signed: other.signedSchema,
  Purge: other.purgeSchema,
  Usage: usageSchema,
  Backend: other.backendSchema,
  BackendList: other.backendListSchema,
  NewBackend: other.newBackendSchema,
  BackendChange: other.backendChangeSchema,
  LogPage: logPageSchema,
  Readiness: readinessSchema,
  Problem: problemSchema,
} as const satisfies Record<string, BodySchema>;
export type SchemaName = keyof typeof named;

export const { ref, json, takes, schemas } = namedSchemas(named);

const whole = { type: 'integer', minimum: 0 } as const;
/** Headers by name; every answer behind the guard carries those of limits. */
export const headers: Json = {
  RateLimit: {
    description:
      'What is left in the window that is nearest to its end, and seconds until it is whole again (IETF draft).',
    schema: { type: 'string' },
  },
  'RateLimit-Policy': { description: 'The windows that bind who asks.', schema: { type: 'string' } },
  'X-RateLimit-Limit': { description: 'Requests that the window takes.', schema: whole },
  'X-RateLimit-Remaining': { description: 'Requests that are left in it.', schema: whole },
  'X-RateLimit-Reset': { description: 'When it is whole again, in seconds since 1970.', schema: whole },
  'X-Request-Id': {
    description: 'The id that came with the request, or one that was made.',
    schema: { type: 'string' },
  },
  'Retry-After': retryAfter,
};
const headersOf = (...wanted: readonly string[]): Json =>
  Object.fromEntries(wanted.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
const limits = Object.keys(headers).filter((name) => name !== 'Retry-After');

/** An answer of a route behind the guard. */
export const answer = (description: string, body?: Json) => bare(description, body, headersOf(...limits));

const problems = {
  400: 'The request is not valid; `detail` says what must hold and what was found.',
  401: 'A key is missing or not valid, or the signature of the URL is not.',
  403: 'The key, its user or the address may not do this.',
  404: 'There is no such thing.',
  408: 'The body arrived too slowly.',
  409: 'It does not go with what is there; `detail` says why.',
  413: 'The body is too large.',
  415: 'The type or the encoding of the body is not supported.',
  416: 'The range is not in the picture.',
  422: 'imgproxy cannot make the picture of this source with these options.',
  429: 'Too many requests, or the quota is used up; `detail` says which.',
  500: 'Something went wrong on our side.',
  502: 'The backend has failed.',
  503: 'There is no answer at the moment.',
  504: 'The backend is too slow.',
  507: 'There is no room for it.',
} as const;
export type Refusal = keyof typeof problems;

export const refusals = refusalsOf<Refusal>(problems, ref('Problem'), (status) =>
  headersOf(...limits, ...(status === 429 || status === 503 ? ['Retry-After'] : [])),
);

export const keys = [{ apiKey: [] }, { bearerKey: [] }];
/** ADMIN_KEY, or a key with the scope `admin`. */
export const administrators = [{ adminKey: [] }, ...keys];
export const signed = [...keys, { signedUrl: [] }];
