/** Schemas of the JSON that the frame's own routes answer with. */
import type { BodySchema } from '../http/json.ts';

const missing = {
  type: 'array',
  items: {
    type: 'object',
    properties: { part: { type: 'string' }, reason: { type: 'string' } },
    required: ['part', 'reason'],
  },
} as const;

/** GET /readyz. `missing`: what was judged; `sinks`: every sink that is not connected. */
export const readinessSchema = {
  $id: 'readiness',
  type: 'object',
  properties: { status: { type: 'string', enum: ['ready', 'not ready'] }, missing, sinks: missing },
  required: ['status', 'missing', 'sinks'],
} as const satisfies BodySchema;

interface Missing {
  readonly part: string;
  readonly reason: string;
}

export interface Readiness {
  readonly status: 'ready' | 'not ready';
  readonly missing: readonly Missing[];
  readonly sinks: readonly Missing[];
}
