/** Schemas of the JSON about people; held against the types of api/contract.ts in routes.ts. */
import type { BodySchema } from '../../http/json.ts';
import { SHARE_LABEL_MAX } from './shares.ts';
import { roles, USER_NAME_MAX } from './users.ts';

const text = { type: 'string' } as const;
const time = { type: 'string', format: 'date-time' } as const;
const me = {
  type: ['object', 'null'],
  properties: { user: text, role: { type: 'string', enum: [...roles] } },
  required: ['user', 'role'],
} as const;

export const meSchema = {
  $id: 'me',
  type: 'object',
  properties: { me, csrf: { type: ['string', 'null'] }, open: { type: 'boolean' } },
  required: ['me', 'csrf', 'open'],
} as const satisfies BodySchema;

export const loginSchema = {
  $id: 'login',
  type: 'object',
  properties: { user: { type: 'string', minLength: 1, maxLength: USER_NAME_MAX }, password: text },
  required: ['user', 'password'],
} as const satisfies BodySchema;

const share = {
  id: text,
  label: text,
  created_at: time,
  expires_at: { type: ['string', 'null'], format: 'date-time' },
  locked: { type: 'boolean' },
} as const;
const shareKeys = ['id', 'label', 'created_at', 'expires_at', 'locked'] as const;

export const sharesSchema = {
  $id: 'shares',
  type: 'object',
  properties: { shares: { type: 'array', items: { type: 'object', properties: share, required: shareKeys } } },
  required: ['shares'],
} as const satisfies BodySchema;

export const madeShareSchema = {
  $id: 'made-share',
  type: 'object',
  properties: { ...share, token: text },
  required: [...shareKeys, 'token'],
} as const satisfies BodySchema;

export const newShareSchema = {
  $id: 'new-share',
  type: 'object',
  properties: { label: { type: 'string', maxLength: SHARE_LABEL_MAX }, password: text, expires_at: time },
} as const satisfies BodySchema;

export const unlockSchema = {
  $id: 'unlock',
  type: 'object',
  properties: { share: text, password: text },
  required: ['share', 'password'],
} as const satisfies BodySchema;
