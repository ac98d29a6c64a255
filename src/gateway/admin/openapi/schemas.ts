/** Schemas of the document that belong to no administrators' route: pictures, uploads and backends. */
import type { BodySchema } from '../../../http/json.ts';
import { backendStates } from '../../balance/health.ts';

const text = { type: 'string' } as const;
const time = { type: 'string', format: 'date-time' } as const;
const whole = { type: 'integer', minimum: 0 } as const;

export const uploadSchema = {
  $id: 'upload',
  type: 'object',
  properties: {
    id: { type: 'string', format: 'uuid' },
    sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    bytes: whole,
    format: text,
    width: whole,
    height: whole,
    url: text,
    urls: { type: 'object', additionalProperties: text },
    created_at: time,
  },
  required: ['id', 'sha256', 'bytes', 'format', 'width', 'height', 'url', 'urls'],
} as const satisfies BodySchema;

export const uploadPageSchema = {
  $id: 'upload-page',
  type: 'object',
  properties: { items: { type: 'array', items: uploadSchema }, next: { type: ['string', 'null'] } },
  required: ['items', 'next'],
} as const satisfies BodySchema;

export const signingSchema = {
  $id: 'signing',
  type: 'object',
  properties: { path: { type: 'string', pattern: '^/' }, expires_s: { type: 'integer', minimum: 1 } },
  required: ['path', 'expires_s'],
} as const satisfies BodySchema;

export const signedSchema = {
  $id: 'signed',
  type: 'object',
  properties: { url: text },
  required: ['url'],
} as const satisfies BodySchema;

export const purgeSchema = {
  $id: 'purge',
  type: 'object',
  properties: { path: text, prefix: text },
  minProperties: 1,
  maxProperties: 1,
} as const satisfies BodySchema;

export const backendSchema = {
  $id: 'backend',
  type: 'object',
  properties: {
    id: whole,
    name: text,
    url: text,
    weight: whole,
    draining: { type: 'boolean' },
    state: { type: 'string', enum: backendStates },
    reason: { type: ['string', 'null'] },
    breaker: { type: 'string', enum: ['closed', 'open', 'half_open'] },
    in_flight: whole,
    created_at: time,
  },
  required: ['id', 'name', 'url', 'weight', 'draining', 'state', 'reason', 'breaker', 'in_flight', 'created_at'],
} as const satisfies BodySchema;

export const backendListSchema = {
  $id: 'backend-list',
  type: 'object',
  properties: { items: { type: 'array', items: backendSchema } },
  required: ['items'],
} as const satisfies BodySchema;

const weight = { type: 'integer', minimum: 0, maximum: 1000 } as const;
const name = { type: 'string', maxLength: 255 } as const;

export const newBackendSchema = {
  $id: 'new-backend',
  type: 'object',
  properties: { url: text, name, weight },
  required: ['url'],
  additionalProperties: false,
} as const satisfies BodySchema;

export const backendChangeSchema = {
  $id: 'backend-change',
  type: 'object',
  properties: { name, weight, draining: { type: 'boolean' } },
  minProperties: 1,
  additionalProperties: false,
} as const satisfies BodySchema;
