/** Bodies of GET /api/v1/logs. */
import type { BodySchema } from '../../http/json.ts';

const orNull = (type: string) => ({ type: [type, 'null'] }) as const;

export const logEntrySchema = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    created_at: { type: 'string', format: 'date-time' },
    user_id: orNull('integer'),
    key_id: orNull('string'),
    backend_id: orNull('integer'),
    request_id: { type: 'string' },
    method: { type: 'string' },
    request_path: { type: 'string' },
    response_status: { type: 'integer' },
    outcome: { type: 'string' },
    response_time_ms: { type: 'integer' },
    request_size_bytes: { type: 'integer' },
    response_size_bytes: { type: 'integer' },
    client_ip: orNull('string'),
  },
  required: ['id', 'created_at', 'request_id', 'method', 'request_path', 'response_status', 'outcome'],
  additionalProperties: false,
} as const satisfies BodySchema;

export const logPageSchema = {
  type: 'object',
  properties: {
    items: { type: 'array', items: logEntrySchema },
    /** What to ask for as `cursor`; null: there is no more. */
    next: orNull('string'),
  },
  required: ['items', 'next'],
  additionalProperties: false,
} as const satisfies BodySchema;
