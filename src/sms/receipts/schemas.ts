/** Bodies of receipts over HTTP. */
import type { BodySchema } from '../../http/json.ts';
import { RECEIPTS_MAX } from './read.ts';

export const receiptSchema = {
  $id: 'sms-receipt',
  type: 'object',
  properties: {
    message_id: { type: 'string', pattern: '^[0-9A-Za-z]{1,64}$' },
    /** The operator's own. */
    id: { type: ['string', 'integer', 'null'] },
    status: { type: 'string', enum: ['sent', 'delivered', 'failed'] },
    at: { type: ['string', 'null'], format: 'date-time' },
    reason: { type: ['string', 'null'] },
  },
  required: ['message_id', 'status'],
  additionalProperties: false,
} as const satisfies BodySchema;

/** One, or a list. */
export const receiptsSchema = {
  $id: 'sms-receipts',
  oneOf: [receiptSchema, { type: 'array', items: receiptSchema, minItems: 1, maxItems: RECEIPTS_MAX }],
} as const satisfies BodySchema;

export const receiptsTakenSchema = {
  $id: 'sms-receipts-taken',
  type: 'object',
  properties: { recorded: { type: 'integer' }, unknown: { type: 'array', items: { type: 'string' } } },
  required: ['recorded', 'unknown'],
} as const satisfies BodySchema;
