/**
 * OpenAPI 3.1: the description of every route of the service, made of the schemas that the serializers are made of.
 * test/analytics/query/openapi.test.ts holds it against the routes of a running service.
 */
import { bearer, documentHead } from '../../service/openapi/parts.ts';
import { EVENTS_PATH } from '../config.ts';
import { limits } from '../event.ts';
import { apiPaths, peoplePaths } from './openapi-dashboard.ts';
import {
  answer,
  content,
  inQuery,
  type Json,
  json,
  plain,
  reading,
  ref,
  refusals,
  schemas,
  sending,
} from './openapi-parts.ts';

const siteId = inQuery(
  'site_id',
  'Name of the site; one that it had before it was renamed leads to it as well.',
  { type: 'string', minLength: 1, maxLength: limits.siteId },
  true,
);
const date = (of: string) => inQuery('date', of, { type: 'string', format: 'date' }, true);

const body = (description: string, name: 'Event', types: readonly string[]): Json => {
  const schema = { oneOf: [ref(name), { type: 'array', items: ref(name) }] };
  return { required: true, description, content: Object.fromEntries(types.map((type) => [type, { schema }])) };
};

const pixelAnswers = {
  200: answer('A transparent GIF of one pixel. Whether the event counts is said by nothing in it.', {
    'image/gif': {},
  }),
  ...refusals(400, 403, 413, 429, 500, 503),
};

/** Paths that options give. */
export interface GivenPaths {
  /** TRACKER_PATH. */
  readonly tracker: string;
  /** EVENTS_PATH of the options. */
  readonly events: string;
}

const events = (operationId: string, summary: string): Json => ({
  post: {
    operationId,
    tags: ['intake'],
    summary,
    security: sending,
    requestBody: body('An event or an array; `text/plain` is taken for sendBeacon.', 'Event', [
      'application/json',
      'text/plain',
    ]),
    responses: {
      202: answer('The events are kept, in the way that ACK says.', json('EventsAccepted')),
      ...refusals(400, 401, 403, 408, 413, 415, 429, 500, 503),
    },
  },
});

const pathsOf = (given: GivenPaths): Json => ({
  [EVENTS_PATH]: events('sendEvents', 'Takes one event, or an array of events.'),
  ...(given.events === EVENTS_PATH
    ? {}
    : { [given.events]: events('sendTrackedEvents', `What ${EVENTS_PATH} does, where the tracker sends its events.`) }),
  '/px.gif': {
    get: {
      operationId: 'sendPixel',
      tags: ['intake'],
      summary: 'Takes an event of the collector from the query.',
      parameters: [
        inQuery('e', 'Name of the event; pageview counts as page_view.', { type: 'string' }),
        inQuery('url', 'Page; its host is the site when site_id is missing.', { type: 'string' }),
        inQuery('site_id', 'The site.', { type: 'string' }),
      ],
      responses: pixelAnswers,
    },
    head: {
      operationId: 'sendPixelHead',
      tags: ['intake'],
      summary: 'Takes an event as GET does, and answers without the image.',
      responses: { 200: answer('The headers of the pixel.'), ...refusals(400, 403, 413, 429, 500, 503) },
    },
  },
  '/collect': {
    post: {
      operationId: 'sendCollect',
      tags: ['intake'],
      summary: 'Takes one event of the collector, or an array of them.',
      requestBody: {
        required: true,
        content: Object.fromEntries(
          ['application/json', 'text/plain'].map((type) => [type, { schema: { type: ['object', 'array'] } }]),
        ),
      },
      responses: {
        202: answer('The events are kept, in the way that ACK says.', json('CollectAccepted')),
        ...refusals(400, 401, 403, 408, 413, 415, 429, 500, 503),
      },
    },
  },
  '/stats': {
    get: {
      operationId: 'getStats',
      tags: ['statistics'],
      summary: 'Views, distinct users and the ten most viewed paths of a day.',
      security: reading,
      parameters: [
        siteId,
        date('A day of the time zone.'),
        inQuery('tz', 'IANA time zone of the day, such as Asia/Kathmandu.', { type: 'string', default: 'UTC' }),
      ],
      responses: {
        200: answer('The day; zeros when nothing was seen.', json('Stats')),
        ...refusals(400, 401, 403, 429, 500, 503),
      },
    },
  },
  '/reconcile': {
    get: {
      operationId: 'reconcile',
      tags: ['statistics'],
      summary: 'What became of the events that were accepted, by UTC hour of receipt.',
      security: reading,
      parameters: [siteId, date('A UTC day of receipt.')],
      responses: {
        200: answer(
          'accepted is the sum of the others; when an hour has nothing pending and its sum is less, an event was lost.',
          json('Reconciliation'),
        ),
        ...refusals(400, 401, 403, 429, 500, 503),
      },
    },
  },
  ...apiPaths,
  ...peoplePaths,
  '/openapi.json': {
    get: {
      operationId: 'getOpenApi',
      tags: ['operations'],
      summary: 'This document.',
      responses: { 200: answer('An OpenAPI document.', content('application/json', { type: 'object' })) },
    },
  },
  [given.tracker]: ops('tracker', 'The script that pages load.', {
    200: answer('The tracker.', content('text/javascript', { type: 'string' })),
  }),
  '/robots.txt': ops('robots', 'Keeps crawlers away.', { 200: answer('Rules for crawlers.', plain) }),
  '/healthz': ops('health', 'Whether this process answers.', { 200: answer('It does.', plain) }),
  '/readyz': ops('readiness', 'Whether this process takes events, and what is missing.', {
    200: answer('Everything is up.', json('Readiness')),
    503: answer('Something is missing.', json('Readiness')),
  }),
  '/metrics': ops('metrics', 'Figures for Prometheus.', { 200: answer('The text format of Prometheus.', plain) }),
});

function ops(name: string, summary: string, responses: Readonly<Record<string, { description: string }>>): Json {
  return { get: { operationId: name, tags: ['operations'], summary, responses } };
}

/** Whose answers have no end that HEAD could tell the length of. */
const streamed = new Set(['/api/sites/{site}/export', '/api/sites/{site}/live']);

/** The paths with HEAD beside GET (RFC 9110, 9.3.2): the same answers without their bodies. */
function withHead(given: Json): Json {
  const headed = Object.entries(given).map(([path, methods]) => {
    const { get, head } = methods as { readonly get?: Json; readonly head?: Json };
    if (get === undefined || head !== undefined || streamed.has(path)) return [path, methods];
    const responses = Object.entries(get['responses'] as Readonly<Record<string, Json>>).map(
      ([status, { content: _, ...bare }]) => [status, bare],
    );
    const operation = { ...get, operationId: `${get['operationId']}Head`, responses: Object.fromEntries(responses) };
    return [path, { ...(methods as Json), head: operation }];
  });
  return Object.fromEntries(headed) as Json;
}

const openApi = (given: GivenPaths): Json => ({
  ...documentHead('Ringmain Analytics', 'Site analytics: events in, exact statistics out.'),
  tags: [{ name: 'intake' }, { name: 'statistics' }, { name: 'dashboard' }, { name: 'people' }, { name: 'operations' }],
  paths: withHead(pathsOf(given)),
  components: {
    schemas,
    securitySchemes: {
      ingestKey: bearer('An ingest key of the site, where it has one.'),
      readKey: bearer('A read key of the site, where it has one.'),
      session: {
        type: 'apiKey',
        in: 'cookie',
        name: 'ringmain_session',
        description: 'Set by POST /api/login; over TLS it is called __Host-ringmain_session.',
      },
      share: { type: 'apiKey', in: 'query', name: 'share', description: 'Token of a share link of the site.' },
    },
  },
});

export const openApiText = (given: GivenPaths): string => JSON.stringify(openApi(given));
