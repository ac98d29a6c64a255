/** Schemas of the JSON that the intake routes answer with. Problems have theirs in http/problem.ts. */
import type { ItemError } from '../events/batch-result.ts';
import type { BodySchema } from '../http/json.ts';

/** Items of a body that were not taken. */
export const itemErrorsSchema = {
  type: 'array',
  items: {
    type: 'object',
    properties: {
      index: { type: 'integer' },
      event_id: { type: 'string' },
      code: { type: 'string' },
      message: { type: 'string' },
    },
    required: ['index', 'code', 'message'],
  },
} as const satisfies BodySchema;

/** 202 of POST /collect. `rejected` and `errors` are there when some items were bad. */
export const acceptedSchema = {
  $id: 'accepted',
  type: 'object',
  properties: {
    accepted: { type: 'integer' },
    status: { type: 'string', const: 'ok' },
    rejected: { type: 'integer' },
    errors: itemErrorsSchema,
  },
  required: ['accepted', 'status'],
} as const satisfies BodySchema;

export interface Accepted {
  readonly accepted: number;
  readonly status: 'ok';
  readonly rejected?: number;
  readonly errors?: readonly ItemError[];
}
