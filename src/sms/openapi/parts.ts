/** Parts that the paths of the document are put together from: schemas by name, answers, refusals, who may ask. */
import type { BodySchema } from '../../http/json.ts';
import { problemSchema } from '../../http/problem.ts';
import { REQUEST_ID } from '../../http/request-id.ts';
import { answer as bare, type Json, namedSchemas, refusalsOf, retryAfter } from '../../service/openapi/parts.ts';
import { auditPageSchema, readinessSchema } from '../../service/schemas.ts';
import * as accept from '../accept/schemas.ts';
import * as customers from '../customers/schemas.ts';
import * as receipts from '../receipts/schemas.ts';
import * as reports from '../reports/schemas.ts';
import * as given from './schemas.ts';

export { content, inHeader, inPath, inQuery, type Json, operationPaths } from '../../service/openapi/parts.ts';

export const named = {
  NewMessage: given.newMessageSchema,
  NewBatch: given.batchSchema,
  Accepted: accept.acceptedSchema,
  BatchResult: accept.batchResultSchema,
  Message: accept.messageSchema,
  MessagePage: accept.messagePageSchema,
  Balance: accept.balanceSchema,
  Statement: accept.statementSchema,
  Customer: customers.customerSchema,
  MadeCustomer: customers.madeCustomerSchema,
  CustomerPage: customers.customerPageSchema,
  NewCustomer: customers.newCustomerSchema,
  CustomerChange: customers.customerChangeSchema,
  NewCredit: customers.newCreditSchema,
  Credit: customers.creditSchema,
  Key: customers.keySchema,
  KeyList: customers.keyListSchema,
  NewKey: customers.newKeySchema,
  KeyRotation: customers.keyRotationSchema,
  MadeKey: customers.madeKeySchema,
  CallbackSecret: customers.callbackSecretSchema,
  Receipt: receipts.receiptSchema,
  Receipts: receipts.receiptsSchema,
  ReceiptsTaken: receipts.receiptsTakenSchema,
  TimeReport: reports.timeReportSchema,
  OperatorReport: reports.operatorReportSchema,
  TopReport: reports.topReportSchema,
  BalanceReport: reports.balanceReportSchema,
  StandingReport: reports.standingReportSchema,
  AuditPage: auditPageSchema,
  Readiness: readinessSchema,
  Problem: problemSchema,
} as const satisfies Record<string, BodySchema>;

export const { ref, json, takes, schemas } = namedSchemas(named);

/** Headers by name, in `components`. */
export const headers: Json = {
  [REQUEST_ID]: {
    description: 'The id that came with the request, or one that was made; lines of the log about it have it.',
    schema: { type: 'string' },
  },
};
/** What every answer bears (bounded.ts). */
export const requestId: Json = { [REQUEST_ID]: { $ref: `#/components/headers/${REQUEST_ID}` } };

/** `more`: headers of this answer beside the one of all. */
export const answer = (description: string, body?: Json, more: Json = {}) =>
  bare(description, body, { ...requestId, ...more });

const problems = {
  400: 'The request is not valid; `detail` says what must hold and what was found.',
  401: 'A key is missing or not valid.',
  402: 'The balance does not cover the message; nothing was accepted.',
  403: 'The key is for another customer, or its customer is not active.',
  404: 'There is no such thing; a message or a customer of somebody else is one.',
  408: 'The body arrived too slowly.',
  409: 'It does not go with what is there; `detail` says why. The same idempotency key is under way.',
  413: 'The body is too large.',
  415: 'The encoding of the body is not supported.',
  422: 'No operator carries the number; the idempotency key came with another request before; or the balance would be too large or below zero.',
  429:
    'Too many requests of this address came without a right key (IP_REQUESTS_PER_MINUTE), more messages of the customer ' +
    'wait than BACKLOG_LIMIT, or there are too many requests at once on one connection.',
  500: 'Something went wrong on our side.',
  503: 'There is no answer at the moment; `detail` says whether something may have happened.',
} as const;
export type Refusal = keyof typeof problems;

export const refusals = refusalsOf<Refusal>(problems, ref('Problem'), (status) => ({
  ...requestId,
  ...(status === 429 || status === 503 ? { 'Retry-After': retryAfter } : {}),
}));

export const administrators = [{ adminKey: [] }];
export const readers = [{ apiKey: [] }, { bearerKey: [] }, { adminKey: [] }];
/** With ACCESS=open, nothing as well. */
export const senders = [{ apiKey: [] }, { bearerKey: [] }, { adminKey: [] }, {}];

export const always = [400, 401, 429, 500, 503] as const;
export const sends = [...always, 408, 413, 415] as const;

interface Asked {
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly ok: Json;
  readonly refused?: readonly Refusal[];
  readonly more?: Json;
  readonly security?: readonly Json[];
}

/** One operation of the document. */
export const asked = (
  operationId: string,
  { tag, summary, description, ok, refused = always, more = {}, security = administrators }: Asked,
): Json => ({
  operationId,
  tags: [tag],
  summary,
  ...(description === undefined ? {} : { description }),
  security,
  ...more,
  responses: { ...ok, ...refusals(...refused) },
});
