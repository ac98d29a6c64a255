/** Paths of the API document that the dashboard asks: sites and their figures, goals, share links, logins. */
import { plainDimensions } from '../api/dimension.ts';
import { siteParameters } from '../api/schemas.ts';
import { answer, content, inQuery, type Json, json, type named, reading, ref, refusals } from './openapi-parts.ts';
import { intervals, LIMIT_MAX, metrics } from './types.ts';

const inPath = (name: string, description: string, schema: Json): Json => ({
  name,
  in: 'path',
  required: true,
  description,
  schema,
});
const sitePath = inPath('site', 'Name of the site, percent-encoded.', { type: 'string' });
const asked = siteParameters.map(([name, description, schema]) => inQuery(name, description, schema));
const named200 = (description: string, name: keyof typeof named): Json => ({ 200: answer(description, json(name)) });
const jsonBody = (schema: Json): Json => ({
  requestBody: { required: true, content: content('application/json', schema) },
});
const dimension = inQuery('dimension', `One of ${plainDimensions.join(', ')}, goal, prop:EVENT, prop:EVENT:KEY.`, {
  type: 'string',
});
const search = inQuery('search', 'Only values that contain this text, in large or small letters.', { type: 'string' });
const interval = inQuery('interval', 'Default: by the length of the period.', { type: 'string', enum: intervals });

export const apiPaths: Json = {
  '/api/v2/query': {
    post: {
      operationId: 'queryV2',
      tags: ['dashboard'],
      summary: "Answers queries in the shape of Plausible's stats API v2, for what is held here.",
      security: reading,
      ...jsonBody({ type: 'object', required: ['site_id', 'metrics', 'date_range'] }),
      responses: {
        ...named200('Rows in their order.', 'V2Answer'),
        ...refusals(400, 401, 403, 404, 413, 429, 500, 503),
      },
    },
  },
  '/api/sites': {
    get: {
      operationId: 'listSites',
      tags: ['dashboard'],
      summary: 'The sites that who asks may see.',
      security: reading,
      responses: { ...named200('The sites by name.', 'Sites'), ...refusals(401, 403, 429, 500, 503) },
    },
  },
  '/api/sites/{site}': {
    ...ofSite('get', 'getSite', 'A site.', named200('The site.', 'Site')),
    ...ofSite('patch', 'changeSite', 'Changes the time zone of a site.', named200('The site as it is now.', 'Site'), {
      ...jsonBody({ type: 'object', properties: { time_zone: { type: 'string' } }, required: ['time_zone'] }),
    }),
  },
  '/api/sites/{site}/summary': ofSite(
    'get',
    'getSummary',
    'The figures of a period, each with its change.',
    named200('The period; zeros when nothing was seen.', 'Summary'),
    { parameters: asked },
  ),
  '/api/sites/{site}/timeseries': ofSite(
    'get',
    'getTimeseries',
    'A metric by time, and what it is compared with.',
    named200('The points in their order.', 'Timeseries'),
    { parameters: [...asked, inQuery('metric', 'Default: visitors.', { type: 'string', enum: metrics }), interval] },
  ),
  '/api/sites/{site}/breakdown': ofSite(
    'get',
    'getBreakdown',
    'The values of a dimension, the largest first.',
    named200('A page of the values.', 'Breakdown'),
    {
      parameters: [
        ...asked,
        { ...dimension, required: true },
        inQuery('order', 'What the rows are ordered by; default: the first of their metrics.', { type: 'string' }),
        inQuery('limit', 'Rows of a page.', { type: 'integer', minimum: 1, maximum: LIMIT_MAX, default: 10 }),
        inQuery('page', 'From 1.', { type: 'integer', minimum: 1, default: 1 }),
        search,
      ],
    },
  ),
  '/api/sites/{site}/export': ofSite(
    'get',
    'exportSite',
    'The series of a period, or all values of a dimension, as a file.',
    {
      200: answer('The file, written by and by.', {
        'text/csv': { schema: { type: 'string' } },
        'application/json': { schema: { type: 'object', required: ['site_id', 'rows'] } },
      }),
    },
    {
      parameters: [
        ...asked,
        inQuery('format', 'The form of the file.', { type: 'string', enum: ['csv', 'json'] }, true),
        dimension,
        search,
        interval,
      ],
    },
  ),
  '/api/sites/{site}/live': ofSite('get', 'watchSite', 'What is going on now, as server-sent events.', {
    200: answer('Events named live; their data is a LiveTick.', content('text/event-stream', ref('LiveTick'))),
  }),
  '/api/sites/{site}/goals': {
    ...ofSite('get', 'listGoals', 'The goals of a site.', named200('The goals, the oldest first.', 'Goals')),
    ...ofSite(
      'post',
      'addGoal',
      'Adds a goal.',
      { 201: answer('The goal.', json('Goal')) },
      {
        ...jsonBody({
          type: 'object',
          properties: {
            kind: { type: 'string', enum: ['event', 'path'] },
            match: {
              type: 'string',
              description: 'Type of the event, or pattern of the path: * and ** as in filters.',
            },
            name: { type: 'string', description: 'Default: match.' },
          },
          required: ['kind', 'match'],
        }),
      },
    ),
  },
  '/api/sites/{site}/goals/{goal}': ofSite(
    'delete',
    'removeGoal',
    'Removes a goal.',
    { 204: answer('It is gone.') },
    {
      parameters: [inPath('goal', 'Its id.', { type: 'integer' })],
    },
  ),
};

const people = (
  method: 'get' | 'post',
  operationId: string,
  summary: string,
  success: Json,
  more: Json = {},
): Json => ({
  [method]: {
    operationId,
    tags: ['people'],
    summary,
    ...more,
    responses: { ...success, ...refusals(400, 401, 403, 429, 500, 503) },
  },
});

/** Changes of somebody who is logged in bear X-CSRF-Token, with the `csrf` of GET /api/me. */
export const peoplePaths: Json = {
  '/api/login': people(
    'post',
    'login',
    'Logs somebody in: sets the cookie of the session.',
    named200('Who it is, and the value of X-CSRF-Token for what changes something.', 'Me'),
    jsonBody(ref('Login')),
  ),
  '/api/logout': people('post', 'logout', 'Ends the session.', { 204: answer('It has ended.') }),
  '/api/me': people('get', 'getMe', 'Who is logged in.', named200('Who it is; null for nobody.', 'Me'), {
    parameters: [inQuery('share', 'Token of a share link: whether it is valid.', { type: 'string' })],
  }),
  '/api/share/unlock': people(
    'post',
    'unlockShare',
    'Gives the password of a share link: sets a cookie for this link alone.',
    { 204: answer('The link shows its site for twelve hours.') },
    jsonBody(ref('Unlock')),
  ),
  '/api/sites/{site}/shares': {
    ...ofSite('get', 'listShares', 'The share links of a site; for owners.', named200('The newest last.', 'Shares')),
    ...ofSite(
      'post',
      'addShare',
      'Makes a link that shows the site to whoever has it; for owners.',
      { 201: answer('The link; its token is shown this once.', json('MadeShare')), ...refusals(409) },
      jsonBody(ref('NewShare')),
    ),
  },
  '/api/sites/{site}/shares/{share}': ofSite(
    'delete',
    'removeShare',
    'Ends a share link; for owners.',
    { 204: answer('It has ended.') },
    { parameters: [inPath('share', 'Its id.', { type: 'string' })] },
  ),
};

/** OpenAPI of an operation of the API about a site. */
function ofSite(
  method: 'get' | 'post' | 'patch' | 'delete',
  operationId: string,
  summary: string,
  success: Json,
  more: Json = {},
): Json {
  const { parameters = [], ...others } = more as { readonly parameters?: readonly Json[] };
  return {
    [method]: {
      operationId,
      tags: ['dashboard'],
      summary,
      security: reading,
      parameters: [sitePath, ...parameters],
      ...others,
      responses: { ...success, ...refusals(400, 401, 403, 404, 429, 500, 503) },
    },
  };
}
