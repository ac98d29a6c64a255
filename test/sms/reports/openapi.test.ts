/**
 * Goal: the document is true of the reporting port, too. Method: as test/sms/openapi.test.ts does for the API, over
 * the built service with a real chdb that has some messages.
 */
import { beforeAll, expect, test, vi } from 'vitest';
import { openApiText } from '../../../src/sms/openapi/document.ts';
import { reportNames } from '../../../src/sms/reports/metrics.ts';
import { startTestChdb } from '../../servers/chdb.ts';
import { fileScope } from '../../servers/scope.ts';
import { HeldDocument } from '../../service/openapi.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { ADMIN_KEY, startSms } from '../running.ts';
import { accepted, became, DAY, insert } from './records.ts';

const API = 26_581;
const REPORTS = `http://127.0.0.1:${API + 5000}`;
const held = new HeldDocument(openApiText());
const reports = held.operations.filter(({ path }) => /^\/v1\/(reports|export)/.test(path));
const scope = fileScope();
let key = '';

beforeAll(async () => {
  const [{ dsn }, chdb] = await Promise.all([startDatabase(scope, 26_580), startTestChdb(scope, 24_890)]);
  const link = await openLink(dsn);
  await addCustomer(link, 'ada', { balance: 1000 });
  await link.close();
  await startSms(scope, {
    port: API,
    dsn,
    env: {
      REPORTS: 'on',
      REPORTS_EVERY_MS: '100ms',
      // The records are of a day that lies as far back as this test is old.
      REPORTS_RAW_DAYS: '36500',
      CLICKHOUSE_URL: chdb.url,
      IP_REQUESTS_PER_MINUTE: '1000',
      OPERATORS: JSON.stringify([{ name: 'mci', driver: 'http', url: 'http://127.0.0.1:9/' }]),
    },
  });
  const made = await fetch(`http://127.0.0.1:${API}/v1/customers/ada/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    body: '{}',
  });
  ({ key } = (await made.json()) as { key: string });
  await vi.waitFor(async () => expect((await ask('GET', `/v1/reports/day?${range}`)).status).toBe(200), 60_000);
  const messages = Array.from({ length: 20 }, (_, i) => accepted(i, DAY + i * 60_000));
  await insert(chdb.url, messages);
  await insert(
    chdb.url,
    messages.slice(5).flatMap((one) => [became(one, 'sent', one.at + 100), became(one, 'delivered', one.at + 900)]),
  );
  // What the customer spends now, for balances.
  await insert(chdb.url, [accepted(100, Date.now())]);
  const has = (path: string, count: number) =>
    vi.waitFor(async () => {
      const { rows } = (await (await ask('GET', path)).json()) as { rows: readonly unknown[] };
      expect(rows).toHaveLength(count);
    }, 60_000);
  await has(`/v1/reports/minute?${range}`, 20);
  await has('/v1/reports/balances', 1);
  await has('/v1/reports/standing', 1);
}, 300_000);

const ask = (method: string, path: string, credential: string = ADMIN_KEY): Promise<Response> =>
  fetch(`${REPORTS}${path}`, {
    method,
    headers: credential === '' ? {} : { authorization: `Bearer ${credential}` },
  });

const range = 'from=2026-11-28T00:00:00Z&to=2026-11-29T00:00:00Z';
type Asking = readonly [status: number, path: string, credential?: string];
const everybody = (path: string): readonly Asking[] => [
  [200, `${path}${range}`],
  [200, `${path}${range}&customer_id=ada`, 'KEY'],
  [200, `${path}${range}`, 'KEY'],
  [400, `${path}from=2026-11-28`],
  [401, `${path}${range}`, ''],
  [401, `${path}${range}`, 'sms_live_x'],
  [403, `${path}${range}&customer_id=bob`, 'KEY'],
];
const administrators = (path: string, query: string, wrong: string): readonly Asking[] => [
  [200, `${path}${query}`],
  [400, `${path}${wrong}`],
  [401, `${path}${query}`, ''],
  [403, `${path}${query}`, 'KEY'],
];
/** Requests for each operation, by the status that they are answered with. */
const requests: Readonly<Record<string, readonly Asking[]>> = {
  reportMinutes: everybody('/v1/reports/minute?'),
  reportDays: everybody('/v1/reports/day?'),
  reportOperators: administrators('/v1/reports/operators?', range, 'to=x'),
  reportTop: administrators('/v1/reports/top?', `${range}&limit=5`, `${range}&limit=0`),
  reportBalances: administrators('/v1/reports/balances?', 'limit=5', 'limit=x'),
  reportStanding: administrators('/v1/reports/standing', '', '?limit=1'),
  exportMessages: [
    ...everybody('/v1/export?format=csv&'),
    [200, `/v1/export?format=jsonl&${range}`],
    [200, `/v1/export?format=parquet&${range}`],
    [400, `/v1/export?format=xls&${range}`],
    [400, `/v1/export?${range}`],
  ],
};

test.each(Object.entries(requests))('%s answers with what is documented', (name, asked) =>
  held.checkAnswers(
    name,
    asked.map(([status, path, credential]) => [status, path, undefined, credential]),
    (method, path, _, credential) => ask(method, path, credential === 'KEY' ? key : credential),
  ),
);

test('every parameter of the document is taken, and no other', async () => {
  for (const { operationId, path, parameters = [] } of reports) {
    const known = parameters.map(({ name }) => name);
    const [, url] = requests[operationId]!.find(([status]) => status === 200)!;
    const refused = await (await ask('GET', `${url}${url.includes('?') ? '&' : '?'}strange=1`)).json();
    const said = (refused as { detail: string }).detail;
    for (const name of known) expect(said, path).toContain(name);
    const listed = /one of (.*): found/.exec(said)?.[1] ?? '';
    expect(listed === '' ? [] : listed.split(', ').sort(), path).toEqual([...known].sort());
  }
});

test('the routes of the port are those of the document', async () => {
  await held.checkMethods(ask, [...new Set(reports.map(({ path }) => path))]);
  for (const { operationId } of reports) expect(requests).toHaveProperty(operationId);
  const metrics = await (await ask('GET', '/metrics', '')).text();
  for (const name of reportNames) expect(metrics).toContain(`route="${name}"`);
  for (const path of ['/v1/reports', '/v1/reports/day/', '/v1/sms', '/v1/customers'])
    expect((await ask('GET', path)).status, path).toBe(404);
});
