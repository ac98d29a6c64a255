/** Bodies of the answers of accepting and of reading messages. Amounts are whole numbers, in the unit of COST_PER_SMS. */
import type { BodySchema } from '../../http/json.ts';
import { problemSchema } from '../../http/problem.ts';
import { statuses } from '../model.ts';
import { transferKinds } from '../money/statement.ts';

const text = { type: 'string' } as const;
const textOrNull = { type: ['string', 'null'] } as const;
const time = { type: 'string', format: 'date-time' } as const;
const whole = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
const lane = { type: 'string', enum: ['normal', 'express'] } as const;

const acceptedMembers = {
  /** Left out by dry_run=true. */
  message_id: text,
  status: { type: 'string', enum: ['accepted', 'dry_run'] },
  segments: whole,
  cost: whole,
  balance: whole,
} as const;

export const acceptedSchema = {
  $id: 'sms-accepted',
  type: 'object',
  properties: acceptedMembers,
  required: ['status', 'segments', 'cost', 'balance'],
} as const satisfies BodySchema;

/** In the order of the messages: each was accepted, or has a problem. */
export const batchResultSchema = {
  $id: 'sms-batch-result',
  type: 'object',
  properties: {
    results: {
      type: 'array',
      items: {
        type: 'object',
        properties: { ...acceptedMembers, replayed: { type: 'boolean' }, problem: problemSchema },
      },
    },
  },
  required: ['results'],
} as const satisfies BodySchema;

export const balanceSchema = {
  $id: 'sms-balance',
  type: 'object',
  properties: { customer_id: text, balance: whole, reserved: whole },
  required: ['customer_id', 'balance', 'reserved'],
} as const satisfies BodySchema;

export const messageSchema = {
  $id: 'sms-message',
  type: 'object',
  properties: {
    message_id: text,
    customer_id: text,
    to: text,
    sender: text,
    text,
    type: lane,
    segments: whole,
    cost: whole,
    status: { type: 'string', enum: statuses },
    operator: textOrNull,
    reason: textOrNull,
    attempts: whole,
    valid_until: time,
    history: {
      type: 'array',
      items: { type: 'object', properties: { status: { type: 'string', enum: statuses }, at: time } },
    },
  },
  required: ['message_id', 'customer_id', 'to', 'sender', 'text', 'type', 'segments', 'cost', 'status', 'history'],
} as const satisfies BodySchema;

export const messagePageSchema = {
  $id: 'sms-message-page',
  type: 'object',
  properties: {
    messages: { type: 'array', items: messageSchema },
    /** What to ask for as `cursor`; null: there is no more. */
    next_cursor: textOrNull,
  },
  required: ['messages', 'next_cursor'],
} as const satisfies BodySchema;

export const statementSchema = {
  $id: 'sms-statement',
  type: 'object',
  properties: {
    transactions: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          transaction_id: text,
          at: time,
          kind: { type: 'string', enum: transferKinds },
          amount: whole,
          /** Below zero: a debit, or a reservation. */
          balance_change: { type: 'integer', minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
          message_id: textOrNull,
        },
        required: ['transaction_id', 'at', 'kind', 'amount', 'balance_change', 'message_id'],
      },
    },
    /** What to ask for as `cursor`; null: there is no more. */
    next_cursor: textOrNull,
  },
  required: ['transactions', 'next_cursor'],
} as const satisfies BodySchema;
