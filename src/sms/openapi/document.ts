/**
 * OpenAPI 3.1: the description of every route of the roles api and reporting. Administrators' requests are validated by
 * it, answers are serialized by its schemas, and the table of routes in the README is made from it.
 * test/sms/openapi.test.ts holds it against a running gateway.
 */
import { bearer, documentHead } from '../../service/openapi/parts.ts';
import { headers, type Json, json, operationPaths, requestId, schemas } from './parts.ts';
import { customerPaths } from './paths-customers.ts';
import { messagePaths } from './paths-messages.ts';
import { receiptPaths } from './paths-receipts.ts';
import { reportPaths } from './paths-reports.ts';

const tags = [
  'send',
  'batch',
  'message',
  'messages',
  'balance',
  'transactions',
  'customers',
  'keys',
  'audit',
  'receipts',
  'reports',
  'operations',
];

export const openApi = {
  ...documentHead('Ringmain SMS', 'Messages against a balance, through operators.'),
  tags: tags.map((name) => ({ name })),
  paths: {
    ...messagePaths,
    ...customerPaths,
    ...receiptPaths,
    ...reportPaths,
    ...operationPaths(json('Readiness'), requestId),
  } as Readonly<Record<string, Readonly<Record<string, Json>>>>,
  components: {
    headers,
    schemas,
    securitySchemes: {
      apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'A key of a customer.' },
      bearerKey: bearer('A key of a customer.'),
      operatorToken: bearer('The token of the operator in OPERATORS.'),
      adminKey: bearer('ADMIN_KEY; without one administration is off.'),
    },
  },
} as const;

let text: string | undefined;
export function openApiText(): string {
  text ??= JSON.stringify(openApi);
  return text;
}
