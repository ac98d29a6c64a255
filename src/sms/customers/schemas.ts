/** Schemas of what the administrators' routes take and answer; the types stand in views.ts. */
import type { BodySchema } from '../../http/json.ts';
import { OVERLAP_S_MAX } from '../../service/database/key-changes.ts';
import { COST_MAX, PRICES_MAX, RATE_MAX } from './customers.ts';

const text = { type: 'string' } as const;
const time = { type: 'string', format: 'date-time' } as const;
const timeOrNull = { type: ['string', 'null'], format: 'date-time' } as const;
const name = { type: 'string', maxLength: 255 } as const;
const whole = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
const cost = { type: 'integer', minimum: 0, maximum: COST_MAX } as const;
const costOrNull = { ...cost, type: ['integer', 'null'] } as const;
const rateOrNull = { type: ['integer', 'null'], minimum: 1, maximum: RATE_MAX } as const;
const lane = { type: 'string', enum: ['normal', 'express'] } as const;

export const customerIdSchema = { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' } as const;
export const keyIdSchema = { type: 'string', pattern: '^[0-9A-Za-z]{12}$' } as const;

const prices = {
  type: 'array',
  maxItems: PRICES_MAX,
  items: {
    type: 'object',
    properties: { prefix: { type: 'string', pattern: '^\\+[0-9]{1,15}$' }, cost },
    required: ['prefix', 'cost'],
    additionalProperties: false,
  },
} as const;

const changeable = {
  name,
  active: { type: 'boolean' },
  rate_per_s: rateOrNull,
  lane,
  cost_per_sms: costOrNull,
  prices,
} as const;

export const customerSchema = {
  $id: 'sms-customer',
  type: 'object',
  properties: {
    customer_id: text,
    name: text,
    active: { type: 'boolean' },
    balance: whole,
    reserved: whole,
    waiting: whole,
    rate_per_s: rateOrNull,
    lane,
    cost_per_sms: costOrNull,
    prices,
    created_at: time,
    updated_at: time,
  },
  required: [
    ...['customer_id', 'name', 'active', 'balance', 'reserved', 'waiting', 'rate_per_s', 'lane', 'cost_per_sms'],
    ...['prices', 'created_at', 'updated_at'],
  ],
} as const satisfies BodySchema;

/** Beside callbackSecretSchema the only body that says a secret. */
export const madeCustomerSchema = {
  $id: 'sms-made-customer',
  type: 'object',
  properties: { ...customerSchema.properties, callback_secret: text },
  required: [...customerSchema.required, 'callback_secret'],
} as const satisfies BodySchema;

export const customerPageSchema = {
  $id: 'sms-customer-page',
  type: 'object',
  properties: { items: { type: 'array', items: customerSchema }, next: { type: ['string', 'null'] } },
  required: ['items', 'next'],
} as const satisfies BodySchema;

export const newCustomerSchema = {
  $id: 'sms-new-customer',
  type: 'object',
  properties: { customer_id: customerIdSchema, balance: whole, ...changeable },
  required: ['customer_id'],
  additionalProperties: false,
} as const satisfies BodySchema;

export const customerChangeSchema = {
  $id: 'sms-customer-change',
  type: 'object',
  properties: changeable,
  minProperties: 1,
  additionalProperties: false,
} as const satisfies BodySchema;

export const newCreditSchema = {
  $id: 'sms-new-credit',
  type: 'object',
  properties: {
    amount: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    idempotency_key: { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' },
  },
  required: ['amount', 'idempotency_key'],
  additionalProperties: false,
} as const satisfies BodySchema;

export const creditSchema = {
  $id: 'sms-credit',
  type: 'object',
  properties: { customer_id: text, amount: whole, balance: whole },
  required: ['customer_id', 'amount', 'balance'],
} as const satisfies BodySchema;

const env = { type: 'string', enum: ['live', 'test'] } as const;
const key = {
  id: keyIdSchema,
  customer_id: text,
  name: text,
  env,
  state: { type: 'string', enum: ['valid', 'expired', 'revoked'] },
  expires_at: timeOrNull,
  previous_until: timeOrNull,
  created_at: time,
} as const;
const keyMembers = [
  ...['id', 'customer_id', 'name', 'env', 'state', 'expires_at', 'previous_until', 'created_at'],
] as const;

export const keySchema = {
  $id: 'sms-key',
  type: 'object',
  properties: key,
  required: keyMembers,
} as const satisfies BodySchema;

export const keyListSchema = {
  $id: 'sms-key-list',
  type: 'object',
  properties: { items: { type: 'array', items: keySchema } },
  required: ['items'],
} as const satisfies BodySchema;

/** The only body that says a key. */
export const madeKeySchema = {
  $id: 'sms-made-key',
  type: 'object',
  properties: { ...key, key: text },
  required: [...keyMembers, 'key'],
} as const satisfies BodySchema;

export const newKeySchema = {
  $id: 'sms-new-key',
  type: 'object',
  properties: { name, env, expires_at: timeOrNull },
  additionalProperties: false,
} as const satisfies BodySchema;

export const keyRotationSchema = {
  $id: 'sms-key-rotation',
  type: 'object',
  properties: { overlap_s: { type: 'integer', minimum: 0, maximum: OVERLAP_S_MAX } },
  required: ['overlap_s'],
  additionalProperties: false,
} as const satisfies BodySchema;

/** Of a rotation. */
export const callbackSecretSchema = {
  $id: 'sms-callback-secret',
  type: 'object',
  properties: { customer_id: text, callback_secret: text },
  required: ['customer_id', 'callback_secret'],
} as const satisfies BodySchema;
