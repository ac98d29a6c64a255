/**
 * Problem: the body of every answer that refuses or fails (RFC 9457, application/problem+json). The five standard
 * members come first, in the order of the schema; members of the code's own, such as `limit` or `errors`, follow.
 */
import type { BodySchema } from './json.ts';

export const problemSchema = {
  $id: 'problem',
  type: 'object',
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string' },
    detail: { type: 'string' },
  },
  required: ['type', 'title', 'status', 'code', 'detail'],
  additionalProperties: true,
} as const satisfies BodySchema;
