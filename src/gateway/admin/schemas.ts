/** Schemas of what the administrators' routes take and answer; the types stand in database/admin/contract.ts. */
import type { BodySchema } from '../../http/json.ts';
import { scopes } from '../model.ts';

const text = { type: 'string' } as const;
const time = { type: 'string', format: 'date-time' } as const;
const timeOrNull = { type: ['string', 'null'], format: 'date-time' } as const;
const id = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } as const;
const name = { type: 'string', maxLength: 255 } as const;
const limit = { type: ['integer', 'null'], minimum: 1, maximum: Number.MAX_SAFE_INTEGER } as const;
const amount = { type: ['integer', 'null'], minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
const next = { type: ['integer', 'null'] } as const;

export const keyIdSchema = { type: 'string', pattern: '^[0-9A-Za-z]{12}$' } as const;
export const userIdSchema = id;

/** An answer has all of them; a request may leave some out, which is no limit of its own. */
export const limitsSchema = {
  $id: 'limits',
  type: 'object',
  properties: { requests_per_minute: limit, requests_per_hour: limit, burst: limit },
  additionalProperties: false,
} as const satisfies BodySchema;

export const quotaSchema = {
  $id: 'quota',
  type: 'object',
  properties: { monthly_requests: amount, monthly_bytes: amount, storage_bytes: amount },
  additionalProperties: false,
} as const satisfies BodySchema;

export const networksSchema = {
  $id: 'networks',
  type: 'array',
  items: { type: 'string', minLength: 1, maxLength: 64 },
  maxItems: 10_000,
} as const satisfies BodySchema;

export const userSchema = {
  $id: 'user',
  type: 'object',
  properties: {
    id,
    username: text,
    email: text,
    is_active: { type: 'boolean' },
    created_at: time,
    updated_at: time,
    limits: limitsSchema,
    quota: quotaSchema,
    networks: networksSchema,
    keys: { type: 'integer', minimum: 0 },
  },
  required: [
    ...['id', 'username', 'email', 'is_active', 'created_at'],
    ...['updated_at', 'limits', 'quota', 'networks', 'keys'],
  ],
} as const satisfies BodySchema;

export const userPageSchema = {
  $id: 'user-page',
  type: 'object',
  properties: { items: { type: 'array', items: userSchema }, next },
  required: ['items', 'next'],
} as const satisfies BodySchema;

const username = { type: 'string', minLength: 1, maxLength: 255 } as const;
const email = { type: 'string', minLength: 3, maxLength: 255 } as const;

export const newUserSchema = {
  $id: 'new-user',
  type: 'object',
  properties: { username, email },
  required: ['username', 'email'],
  additionalProperties: false,
} as const satisfies BodySchema;

export const userChangeSchema = {
  $id: 'user-change',
  type: 'object',
  properties: { username, email, is_active: { type: 'boolean' } },
  minProperties: 1,
  additionalProperties: false,
} as const satisfies BodySchema;

const env = { type: 'string', enum: ['live', 'test'] } as const;
const scope = { type: 'string', enum: [...scopes] } as const;

const key = {
  id: keyIdSchema,
  user_id: id,
  name: text,
  env,
  scopes: { type: 'array', items: scope },
  state: { type: 'string', enum: ['valid', 'expired', 'revoked'] },
  expires_at: timeOrNull,
  networks: networksSchema,
  limits: limitsSchema,
  version: { type: 'integer', minimum: 1 },
  previous_until: timeOrNull,
  created_at: time,
  last_used_at: timeOrNull,
} as const;
const keyMembers = [
  ...['id', 'user_id', 'name', 'env', 'scopes', 'state', 'expires_at', 'networks', 'limits', 'version'],
  ...['previous_until', 'created_at', 'last_used_at'],
] as const;

export const keySchema = {
  $id: 'key',
  type: 'object',
  properties: key,
  required: keyMembers,
} as const satisfies BodySchema;

export const keyListSchema = {
  $id: 'key-list',
  type: 'object',
  properties: { items: { type: 'array', items: keySchema } },
  required: ['items'],
} as const satisfies BodySchema;

/** The only body that says a key. */
export const madeKeySchema = {
  $id: 'made-key',
  type: 'object',
  properties: { ...key, key: text, signing_key: text },
  required: [...keyMembers, 'key', 'signing_key'],
} as const satisfies BodySchema;

const keyRights = {
  name,
  scopes: { type: 'array', items: scope, minItems: 1, uniqueItems: true },
  expires_at: timeOrNull,
  networks: networksSchema,
  limits: limitsSchema,
} as const;

export const newKeySchema = {
  $id: 'new-key',
  type: 'object',
  properties: { ...keyRights, env },
  additionalProperties: false,
} as const satisfies BodySchema;

export const keyChangeSchema = {
  $id: 'key-change',
  type: 'object',
  properties: keyRights,
  minProperties: 1,
  additionalProperties: false,
} as const satisfies BodySchema;

export const rotationSchema = {
  $id: 'rotation',
  type: 'object',
  properties: { overlap_s: { type: 'integer', minimum: 0, maximum: 30 * 86_400 } },
  required: ['overlap_s'],
  additionalProperties: false,
} as const satisfies BodySchema;
