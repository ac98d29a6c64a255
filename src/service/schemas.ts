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

/** A part of the process: a thread, a sink, a lane of the journal. */
const part = {
  type: 'object',
  properties: {
    part: { type: 'string' },
    kind: { type: 'string', enum: ['process', 'acceptor', 'keeper', 'worker', 'sink', 'journal'] },
    state: {
      type: 'string',
      enum: ['starting', 'up', 'down', 'stopped', 'ended', 'silent', 'draining'],
    },
    reason: { type: 'string' },
  },
  required: ['part', 'kind', 'state'],
} as const;

/**
 * GET /readyz. `missing`: what was judged and is not well; `sinks`: every sink that is not connected; `parts`:
 * everything there is, well or not.
 */
export const readinessSchema = {
  $id: 'readiness',
  type: 'object',
  properties: {
    status: { type: 'string', enum: ['ready', 'not ready'] },
    missing,
    sinks: missing,
    parts: { type: 'array', items: part },
  },
  required: ['status', 'missing', 'sinks', 'parts'],
} as const satisfies BodySchema;

/** Something that is not as it should be. */
export interface Missing {
  /** 'acceptor-1', 'keeper', 'journal, lane 0', 'kafka'. */
  readonly part: string;
  readonly reason: string;
}

/**
 * State of a part: those of a seat (kernel/threads/board.ts); silent: up, and without a sign of life; draining: the
 * process ends.
 */
export interface Part {
  readonly part: string;
  readonly kind: (typeof part.properties.kind.enum)[number];
  readonly state: (typeof part.properties.state.enum)[number];
  /** Why it is not up. */
  readonly reason?: string;
}

export interface Readiness {
  readonly status: 'ready' | 'not ready';
  readonly missing: readonly Missing[];
  readonly sinks: readonly Missing[];
  readonly parts: readonly Part[];
}

/** A page of what administrators did (database/audit.ts). */
export const auditPageSchema = {
  $id: 'audit-page',
  type: 'object',
  properties: {
    items: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          id: { type: 'integer', minimum: 1 },
          at: { type: 'string', format: 'date-time' },
          actor: { type: 'string' },
          action: { type: 'string' },
          subject: { type: 'string' },
          client_ip: { type: ['string', 'null'] },
          details: { type: 'object', additionalProperties: true },
        },
        required: ['id', 'at', 'actor', 'action', 'subject', 'client_ip', 'details'],
      },
    },
    next: { type: ['integer', 'null'] },
  },
  required: ['items', 'next'],
} as const satisfies BodySchema;
