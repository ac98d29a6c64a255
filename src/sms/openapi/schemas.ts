/** Schemas of what accepting takes; what it answers stands in accept/schemas.ts. */
import type { BodySchema } from '../../http/json.ts';
import { CALLBACK_URL_LENGTH_MAX, CALLBACK_URL_PATTERN } from '../callbacks/callback-url.ts';
import { customerIdSchema } from '../customers/schemas.ts';

export const idempotencyKeySchema = { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' } as const;

export const newMessageSchema = {
  $id: 'sms-new-message',
  type: 'object',
  properties: {
    customer_id: customerIdSchema,
    to: {
      type: 'string',
      pattern: '^\\+[1-9][0-9]{7,14}$',
      description: 'In E.164; of a length and a beginning that the plan of its country has.',
    },
    text: {
      type: 'string',
      // Without U+0000 and without half a surrogate pair.
      pattern: '^[^\\u0000\\ud800-\\udfff]+$',
      description: 'At most MAX_MESSAGE_LENGTH UTF-16 units.',
    },
    sender: { type: 'string', pattern: '^(?:\\+?[0-9]{3,15}|[A-Za-z0-9 ._-]{0,11})$' },
    type: { type: 'string', enum: ['normal', 'express'] },
    idempotency_key: idempotencyKeySchema,
    validity_s: { type: 'integer', minimum: 1, maximum: 604_800 },
    callback_url: {
      type: 'string',
      pattern: CALLBACK_URL_PATTERN,
      maxLength: CALLBACK_URL_LENGTH_MAX,
      description: 'An http or https URL without user, password and fragment.',
    },
  },
  required: ['to', 'text'],
  additionalProperties: false,
} as const satisfies BodySchema;

export const batchSchema = {
  $id: 'sms-batch',
  type: 'object',
  properties: { messages: { type: 'array', minItems: 1, maxItems: 1000, items: newMessageSchema } },
  required: ['messages'],
} as const satisfies BodySchema;
