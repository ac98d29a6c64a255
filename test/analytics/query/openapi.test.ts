/**
 * Goal: the API description is a true one. Method: it is checked as a document (every schema is one of JSON Schema
 * 2020-12, every reference leads somewhere, names are unique); then a running service is asked by it: every documented
 * route and method answers with a documented status and a body of its schema, and no other route answers.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import analytics from '../../../src/analytics/analytics.ts';
import { apiRouteNames } from '../../../src/analytics/api/names.ts';
import { peopleRouteNames } from '../../../src/analytics/people/questions.ts';
import { openApiText } from '../../../src/analytics/query/openapi.ts';
import { filtersMax, filterValuesMax } from '../../../src/analytics/query/types.ts';
import { configure } from '../../../src/service/configured.ts';
import { openLink } from '../../../src/store/postgres/connection.ts';
import { migrateAnalytics } from '../../analytics-types.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { HeldDocument } from '../../service/openapi.ts';
import { givenPaths, type Running, startAnalytics } from '../running.ts';

const held = new HeldDocument(openApiText(givenPaths));
const { document, operations } = held;

const scope = fileScope();
let running: Running;
let dsn = '';
beforeAll(async () => {
  ({ dsn } = await startPostgres(scope, { port: 23_115, settings: fastSettings }));
  await migrateAnalytics(dsn);
  const link = await openLink(dsn);
  await link.query(`INSERT INTO sites (site_id) VALUES ('site');
    INSERT INTO site_names SELECT site_id, site FROM sites;
    INSERT INTO goals (site, kind, match, name) SELECT site, 'event', 'gone', 'Gone' FROM sites`);
  await link.close();
  running = await startAnalytics(scope, { port: 23_116, env: { DATABASE_URL: dsn } });
});
afterAll(() => running.process.end('SIGKILL'));

test('it is a document of OpenAPI 3.1: schemas, references, names', () => held.check(40));

/** Requests for each operation, by the status that they are answered with. */
const day = 'site_id=site&date=2025-11-15';
const event = { site_id: 'site', event_type: 'page_view', path: '/' };
type Asking = readonly [status: number, query: string, body?: unknown, parts?: Readonly<Record<string, string>>];
/** The path with what stands in braces filled in. */
const at = (path: string, parts: Readonly<Record<string, string>> = {}): string =>
  path.replaceAll(/{(\w+)}/g, (_, name: string) => parts[name] ?? { site: 'site', goal: '1' }[name]!);

const asked: Readonly<Record<string, readonly Asking[]>> = {
  'POST /events': [
    [202, '', event],
    [202, '', [event, { ...event, event_type: '' }]],
    [400, '', [{ event_type: 'x' }]],
    [413, '', 'x'.repeat(3 * 1024 * 1024)],
  ],
  'GET /px.gif': [[200, '?e=pageview&url=https%3A%2F%2Fsite%2F']],
  'HEAD /px.gif': [[200, '?e=pageview&url=https%3A%2F%2Fsite%2F']],
  'POST /collect': [
    [202, '', { e: 'pageview', url: 'https://site/' }],
    [400, '', 'no json'],
  ],
  'GET /stats': [
    [200, `?${day}&tz=Asia/Kathmandu`],
    [400, ''],
  ],
  'GET /reconcile': [
    [200, `?${day}`],
    [400, `?site_id=a`],
  ],
  'GET /api/sites': [[200, '']],
  'GET /api/sites/{site}': [
    [200, ''],
    [404, '', undefined, { site: 'nobody' }],
  ],
  'PATCH /api/sites/{site}': [
    [200, '', { time_zone: 'Asia/Kathmandu' }],
    [400, '', { time_zone: 'Mars/Olympus' }],
    [400, '', 'no json'],
    [404, '', { time_zone: 'UTC' }, { site: 'nobody' }],
  ],
  'GET /api/sites/{site}/summary': [
    [200, ''],
    [200, '?period=custom&from=2024-02-28&to=2024-02-29&compare=year&tz=Asia/Kathmandu'],
    [200, `?filters=${encodeURIComponent('[["is","goal",["Gone"]],["contains","path",["a"]]]')}`],
    [400, '?period=fortnight'],
    [400, '?period=7d&from=2024-02-28'],
    [400, '?period=7d&to=2024-02-28'],
    [400, '?from=2024-02-29&to=2024-02-28'],
    [400, '?filters=is:path'],
    ...[
      { is: 'path' },
      ['is', 'path', ['a']],
      [['is', 'path', []]],
      [['is', 'path', ['a\u0000']]],
      [['is', 'shoes', ['a']]],
      [['like', 'path', ['a']]],
      [['contains', 'goal', ['a']]],
      [['is', 'path', Array.from({ length: filterValuesMax + 1 }, String)]],
      Array.from({ length: filtersMax + 1 }, () => ['is', 'path', ['a']]),
    ].map((filters) => [400, `?filters=${encodeURIComponent(JSON.stringify(filters))}`] as const),
    [404, '', undefined, { site: 'nobody' }],
  ],
  'GET /api/sites/{site}/timeseries': [
    [200, '?period=today&metric=engaged_time'],
    [400, '?metric=clicks'],
    [400, '?from=2020-01-01&to=2024-01-01&interval=quarter'],
  ],
  'GET /api/sites/{site}/breakdown': [
    ...['path', 'source', 'goal', 'prop:signup', 'prop:signup:plan'].map(
      (name) => [200, `?dimension=${name}`] as const,
    ),
    [400, '?dimension=shoes'],
  ],
  'GET /api/sites/{site}/export': [
    [200, '?format=csv&period=today'],
    [200, '?format=json&dimension=path'],
    [400, '?dimension=path'],
  ],
  'POST /api/v2/query': [
    [200, '', { site_id: 'site', metrics: ['visitors'], date_range: '7d', dimensions: ['time:day'] }],
    [400, '', { site_id: 'site', metrics: ['revenue'], date_range: '7d' }],
    [404, '', { site_id: 'nobody', metrics: ['visitors'], date_range: '7d' }],
  ],
  'GET /api/sites/{site}/live': [[200, '']],
  'GET /api/sites/{site}/goals': [[200, '']],
  'POST /api/sites/{site}/goals': [
    [201, '', { kind: 'path', match: '/blog/**' }],
    [400, '', { kind: 'click' }],
  ],
  'DELETE /api/sites/{site}/goals/{goal}': [
    [204, ''],
    [404, '', undefined, { goal: '77' }],
    [400, '', undefined, { goal: 'first' }],
  ],
  'POST /api/login': [
    [401, '', { user: 'nobody', password: 'a wrong password' }],
    [400, '', { user: 'nobody' }],
    [400, '', 'no json'],
  ],
  'POST /api/logout': [[204, '']],
  'GET /api/me': [
    [200, ''],
    [401, '?share=none'],
  ],
  'POST /api/share/unlock': [[401, '', { share: 'none', password: 'a wrong password' }]],
  'GET /api/sites/{site}/shares': [
    [200, ''],
    [404, '', undefined, { site: 'nobody' }],
  ],
  'POST /api/sites/{site}/shares': [
    [201, '', { label: 'board', expires_at: '2099-01-01T00:00:00+01:00' }],
    [400, '', { expires_at: 'soon' }],
    [404, '', {}, { site: 'nobody' }],
  ],
  'DELETE /api/sites/{site}/shares/{share}': [[404, '', undefined, { share: 'none' }]],
  'GET /openapi.json': [[200, '']],
  'GET /js/ringmain.js': [[200, '']],
  'GET /robots.txt': [[200, '']],
  'GET /healthz': [[200, '']],
  'GET /readyz': [[200, '']],
  'GET /metrics': [[200, '']],
};

/** Of what GET is asked, HEAD is asked as well, where it is documented. */
const requests: Readonly<Record<string, readonly Asking[]>> = {
  ...Object.fromEntries(
    operations
      .filter(({ method }) => method === 'HEAD')
      .map(({ path }) => [`HEAD ${path}`, asked[`GET ${path}`] ?? []]),
  ),
  ...asked,
};

test('no option moves the tracker, or events, to the path of another route', () => {
  const env = (name: string, path: string) => ({ DATABASE_URL: 'postgres://a@127.0.0.1/b', [name]: path });
  const roles = ['api', 'processor'];
  const others = Object.keys(document.paths).filter((path) => !Object.values<string>(givenPaths).includes(path));
  for (const path of others.map((one) => at(one))) {
    for (const name of ['TRACKER_PATH', 'EVENTS_PATH'])
      expect(() => configure(analytics, roles, { env: env(name, path) }), path).toThrow(`${name} must be a path`);
  }
  expect(() => configure(analytics, roles, { env: env('TRACKER_PATH', '/a/s.js') })).not.toThrow();
});

test('only what is streamed has GET without HEAD', () => {
  const paths = operations.filter(({ method }) => method === 'GET').map(({ path }) => path);
  expect(paths.filter((path) => requests[`HEAD ${path}`] === undefined)).toEqual([
    '/api/sites/{site}/export',
    '/api/sites/{site}/live',
  ]);
});

test('every documented operation is asked below, and no other', () => {
  expect(operations.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(Object.keys(requests).sort());
});

test.each(operations.map((one) => [`${one.method} ${one.path}`, one] as const))(
  '%s answers with what is documented',
  async (name, operation) => {
    const { path, method } = operation;
    for (const [status, query, body, parts] of requests[name]!) {
      const sent = typeof body === 'string' ? body : JSON.stringify(body);
      const answer = await fetch(`${running.url}${at(path, parts)}${query}`, {
        method,
        ...(body === undefined ? {} : { body: sent, headers: { 'content-type': 'application/json' } }),
      });
      expect(answer.status, `${name}${query}`).toBe(status);
      if (answer.headers.get('content-type') === 'text/event-stream') {
        // It has no end.
        await answer.body!.cancel();
        continue;
      }
      await held.checkAnswer(operation, answer, `${name}${query}`);
    }
  },
);

test('no route answers that is not documented, and no method', async () => {
  for (const path of ['/event', '/api', '/stats/', '/docs']) {
    expect((await running.get(path)).status, path).toBe(404);
  }
  // The names of all routes are label values.
  const names = (await (await running.get('/metrics')).text()).matchAll(/requests_total\{route="(\w+)"/g);
  expect([...new Set([...names].map(([, name]) => name))].sort()).toEqual(
    [
      ...['collect', 'events', 'openapi', 'ops', 'other', 'preflight', 'px', 'reconcile', 'stats', 'tracker', 'web'],
      'live',
      ...apiRouteNames,
      ...peopleRouteNames,
    ].sort(),
  );
  await held.checkMethods(
    (method, path) => fetch(`${running.url}${at(path)}`, { method }),
    Object.keys(document.paths),
  );
});

test('the document is served as it is', async () => {
  expect(await (await running.get('/openapi.json')).json()).toEqual(document);
});

test('paths that options move stand in the document where they are served, and nowhere else', async () => {
  const moved = { tracker: '/t/s.js', events: '/t/in' };
  const env = { DATABASE_URL: dsn, TRACKER_PATH: moved.tracker, EVENTS_PATH: moved.events };
  const other = await startAnalytics(scope, { port: 23_118, env });
  const text = await (await other.get('/openapi.json')).text();
  const there = new HeldDocument(text);
  there.check(40);
  const paths = Object.keys(document.paths).filter((path) => path !== givenPaths.tracker);
  expect(Object.keys(there.document.paths).sort()).toEqual([...paths, moved.tracker, moved.events].sort());
  for (const path of [givenPaths.events, moved.events]) {
    const answer = await other.post(path, event);
    expect(answer.status, path).toBe(202);
    await there.checkAnswer(there.document.paths[path]!['post']!, answer, path);
  }
  const script = await other.get(moved.tracker);
  await there.checkAnswer(there.document.paths[moved.tracker]!['get']!, script, moved.tracker);
  await there.checkMethods((method, path) => fetch(`${other.url}${path}`, { method }), Object.values(moved));
  expect((await other.get(givenPaths.tracker)).status).toBe(404);
});
