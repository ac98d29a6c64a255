/**
 * Schemas of what the API answers with, for the serializers and for OpenAPI; members are written in this order. Their
 * types are those of contract.ts.
 */
import type { BodySchema } from '../../http/json.ts';
import { metrics } from '../query/types.ts';
import { compares, periods } from './period.ts';

const text = { type: 'string' } as const;
const number = { type: 'number' } as const;
const count = { type: 'integer', minimum: 0 } as const;
const maybeNumber = { type: ['number', 'null'] } as const;
const maybeText = { type: ['string', 'null'] } as const;
const date = { type: 'string', format: 'date' } as const;
const notes = { type: 'array', items: text } as const;

const object = <P extends Readonly<Record<string, unknown>>>(properties: P) =>
  ({ type: 'object', properties, required: Object.keys(properties) }) as const;
const maybe = <S extends { readonly type: 'object' | 'array' }>(schema: S) =>
  ({ ...schema, type: [schema.type, 'null'] }) as const;

const dates = { from: date, to: date, until: maybeText } as const;
const head = { site_id: text, time_zone: text, ...dates } as const;

export const siteSchema = {
  $id: 'site',
  ...object({
    site_id: text,
    time_zone: text,
    created_at: { type: 'string', format: 'date-time' },
    has_events: { type: 'boolean' },
    bots_only: { type: 'boolean' },
  }),
} as const satisfies BodySchema;

const { $id: _, ...site } = siteSchema;
export const sitesSchema = {
  $id: 'sites',
  ...object({
    me: maybe(object({ user: text, role: { type: 'string', enum: ['owner', 'viewer'] } })),
    sites: { type: 'array', items: site },
    paths: object({ tracker: text, events: text }),
  }),
} as const satisfies BodySchema;

const figure = object({ value: number, previous: maybeNumber, change: maybeNumber, error: maybeNumber });

export const summarySchema = {
  $id: 'summary',
  ...object({
    ...head,
    compare: maybe(object(dates)),
    metrics: object(Object.fromEntries(metrics.map((name) => [name, figure]))),
    bots: maybe(object({ events: count, views: count })),
    names: { type: 'object', additionalProperties: text },
    notes,
  }),
} as const satisfies BodySchema;

const points = {
  type: 'array',
  items: {
    type: 'object',
    properties: { at: text, value: maybeNumber, running: { type: 'boolean' } },
    required: ['at', 'value'],
  },
} as const;

export const timeseriesSchema = {
  $id: 'timeseries',
  ...object({
    ...head,
    metric: text,
    interval: text,
    points,
    compare: maybe(object(dates)),
    previous: maybe(points),
    notes,
  }),
} as const satisfies BodySchema;

export const breakdownRowSchema = {
  type: 'object',
  properties: {
    value: text,
    name: text,
    ...Object.fromEntries([...metrics, 'conversions', 'conversion_rate'].map((name) => [name, number])),
    share: maybeNumber,
    error: maybeNumber,
  },
  required: ['value', 'share', 'error'],
} as const;

export const breakdownSchema = {
  $id: 'breakdown',
  ...object({
    ...head,
    dimension: text,
    metrics: { type: 'array', items: text },
    rows: { type: 'array', items: breakdownRowSchema },
    other: { ...breakdownRowSchema, type: ['object', 'null'] },
    total: count,
    more: { type: 'boolean' },
    notes,
  }),
} as const satisfies BodySchema;

const goal = object({
  id: { type: 'integer' },
  kind: { type: 'string', enum: ['event', 'path'] },
  match: text,
  name: text,
});
export const goalSchema = { $id: 'goal', ...goal } as const satisfies BodySchema;
export const goalsSchema = {
  $id: 'goals',
  ...object({ goals: { type: 'array', items: goal } }),
} as const satisfies BodySchema;

const liveTick = object({
  visitors: count,
  window_s: count,
  events_per_second: number,
  last: {
    type: 'array',
    items: object({
      at: { type: 'string', format: 'date-time' },
      event_type: text,
      path: maybeText,
      country: maybeText,
      device: maybeText,
    }),
  },
});
export const liveTickSchema = {
  ...liveTick,
  $id: 'live-tick',
  properties: { ...liveTick.properties, rates: { type: 'array', items: number } },
} as const satisfies BodySchema;

/** POST /api/v2/query, as Plausible's stats API v2 answers. */
export const v2AnswerSchema = {
  $id: 'v2-answer',
  ...object({
    results: {
      type: 'array',
      items: object({ dimensions: { type: 'array', items: text }, metrics: { type: 'array', items: number } }),
    },
    meta: {
      type: 'object',
      properties: {
        imports_included: { type: 'boolean' },
        imports_skip_reason: text,
        imports_warning: text,
        time_labels: { type: 'array', items: text },
        total_rows: count,
      },
    },
    query: { type: 'object', additionalProperties: true },
  }),
} as const satisfies BodySchema;

/** Parameters that questions about a site share, for OpenAPI. */
export const siteParameters: readonly (readonly [name: string, description: string, schema: BodySchema])[] = [
  [
    'period',
    'Days of the time zone; with from and to: custom, or left out.',
    { type: 'string', enum: periods, default: '30d' },
  ],
  ['from', 'First day of a custom period.', date],
  ['to', 'Last day of it.', date],
  ['compare', 'With the stretch before, with a year before, or with nothing.', { type: 'string', enum: compares }],
  ['filters', 'JSON of an array of [op, dimension, [values]]; all must hold.', text],
  ['tz', 'IANA time zone; that of the site when it is left out.', text],
];
