/** Body of GET /api/v1/usage. */
import type { BodySchema } from '../../http/json.ts';

const limit = { type: ['integer', 'null'] } as const;

export const usageSchema = {
  type: 'object',
  properties: {
    user_id: { type: 'integer' },
    /** YYYY-MM, of UTC. */
    month: { type: 'string' },
    requests: { type: 'integer' },
    /** Bodies of answers. */
    bytes: { type: 'integer' },
    /** Of the user now; null: no limit. */
    quota: {
      type: 'object',
      properties: { monthly_requests: limit, monthly_bytes: limit },
      required: ['monthly_requests', 'monthly_bytes'],
      additionalProperties: false,
    },
    /** When the month ends, UTC. */
    reset_at: { type: 'string', format: 'date-time' },
  },
  required: ['user_id', 'month', 'requests', 'bytes', 'quota', 'reset_at'],
  additionalProperties: false,
} as const satisfies BodySchema;

export interface Usage {
  readonly user_id: number;
  readonly month: string;
  readonly requests: number;
  readonly bytes: number;
  readonly quota: { readonly monthly_requests: number | null; readonly monthly_bytes: number | null };
  readonly reset_at: string;
}
