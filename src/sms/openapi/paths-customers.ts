/** Paths of the document that administrators ask: customers, credit, keys, the audit log. */
import { OVERLAP_S_MAX } from '../../service/database/key-changes.ts';
import { customerIdSchema, keyIdSchema } from '../customers/schemas.ts';
import { always, answer, asked, inPath, inQuery, type Json, json, sends, takes } from './parts.ts';

const customer = inPath('id', 'Id of the customer.', customerIdSchema);
const key = inPath('id', 'Id of the key, the part of its text behind the environment.', keyIdSchema);
const limit = inQuery('limit', 'Entries of a page.', { type: 'integer', minimum: 1, maximum: 1000, default: 100 });

const replayed = {
  'Idempotent-Replayed': {
    description: '`true`: the key came before, and this is the answer of then. Nothing was changed now.',
    schema: { type: 'string' },
  },
};

export const customerPaths: Json = {
  '/v1/customers': {
    get: asked('listCustomers', {
      tag: 'customers',
      summary: 'Customers by id, a page at a time.',
      ok: { 200: answer('A page; `next` is the `after` of the one behind it.', json('CustomerPage')) },
      refused: [...always, 403],
      more: {
        parameters: [
          inQuery('after', 'Only customers whose id is behind this one.', { type: 'string', maxLength: 64 }),
          inQuery('search', 'Only customers with this text in id or name.', { type: 'string', maxLength: 255 }),
          limit,
        ],
      },
    }),
    post: asked('addCustomer', {
      tag: 'customers',
      summary: 'Adds a customer; it may send at once.',
      ok: { 201: answer('The customer, and this once the secret of its callbacks.', json('MadeCustomer')) },
      refused: [...sends, 403, 409],
      more: takes('NewCustomer'),
    }),
  },
  '/v1/customers/{id}': {
    get: asked('getCustomer', {
      tag: 'customers',
      summary: 'A customer with prices and balance.',
      ok: { 200: answer('The customer.', json('Customer')) },
      refused: [...always, 403, 404],
      more: { parameters: [customer] },
    }),
    patch: asked('changeCustomer', {
      tag: 'customers',
      summary: 'Changes what is given; keys of one that is not active are refused everywhere within a second.',
      ok: { 200: answer('The customer as it is now.', json('Customer')) },
      refused: [...sends, 403, 404],
      more: { parameters: [customer], ...takes('CustomerChange') },
    }),
  },
  '/v1/customers/{id}/credit': {
    post: asked('creditCustomer', {
      tag: 'customers',
      summary: 'Adds money to a balance, once for each idempotency key.',
      ok: {
        200: answer('The credit, with the balance behind it.', json('Credit'), replayed),
      },
      refused: [...sends, 403, 404, 422],
      more: { parameters: [customer], ...takes('NewCredit') },
    }),
  },
  '/v1/customers/{id}/debit': {
    post: asked('debitCustomer', {
      tag: 'customers',
      summary:
        'Takes money back from a balance that covers it, once for each idempotency key: a credit that was wrong.',
      ok: {
        200: answer('The debit, with the balance behind it.', json('Credit'), replayed),
      },
      refused: [...sends, 403, 404, 422],
      more: { parameters: [customer], ...takes('NewCredit') },
    }),
  },
  '/v1/customers/{id}/callback-secret': {
    post: asked('rotateCallbackSecret', {
      tag: 'customers',
      summary: 'Makes the secret that callbacks of the customer are signed with; the one before signs none any more.',
      ok: { 200: answer('The secret, which is shown here and never again.', json('CallbackSecret')) },
      refused: [...always, 403, 404],
      more: { parameters: [customer] },
    }),
  },
  '/v1/customers/{id}/keys': {
    get: asked('listKeys', {
      tag: 'keys',
      summary: 'The keys of a customer, also those that were revoked; the newest is the last.',
      ok: { 200: answer('The keys, without their secrets.', json('KeyList')) },
      refused: [...always, 403, 404],
      more: { parameters: [customer] },
    }),
    post: asked('addKey', {
      tag: 'keys',
      summary: 'Makes a key; it is good at once.',
      ok: { 201: answer('The key: `key` is shown here and never again.', json('MadeKey')) },
      refused: [...sends, 403, 404, 409],
      more: { parameters: [customer], ...takes('NewKey') },
    }),
  },
  '/v1/keys/{id}': {
    delete: asked('revokeKey', {
      tag: 'keys',
      summary: 'Revokes a key for good; it is refused everywhere within a second.',
      ok: { 204: answer('It is gone.') },
      refused: [...always, 403, 404],
      more: { parameters: [key] },
    }),
  },
  '/v1/keys/{id}/rotate': {
    post: asked('rotateKey', {
      tag: 'keys',
      summary: `Gives a key another secret; the one before stays good for overlap_s seconds, at most ${OVERLAP_S_MAX}.`,
      ok: { 200: answer('The key: `key` is shown here and never again.', json('MadeKey')) },
      refused: [...sends, 403, 404, 409],
      more: { parameters: [key], ...takes('KeyRotation') },
    }),
  },
  '/v1/audit': {
    get: asked('listAudit', {
      tag: 'audit',
      summary: 'What administrators did, the newest first.',
      ok: { 200: answer('A page; `next` is the `before` of the one behind it.', json('AuditPage')) },
      refused: [...always, 403],
      more: {
        parameters: [inQuery('before', 'Only entries with a smaller id.', { type: 'integer', minimum: 1 }), limit],
      },
    }),
  },
};
