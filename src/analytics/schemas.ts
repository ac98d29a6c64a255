/**
 * Schemas of the JSON that analytics answers with. The serializers and the API description (query/openapi.ts) are made
 * from them; members are written in this order.
 */
import { acceptedSchema } from '../collect/schemas.ts';
import type { BodySchema } from '../http/json.ts';
import { limits, utmKeys } from './event.ts';

const count = { type: 'integer', minimum: 0 } as const;
const date = { type: 'string', format: 'date' } as const;

const text = { type: 'string' } as const;
const textUpTo = (maxLength: number) => ({ type: 'string', maxLength }) as const;
const needed = (maxLength: number) => ({ type: 'string', minLength: 1, maxLength }) as const;

/** An event of POST /events, as it should be sent; what is mended is more. */
export const eventSchema = {
  $id: 'event',
  type: 'object',
  properties: {
    site_id: needed(limits.siteId),
    event_type: needed(limits.eventType),
    path: text,
    user_id: textUpTo(limits.userId),
    timestamp: { type: 'string', format: 'date-time' },
    event_id: { type: 'string', format: 'uuid' },
    url: text,
    referrer: text,
    title: text,
    props: {
      type: 'object',
      maxProperties: limits.props,
      additionalProperties: { type: ['string', 'number', 'boolean', 'null'] },
    },
    ...(Object.fromEntries(utmKeys.map((key) => [key, text])) as Record<(typeof utmKeys)[number], typeof text>),
  },
  required: ['site_id', 'event_type'],
} as const satisfies BodySchema;

const { rejected, errors } = acceptedSchema.properties;

/** 202 of POST /events. Only the answer to an array has `accepted`, and the others when some items were bad. */
export const eventsAcceptedSchema = {
  $id: 'events-accepted',
  type: 'object',
  properties: {
    message: { type: 'string', enum: ['Event accepted', 'Events accepted'] },
    accepted: count,
    rejected,
    errors,
  },
  required: ['message'],
} as const satisfies BodySchema;

/** GET /stats. */
export const statsSchema = {
  $id: 'stats',
  type: 'object',
  properties: {
    site_id: { type: 'string' },
    date,
    total_views: count,
    unique_users: count,
    top_paths: {
      type: 'array',
      maxItems: 10,
      description:
        'While a day gets views and one of its most viewed paths may be counted under "(other)", all numbers may be ' +
        'those of one moment up to 60 seconds ago.',
      items: { type: 'object', properties: { path: { type: 'string' }, views: count }, required: ['path', 'views'] },
    },
    top_paths_incomplete: {
      const: true,
      description: 'Only there when a path that the day counts under "(other)" may be missing among the ten.',
    },
  },
  required: ['site_id', 'date', 'total_views', 'unique_users', 'top_paths'],
} as const satisfies BodySchema;

export interface StatsPath {
  readonly path: string;
  readonly views: number;
}
export interface Stats {
  readonly site_id: string;
  readonly date: string;
  readonly total_views: number;
  readonly unique_users: number;
  readonly top_paths: readonly StatsPath[];
  /** A path that the day counts under "(other)" may be missing. */
  readonly top_paths_incomplete?: true;
}

const booked = {
  accepted: count,
  stored: count,
  duplicates: count,
  rejected: count,
  pending: count,
} as const;
const bookedKeys = ['accepted', 'stored', 'duplicates', 'rejected', 'pending'] as const;

/** GET /reconcile. */
export const reconcileSchema = {
  $id: 'reconcile',
  type: 'object',
  properties: {
    site_id: { type: 'string' },
    date,
    ...booked,
    hours: {
      type: 'array',
      minItems: 24,
      maxItems: 24,
      items: {
        type: 'object',
        properties: { hour: { type: 'integer', minimum: 0, maximum: 23 }, ...booked },
        required: ['hour', ...bookedKeys],
      },
    },
  },
  required: ['site_id', 'date', ...bookedKeys, 'hours'],
} as const satisfies BodySchema;

/** What became of the events that were accepted: accepted is the sum of the others. */
export interface Booked {
  readonly accepted: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: number;
  readonly pending: number;
}
export interface Reconciled extends Booked {
  readonly site_id: string;
  readonly date: string;
  readonly hours: readonly (Booked & { readonly hour: number })[];
}
