/** Schema of the JSON that POST /events answers with. Problems have theirs in http/problem.ts. */
import { itemErrorsSchema } from '../../collect/schemas.ts';
import type { ItemError } from '../../events/batch-result.ts';
import type { BodySchema } from '../../http/json.ts';

/** 202 of POST /events. `accepted` is there for an array; `rejected` and `errors` when some of its items were bad. */
export const eventsAcceptedSchema = {
  $id: 'eventsAccepted',
  type: 'object',
  properties: {
    message: { type: 'string' },
    accepted: { type: 'integer' },
    rejected: { type: 'integer' },
    errors: itemErrorsSchema,
  },
  required: ['message'],
} as const satisfies BodySchema;

export interface EventsAccepted {
  readonly message: string;
  readonly accepted?: number;
  readonly rejected?: number;
  readonly errors?: readonly ItemError[];
}
