/**
 * Goal: whoever runs the gateway sees on one page of the reporting port what happened to messages; customers get reports
 * and exports of their own messages, and of nobody else's; ACCESS=open opens none of it.
 * Method: the built service with Postgres and chdb, records as its output posts them, real Chromium. Screenshots of each
 * state go to test/screenshots/ for somebody to look at.
 */
import assert from 'node:assert/strict';
import { globSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parquetReadObjects } from 'hyparquet';
import { type Browser, chromium, type Page } from 'playwright-core';
import { beforeAll, expect, test, vi } from 'vitest';
import { clickHousePlace, type PlaceValues } from '../../src/sms/reports/place.ts';
import { ensureCommand } from '../servers/apt.ts';
import { chdbFolder } from '../servers/chdb-folder.ts';
import { fileScope } from '../servers/scope.ts';
import { addCustomer, openLink, startDatabase } from '../sms/database.ts';
import { accepted, became, insert } from '../sms/reports/records.ts';
import { ADMIN_KEY, PEPPER, startSms } from '../sms/running.ts';

const PICTURES = 'test/screenshots';
const EVIL = 'img-onerror-1';
const GZIP_BYTES_MAX = 40 * 1024;
const API = 24_861;
const CHDB_PORT = 24_869;

const file = fileScope();
const reports = 'http://127.0.0.1:24862';
let api: string;
let browser: Browser;
let chdbUrl: string;
/** A key of the customer `ada`. */
let key: string;

const admin = { authorization: `Bearer ${ADMIN_KEY}` };
const now = Math.floor(Date.now() / 60_000) * 60_000;
const MINUTE = 60_000;
const iso = (ms: number) => encodeURIComponent(new Date(ms).toISOString());
const range = `from=${iso(now - 60 * MINUTE)}&to=${iso(now + MINUTE)}`;

async function ask(path: string, headers: Record<string, string> = admin): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${reports}${path}`, { headers });
  return { status: answer.status, text: await answer.text() };
}

/** An hour of messages: two operators, both lanes, a few that fail and some that wait. */
function traffic(): object[] {
  const customers = ['ada', 'bob', EVIL, 'shop-with-a-rather-long-name-that-nobody-shortened'];
  return Array.from({ length: 2400 }, (_, i) => {
    const at = now - 50 * MINUTE + Math.floor((i / 2400) * 50 * MINUTE);
    const express = i % 8 === 0;
    const message = accepted(i, at, {
      customer_id: customers[[0, 0, 0, 0, 1, 1, 1, 2, 2, 3][i % 10]!]!,
      type: express ? 'express' : 'normal',
    });
    const operator = i % 3 === 0 ? 'irancell' : 'mci';
    const sentAt = at + (express ? 120 : 900) + (i % 70) * 10;
    if (i % 97 === 0) return [message, became(message, 'failed', sentAt, { operator, reason: 'rejected' })];
    if (i % 211 === 0) return [message, became(message, 'unknown', sentAt, { operator })];
    if (i > 2380) return [message];
    const sent = became(message, 'sent', sentAt, { operator });
    return i % 12 === 5 || i > 2330
      ? [message, sent]
      : [message, sent, became(message, 'delivered', sentAt + 3000, { operator })];
  }).flat();
}

beforeAll(async () => {
  await ensureCommand('chromium', 'chromium');
  mkdirSync(PICTURES, { recursive: true });
  const [postgres, library] = await Promise.all([startDatabase(file, 24_860), chdbFolder()]);
  const link = await openLink(postgres.dsn);
  file.onTestFinished(() => link.close());
  for (const [id, balance] of [
    ['ada', 900],
    ['bob', 40_000],
    [EVIL, 90_000],
  ] as const)
    await addCustomer(link, id, { balance });
  const env = {
    REPORTS: 'on',
    REPORTS_EVERY_MS: '200ms',
    REPORTING_ADDR: '127.0.0.1:24862',
    CHDB_DIR: library,
    CHDB_PORT: String(CHDB_PORT),
    CLICKHOUSE_DIR: './clickhouse',
    ACCESS: 'open',
    // One that is called when there is a message, and one that nobody binds to.
    OPERATORS: JSON.stringify([
      { name: 'irancell', driver: 'http', url: 'http://127.0.0.1:9/', prefixes: ['+9890'] },
      { name: 'mci', driver: 'smpp', url: 'smpp://127.0.0.1:9', prefixes: ['+9891'], system_id: 'ringmain' },
    ]),
  };
  const sms = await startSms(file, { port: API, dsn: postgres.dsn, env });
  api = sms.url;
  const made = await fetch(`${api}/v1/customers/ada/keys`, { method: 'POST', headers: admin, body: '{}' });
  assert.equal(made.status, 201, await made.clone().text());
  ({ key } = (await made.json()) as { key: string });
  chdbUrl = clickHousePlace({
    access: { keyPepper: PEPPER },
    clickhouse: { clickhouseUrl: undefined, chdbPort: CHDB_PORT },
    postgres: { pgDsn: postgres.dsn },
  } as PlaceValues).url;
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'];
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  file.onTestFinished(() => browser.close());
  await vi.waitFor(async () => assert.equal((await ask(`/v1/reports/minute?${range}`)).status, 200), 60_000);
}, 300_000);

async function open(options: Parameters<Browser['newContext']>[0] = {}, hash = ''): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 1000 },
    reducedMotion: 'reduce',
    locale: 'en-US',
    baseURL: reports,
    ...options,
  });
  file.onTestFinished(() => context.close());
  const page = await context.newPage();
  page.on('dialog', (dialog) => assert.fail(`no script of data may run: ${dialog.message()}`));
  page.on('console', (said) => {
    if (/Content Security Policy/.test(said.text())) assert.fail(said.text());
  });
  await page.goto(`/${hash}`);
  return page;
}

async function opened(options: Parameters<Browser['newContext']>[0] = {}, hash = ''): Promise<Page> {
  const page = await open(options, hash);
  await page.getByLabel('Key of administrators').fill(ADMIN_KEY);
  await page.getByRole('button', { name: 'Open' }).click();
  await page.locator('.header').waitFor();
  return page;
}

const settled = (page: Page) => expect.poll(() => page.locator('.bone, .stale, [aria-busy]').count()).toBe(0);

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
async function accessible(page: Page, state: string): Promise<void> {
  await page.evaluate(axe);
  const { violations } = (await page.evaluate('axe.run()')) as {
    violations: readonly { id: string; nodes: readonly { html: string; failureSummary?: string }[] }[];
  };
  assert.deepEqual(
    violations.map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]),
    [],
    state,
  );
}

test('empty: the page says what will stand where; a wrong key is refused; the key stays in the tab', async () => {
  const page = await open();
  await accessible(page, 'login');
  await page.getByLabel('Key of administrators').fill('not-the-key');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.getByRole('alert').textContent()).toMatch(/^This key is refused/);
  await page.getByLabel('Key of administrators').fill(ADMIN_KEY);
  await page.keyboard.press('Enter');
  await page.locator('.header').waitFor();
  await settled(page);
  await expect.poll(() => page.locator('.empty').count()).toBe(4);
  await accessible(page, 'empty');
  await page.screenshot({ path: `${PICTURES}/sms-empty.png`, fullPage: true });
  assert.deepEqual(await page.context().cookies(), []);
  const packed = globSync('dist/sms/web/*.gz').map((name) => readFileSync(name).length);
  assert.ok(packed.reduce((sum, bytes) => sum + bytes) < GZIP_BYTES_MAX, `gzip: ${packed}`);
  const answer = await fetch(`${reports}/`);
  assert.match(answer.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  assert.doesNotMatch(await answer.text(), /<script>|style=|https?:/);
});

test('an hour of traffic: figures, chart, operators, customers, in light and dark and on a phone', async () => {
  await insert(chdbUrl, traffic());
  const total = async () => {
    const { text } = await ask(`/v1/reports/minute?${range}`);
    return (JSON.parse(text) as { rows: { accepted: number }[] }).rows.reduce((sum, row) => sum + row.accepted, 0);
  };
  await expect.poll(total).toBe(2400);
  const page = await opened();
  await settled(page);
  await expect.poll(() => page.locator('.figure-value').first().textContent()).toBe('2,400');
  await expect.poll(() => page.locator('.table.operators tbody tr').count()).toBe(4);
  assert.match((await page.locator('.chart svg').getAttribute('aria-label')) ?? '', /^Messages over 1 hour: Delivered/);
  assert.match((await page.locator('.figure').nth(3).textContent()) ?? '', /Express p99\d+ ms/);
  await expect.poll(() => page.locator('.low').first().textContent()).toContain('ada');
  assert.equal(await page.locator('.top-row').count(), 4);
  await accessible(page, 'light');
  await page.screenshot({ path: `${PICTURES}/sms-light.png`, fullPage: true });
  await page.locator('.bar').nth(30).hover();
  await page.locator('.tip strong').waitFor();
  await page.screenshot({ path: `${PICTURES}/sms-tip.png` });
  await page.getByRole('link', { name: '30 days' }).click();
  await settled(page);
  await expect.poll(() => page.locator('.chart svg').getAttribute('aria-label')).toMatch(/over 30 days/);
  await page.screenshot({ path: `${PICTURES}/sms-month.png`, fullPage: true });

  const dark = await opened({ colorScheme: 'dark' }, '#day');
  await settled(dark);
  await accessible(dark, 'dark');
  await dark.screenshot({ path: `${PICTURES}/sms-dark.png`, fullPage: true });

  const phone = await opened({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await settled(phone);
  await accessible(phone, 'phone');
  const wide = await phone.evaluate('document.documentElement.scrollWidth');
  assert.ok((wide as number) <= 390, `nothing may be wider than the phone: found=${wide}`);
  await phone.screenshot({ path: `${PICTURES}/sms-phone.png`, fullPage: true });
});

test('a server that is away is said on the page, and asked again', async () => {
  const page = await opened();
  await settled(page);
  await page.route('**/v1/reports/**', (route) =>
    route.fulfill({ status: 503, json: { title: 'Away', detail: 'ClickHouse cannot be asked' } }),
  );
  await page.getByRole('link', { name: '24 hours' }).click();
  await expect.poll(() => page.locator('.failure').count()).toBe(6);
  await accessible(page, 'failure');
  await page.screenshot({ path: `${PICTURES}/sms-failure.png`, fullPage: true });
  await page.unroute('**/v1/reports/**');
  await page.getByRole('button', { name: 'Try again' }).first().click();
  await expect.poll(() => page.locator('.failure').count()).toBe(5);
});

test('the messages of the shown time are saved in the format that is chosen; what is refused is said', async () => {
  const page = await opened();
  await settled(page);
  const save = async (format: string): Promise<{ name: string; bytes: Buffer }> => {
    await page.getByLabel('Format of the file').selectOption(format);
    const coming = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Export' }).click();
    const download = await coming;
    return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  };
  const ids = new Set(
    traffic()
      .map((record) => record as { message_id: string; accepted_at?: number; at: number })
      .map(({ message_id: id }) => id),
  );
  const csv = await save('CSV');
  assert.match(csv.name, /^sms-all-.*\.csv$/);
  const [head, ...lines] = csv.bytes.toString().trim().split('\r\n');
  assert.match(head!, /^"?message_id"?,/);
  const found = lines.map((line) => line.split(',')[0]!.replaceAll('"', ''));
  assert.ok(found.length >= 2300 && found.every((id) => ids.has(id)), `rows: ${found.length}`);
  const jsonl = await save('JSON Lines');
  assert.equal(jsonl.bytes.toString().trim().split('\n').length, found.length);
  const { bytes } = await save('Parquet');
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  assert.equal((await parquetReadObjects({ file: buffer })).length, found.length);
  await accessible(page, 'export');
  await page.route('**/v1/export**', (route) =>
    route.fulfill({ status: 503, json: { title: 'Away', detail: 'ClickHouse cannot be asked' } }),
  );
  await page.getByRole('button', { name: 'Export' }).click();
  await expect.poll(() => page.locator('.export').getByRole('alert').textContent()).toBe('ClickHouse cannot be asked');
  await page.screenshot({ path: `${PICTURES}/sms-export.png` });
});

test('how operators stand is shown as the workers tell it', async () => {
  const page = await opened();
  const list = page.getByRole('list', { name: 'Operators now' });
  await expect.poll(() => list.textContent()).toMatch(/irancell.*connected.*called by 1 of 1 workers/);
  await expect.poll(() => list.textContent()).toMatch(/mci.*not connected.*called by 0 of 1 workers/);
  await accessible(page, 'standing');
  await page.screenshot({ path: `${PICTURES}/sms-standing.png`, fullPage: true });
});

test('who may read what: ACCESS=open opens no report; a key reads its own customer alone', async () => {
  const own = { 'x-api-key': key };
  for (const path of [`/v1/reports/minute?${range}`, `/v1/export?format=csv&${range}`, `/v1/reports/top?${range}`])
    assert.equal((await ask(path, {})).status, 401, path);
  assert.equal((await ask(`/v1/reports/minute?${range}&customer_id=bob`, own)).status, 403);
  assert.equal((await ask(`/v1/export?format=csv&${range}&customer_id=bob`, own)).status, 403);
  for (const path of ['operators', 'top']) assert.equal((await ask(`/v1/reports/${path}?${range}`, own)).status, 403);
  for (const path of ['balances', 'standing']) assert.equal((await ask(`/v1/reports/${path}`, own)).status, 403);
  const report = JSON.parse((await ask(`/v1/reports/day?${range}`, own)).text) as {
    customer_id: string;
    rows: { accepted: number }[];
  };
  assert.equal(report.customer_id, 'ada');
  const sum = report.rows.reduce((all, row) => all + row.accepted, 0);
  const lines = (await ask(`/v1/export?format=jsonl&${range}`, own)).text.trim().split('\n');
  assert.equal(lines.length, sum);
  assert.ok(lines.every((line) => (JSON.parse(line) as { customer_id: string }).customer_id === 'ada'));
});

test('a bad question says what must hold', async () => {
  for (const [query, reason] of [
    ['from=2026-11-28', /^to must be a time with its offset such as/],
    ['from=2026-02-30&to=2026-03-05', /^from must be a time/],
    ['from=2026-11-28T00:00:00&to=2026-11-29', /^from must be a time with its offset/],
    ['from=2026-11-28&to=2026-11-28', /^to must be later than from/],
    ['from=2020-01-01&to=2026-11-28', /^from and to must be at most 10080 minutes apart/],
    ['from=2026-11-28&to=2026-11-29&tz=x', /^a parameter must be one of from, to, customer_id/],
    ['from=2026-11-28&from=2026-11-27&to=2026-11-29', /^from must be given once/],
  ] as const) {
    const { status, text } = await ask(`/v1/reports/minute?${query}`);
    assert.equal(status, 400, query);
    assert.match((JSON.parse(text) as { detail: string }).detail, reason);
  }
  const { status, text } = await ask(`/v1/export?format=xls&${range}`);
  assert.equal(status, 400);
  assert.match(text, /format must be one of csv, jsonl, parquet/);
  const offset = `from=${encodeURIComponent('2026-11-28T03:30:00+03:30')}&to=2026-11-29`;
  assert.match(
    (await ask(`/v1/reports/minute?${offset}`)).text,
    /"from":"2026-11-28T00:00:00Z","to":"2026-11-29T00:00:00Z"/,
  );
});

test('what is sent over the API shows up in the report of its minute', async () => {
  const before = Date.now();
  const sent = await fetch(`${api}/v1/sms/send`, {
    method: 'POST',
    body: JSON.stringify({ customer_id: 'bob', to: '+989121234567', text: 'hello' }),
  });
  assert.equal(sent.status, 200, await sent.clone().text());
  const { message_id: id } = (await sent.json()) as { message_id: string };
  const query = `from=${iso(before - MINUTE)}&to=${iso(before + 2 * MINUTE)}&customer_id=bob`;
  await expect.poll(async () => (await ask(`/v1/export?format=csv&${query}`)).text).toContain(id);
  await expect
    .poll(async () => (JSON.parse((await ask(`/v1/reports/minute?${query}`)).text) as { rows: unknown[] }).rows.length)
    .toBeGreaterThan(0);
});
