/** Paths of the document that customers ask: messages, and what is left to spend. */
import { customerIdSchema } from '../customers/schemas.ts';
import { always, answer, asked, inHeader, inPath, inQuery, type Json, json, senders, sends, takes } from './parts.ts';
import { idempotencyKeySchema } from './schemas.ts';

const dryRun = inQuery('dry_run', 'true: prices and judges, and accepts nothing.', {
  type: 'string',
  enum: ['true', 'false'],
});
const replayed = {
  'Idempotent-Replayed': {
    description: '`true`: the key came before, and this is the answer of then. Nothing was charged now.',
    schema: { type: 'string' },
  },
};

export const messagePaths: Json = {
  '/v1/sms/send': {
    post: asked('sendMessage', {
      tag: 'send',
      summary: 'Accepts a message: it is charged and will be sent, or refunded.',
      description:
        'The answer leaves after the commit. `customer_id` may be left out with a key of the customer. A request with ' +
        'an idempotency key (in the body or in the header) may be repeated: it is accepted once.',
      ok: { 200: answer('Accepted.', json('Accepted'), replayed) },
      refused: [...sends, 402, 403, 404, 409, 422],
      security: senders,
      more: {
        parameters: [dryRun, inHeader('Idempotency-Key', 'In place of idempotency_key.', idempotencyKeySchema)],
        ...takes('NewMessage'),
      },
    }),
  },
  '/v1/sms/batch': {
    post: asked('sendBatch', {
      tag: 'batch',
      summary: 'Accepts up to 1000 messages, each for itself; the results are in their order.',
      ok: { 200: answer('A result for each message: accepted, or its problem.', json('BatchResult')) },
      refused: [...sends, 403],
      security: senders,
      more: { parameters: [dryRun], ...takes('NewBatch') },
    }),
  },
  '/v1/sms/{id}': {
    get: asked('getMessage', {
      tag: 'message',
      summary: 'A message, with the states that it has been in.',
      ok: { 200: answer('The message.', json('Message')) },
      refused: [...always, 403, 404],
      security: senders,
      more: { parameters: [inPath('id', 'Id of the message.', { type: 'string' })] },
    }),
  },
  '/v1/sms': {
    get: asked('listMessages', {
      tag: 'messages',
      summary: 'Messages of a customer, the newest first.',
      ok: { 200: answer('A page; `next_cursor` is the `cursor` of the one behind it.', json('MessagePage')) },
      refused: [...always, 403, 404],
      security: senders,
      more: {
        parameters: [
          inQuery('customer_id', 'Whose; with a key of the customer it may be left out.', customerIdSchema),
          inQuery('limit', 'Messages of a page.', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
          inQuery('cursor', '`next_cursor` of the page before.', { type: 'string' }),
        ],
      },
    }),
  },
  '/v1/customers/{id}/balance': {
    get: asked('getBalance', {
      tag: 'balance',
      summary: 'What a customer may spend, and what is reserved beside it.',
      ok: { 200: answer('The balance; what is reserved is not in it.', json('Balance')) },
      refused: [...always, 403, 404],
      security: senders,
      more: { parameters: [inPath('id', 'Id of the customer.', customerIdSchema)] },
    }),
  },
  '/v1/customers/{id}/transactions': {
    get: asked('listTransactions', {
      tag: 'transactions',
      summary: 'Transfers of a customer, the newest first: credits, debits, and what became of each reservation.',
      description: 'Of the last days that the ledger is kept in the database (LEDGER_RETENTION_DAYS).',
      ok: { 200: answer('A page; `next_cursor` is the `cursor` of the one behind it.', json('Statement')) },
      refused: [...always, 403, 404],
      security: senders,
      more: {
        parameters: [
          inPath('id', 'Id of the customer.', customerIdSchema),
          inQuery('limit', 'Transfers of a page.', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
          inQuery('cursor', '`next_cursor` of the page before.', { type: 'string', pattern: '^[0-9]{1,18}$' }),
        ],
      },
    }),
  },
};
