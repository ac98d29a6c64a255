/**
 * Goal: an administrator does everything on the page at /admin that is needed from day to day, with a mouse, a keyboard
 * or a phone; what the page says is what the gateway does; the key of administrators stays where it belongs; nothing in
 * data becomes code.
 * Method: the built gateway with Postgres, real Chromium. Screenshots of each state go to test/screenshots/ for somebody
 * to look at.
 */
import assert from 'node:assert/strict';
import { globSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { type Browser, chromium, type Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { startDatabase } from '../gateway/database.ts';
import { ADMIN_KEY, type RunningGateway, startGateway } from '../gateway/running.ts';
import { ensureCommand } from '../servers/apt.ts';
import { fileScope } from '../servers/scope.ts';

const PICTURES = 'test/screenshots';
/** A name that would like to be code. */
const EVIL = '<img src=x onerror="window.owned=1">';
const GZIP_BYTES_MAX = 40 * 1024;

const file = fileScope();
let browser: Browser;
let gateway: RunningGateway;
let link: Awaited<ReturnType<typeof import('../gateway/database.ts').openLink>>;

interface Finding {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

async function api<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? (undefined as T) : ((await answer.json()) as T);
}

beforeAll(async () => {
  await ensureCommand('chromium', 'chromium');
  mkdirSync(PICTURES, { recursive: true });
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'];
  const { openLink } = await import('../gateway/database.ts');
  const [postgres, launched] = await Promise.all([
    startDatabase(file, 24_610),
    chromium.launch({ executablePath: '/usr/bin/chromium', args }),
  ]);
  browser = launched;
  file.onTestFinished(() => browser.close());
  // Healthy, without pictures; nobody listens at the other one.
  const healthy = createServer((_req, res) => res.end('ok')).listen(24_690, '127.0.0.1');
  file.onTestFinished(() => healthy.close());
  link = await openLink(postgres.dsn);
  file.onTestFinished(() => link.close());
  await link.query(
    `INSERT INTO backends (name, url, weight) VALUES ('imgproxy-1', 'http://127.0.0.1:24690', 3), ('imgproxy-2', 'http://127.0.0.1:24691', 1)`,
  );
  const env = { IP_REQUESTS_PER_MINUTE: '10000', PG_FLUSH_MS: '20ms' };
  gateway = await startGateway(file, { port: 24_611, dsn: postgres.dsn, env });
});

/** What the output `logs` counts, as if it had. */
const useUp = (id: number, requests: number, bytes: number) =>
  link.query(
    `INSERT INTO usage_months (user_id, month, requests, bytes)
      VALUES ($1, date_trunc('month', now() AT TIME ZONE 'UTC')::date, $2, $3)`,
    [id, requests, bytes],
  );

async function open(hash = '', options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    reducedMotion: 'reduce',
    locale: 'en-US',
    baseURL: gateway.url,
    ...options,
  });
  file.onTestFinished(() => context.close());
  const page = await context.newPage();
  page.on('dialog', (dialog) => assert.fail(`no script of data may run: ${dialog.message()}`));
  page.on('console', (said) => {
    if (/Content Security Policy/.test(said.text())) assert.fail(said.text());
  });
  await page.goto(`/admin${hash}`);
  return page;
}

async function login(page: Page): Promise<void> {
  await page.getByLabel('Key of administrators').fill(ADMIN_KEY);
  await page.getByRole('button', { name: 'Open' }).click();
  await page.locator('.header').waitFor();
}

async function opened(hash = '', options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
  const page = await open(hash, options);
  await login(page);
  return page;
}

const settled = (page: Page) => expect.poll(() => page.locator('.bone, .stale, [aria-busy]').count()).toBe(0);

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
async function accessible(page: Page, state: string): Promise<void> {
  await page.evaluate(axe);
  const { violations } = (await page.evaluate('axe.run()')) as { violations: readonly Finding[] };
  assert.deepEqual(
    violations.map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]),
    [],
    state,
  );
}

test('the bundle is small, and the page has no script of its own', async () => {
  const packed = globSync('dist/gateway/web/admin/*.gz').map((name) => readFileSync(name).length);
  assert.equal(packed.length, 2);
  assert.ok(packed.reduce((sum, bytes) => sum + bytes) < GZIP_BYTES_MAX, `gzip: ${packed}`);
  const answer = await fetch(`${gateway.url}/admin`);
  assert.match(answer.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  assert.doesNotMatch(await answer.text(), /<script>|style=|https?:/);
});

test('login: a wrong key is refused, the right one stays in the tab alone', async () => {
  const page = await open();
  await accessible(page, 'login');
  await page.screenshot({ path: `${PICTURES}/gateway-login.png` });
  await page.getByLabel('Key of administrators').fill('not-the-key');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.getByRole('alert').textContent()).toMatch(/^This key is refused/);
  await login(page);
  await page.reload();
  await page.locator('.header').waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  assert.ok(!page.url().includes(ADMIN_KEY));
  assert.equal(await page.evaluate('JSON.stringify(localStorage)'), '{}');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Key of administrators').waitFor();
  assert.equal(await page.evaluate('sessionStorage.length'), 0);
});

test('a user and its key, from the first one to the last, by the page alone', async () => {
  const page = await opened();
  await expect.poll(() => page.locator('.empty').first().textContent()).toContain('No users yet');
  await page.screenshot({ path: `${PICTURES}/gateway-empty.png` });
  await page.getByRole('button', { name: 'Add a user' }).click();
  await page.getByLabel('Name').fill(EVIL);
  await page.getByLabel('Email').fill('ada@example.com');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.locator('h1').textContent()).toContain(EVIL);
  assert.equal(await page.evaluate('window.owned'), undefined);

  await page.getByRole('button', { name: 'Make a key' }).first().click();
  await page.getByLabel('Name').fill('web shop');
  await page.getByText('Limits and networks of this key').click();
  await page.getByLabel('Requests per minute').last().fill('5000');
  await page.getByLabel('Allowed networks').last().fill('127.0.0.0/8');
  await page.screenshot({ path: `${PICTURES}/gateway-new-key.png` });
  await page.getByRole('button', { name: 'Make the key' }).click();
  const secret = page.locator('.secret').first();
  await secret.waitFor();
  await accessible(page, 'a new key');
  await page.screenshot({ path: `${PICTURES}/gateway-made-key.png` });
  const key = (await secret.textContent())!;
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy' }).first().click();
  await expect.poll(() => page.evaluate('navigator.clipboard.readText()')).toBe(key);
  const status = async (text: string) =>
    (await fetch(`${gateway.url}/api/v1/none`, { method: 'POST', headers: { 'x-api-key': text } })).status;
  await expect.poll(() => status(key)).toBe(404);
  const { items } = await api<{ items: Record<string, unknown>[] }>('GET', '/api/v1/users/1/keys');
  expect(items[0]).toMatchObject({ networks: ['127.0.0.0/8'], limits: { requests_per_minute: 5000 } });
  await page.getByRole('button', { name: 'I have copied it' }).click();
  await expect.poll(async () => (await page.content()).includes(key), { message: 'a key is shown once' }).toBe(false);

  await page.getByRole('button', { name: 'Change' }).click();
  const form = page.getByRole('dialog');
  await expect.poll(() => form.getByLabel('Name').inputValue()).toBe('web shop');
  expect(await form.getByLabel('Requests per minute').inputValue()).toBe('5000');
  await form.getByLabel('Name').fill('web shop, old');
  await form.getByRole('checkbox', { name: 'upload' }).uncheck();
  await form.getByLabel('Allowed networks').fill('127.0.0.0/8\n10.0.0.0/8');
  await form.getByLabel('Expires').fill('2999-12-31');
  await page.screenshot({ path: `${PICTURES}/gateway-change-key.png` });
  await accessible(page, 'a key that is changed');
  await form.getByRole('button', { name: 'Save the key' }).click();
  await expect.poll(() => page.locator('.key-name b').textContent()).toBe('web shop, old');
  const changed = { name: 'web shop, old', scopes: ['read'], expires_at: '2999-12-31T23:59:59.000Z' };
  const stays = { limits: { requests_per_minute: 5000 }, state: 'valid' };
  const keys = await api<{ items: Record<string, unknown>[] }>('GET', '/api/v1/users/1/keys');
  expect(keys.items[0]).toMatchObject({ ...changed, ...stays, networks: ['10.0.0.0/8', '127.0.0.0/8'] });
  await expect.poll(() => status(key)).toBe(404);

  await page.getByRole('button', { name: 'Rotate' }).click();
  await page.getByLabel('Minutes that both are good').fill('0');
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
  await secret.waitFor();
  const second = (await secret.textContent())!;
  await expect.poll(() => status(second)).toBe(404);
  await expect.poll(() => status(key)).toBe(401);
  await page.keyboard.press('Escape');
  await expect.poll(() => page.getByRole('dialog').count()).toBe(0);

  await page.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await expect.poll(() => status(second)).toBe(401);
  await expect.poll(() => page.locator('.key-state .badge').textContent()).toBe('revoked');
});

test('limits, quota and networks are saved, and a refusal says why', async () => {
  const { id } = await api<{ id: number }>('POST', '/api/v1/users', { username: 'bob', email: 'bob@example.com' });
  const page = await opened(`#user/${id}`);
  const user = () => api<Record<string, unknown>>('GET', `/api/v1/users/${id}`);
  await page.getByLabel('Requests per minute').fill('600');
  await page.getByLabel('At once').fill('50');
  await page.getByRole('button', { name: 'Save limits' }).click();
  await expect
    .poll(async () => (await user())['limits'])
    .toEqual({ requests_per_minute: 600, requests_per_hour: null, burst: 50 });
  await page.getByLabel('Requests per month').fill('100000');
  await page.getByRole('button', { name: 'Save quota' }).click();
  await expect
    .poll(async () => (await user())['quota'])
    .toEqual({ monthly_requests: 100_000, monthly_bytes: null, storage_bytes: null });
  await page.getByLabel('Allowed networks').fill('10.0.0.0/99');
  await page.getByRole('button', { name: 'Save networks' }).click();
  await expect.poll(() => page.locator('.form .problem').last().textContent()).toContain('10.0.0.0/99');
  await page.getByLabel('Allowed networks').fill('10.0.0.0/8\n2001:db8::/32');
  await page.getByRole('button', { name: 'Save networks' }).click();
  await expect.poll(async () => (await user())['networks']).toEqual(['10.0.0.0/8', '2001:db8::/32']);

  await page.getByRole('button', { name: 'Deactivate' }).click();
  await page.screenshot({ path: `${PICTURES}/gateway-confirm.png` });
  await accessible(page, 'a question before something is done');
  await page.getByRole('dialog').getByRole('button', { name: 'Deactivate' }).click();
  await expect.poll(async () => (await user())['is_active']).toBe(false);
  await page.getByRole('button', { name: 'Activate', exact: true }).click();
  await expect.poll(async () => (await user())['is_active']).toBe(true);
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect.poll(() => page.url()).toMatch(/admin\/#?$/);
  const gone = await fetch(`${gateway.url}/api/v1/users/${id}`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
  assert.equal(gone.status, 404);
});

test('refusals show up with their reason; a server that is away is said, and asked again', async () => {
  const refused = await fetch(`${gateway.url}/api/v1/none`, { method: 'POST', headers: { 'x-api-key': 'nobody' } });
  assert.equal(refused.status, 401);
  const page = await opened();
  await expect.poll(() => page.locator('.refusal').first().textContent()).toContain('/api/v1/none');
  await page.context().setOffline(true);
  await page.getByLabel('Find a user').fill('ada');
  await expect.poll(() => page.getByRole('alert').first().textContent()).toContain('No connection');
  await page.screenshot({ path: `${PICTURES}/gateway-offline.png` });
  await page.context().setOffline(false);
  await page.getByRole('button', { name: 'Try again' }).first().click();
  await page.locator('.user-link').first().waitFor();
});

test('backends: their live state, another weight, draining', async () => {
  const page = await opened();
  const backend = (name: string) => page.locator('.backend', { hasText: name });
  const rows = () => api<{ items: { name: string; weight: number; draining: boolean }[] }>('GET', '/api/v1/backends');
  const row = async (name: string) => (await rows()).items.find((one) => one.name === name)!;
  await expect.poll(() => backend('imgproxy-1').locator('.badge').textContent()).toBe('up');
  await expect.poll(() => backend('imgproxy-2').locator('.badge').textContent()).toBe('down');
  await page.getByLabel('Weight of imgproxy-1').fill('7');
  await page.keyboard.press('Enter');
  await expect.poll(async () => (await row('imgproxy-1')).weight).toBe(7);
  await backend('imgproxy-2').getByRole('button', { name: 'Drain' }).click();
  await expect.poll(() => backend('imgproxy-2').locator('.badge').textContent()).toBe('draining');
  assert.equal((await row('imgproxy-2')).draining, true);
  await expect.poll(() => backend('imgproxy-1').locator('.share').textContent()).toBe('100%');
  await backend('imgproxy-2').getByRole('button', { name: 'Resume' }).click();
  await expect.poll(async () => (await row('imgproxy-2')).draining).toBe(false);
});

test('usage stands against the quota, in the list and with the user', async () => {
  const { id } = await api<{ id: number }>('POST', '/api/v1/users', { username: 'zoe', email: 'zoe@example.com' });
  await api('PUT', `/api/v1/users/${id}/quota`, { monthly_requests: 200_000, monthly_bytes: null });
  await useUp(id, 170_000, 2_500_000_000);
  const page = await opened();
  const meters = page.locator('tr', { hasText: 'zoe' }).locator('.meter');
  await expect.poll(() => meters.first().textContent()).toBe('Requests170K of 200K85%');
  await expect.poll(() => meters.last().textContent()).toBe('Bytes2.5 GB, no limit');
  await page.getByText('zoe', { exact: true }).click();
  const meter = page.getByRole('meter', { name: 'Requests' });
  await expect.poll(() => meter.getAttribute('aria-valuetext')).toBe('170K of 200K');
  await page.getByLabel('Requests per month').fill('340000');
  await page.getByRole('button', { name: 'Save quota' }).click();
  await expect.poll(() => meter.getAttribute('aria-valuenow')).toBe('50');
});

test('every view is clean by axe-core in both themes, from a phone to a wide screen', async () => {
  const names = ['ada', 'grace', 'linus', 'margaret', 'tim', 'barbara', 'edsger'];
  for (const username of names) {
    const { id } = await api<{ id: number }>('POST', '/api/v1/users', {
      username,
      email: `${username}@studio.example`,
    });
    await api('POST', `/api/v1/users/${id}/keys`, { name: 'web shop' });
    await api('PUT', `/api/v1/users/${id}/quota`, { monthly_requests: 100_000 * id, monthly_bytes: 5_000_000_000 });
    await useUp(id, 80_000 * id + 12_345, 700_000_000 * id);
  }
  const users = await api<{ items: { id: number; username: string }[] }>('GET', '/api/v1/users?search=grace');
  const { id } = users.items[0]!;
  await api('POST', `/api/v1/users/${id}/keys`, { name: 'app', scopes: ['read'], expires_at: '2999-01-01T00:00:00Z' });
  for (const colorScheme of ['light', 'dark'] as const)
    for (const width of [1440, 390]) {
      const page = await opened('', { colorScheme, viewport: { width, height: 900 } });
      for (const [name, hash] of [
        ['overview', '#'],
        ['user', `#user/${id}`],
      ] as const) {
        await page.evaluate(`location.hash = '${hash}'`);
        await page
          .locator(name === 'user' ? '.key-name' : '.user-link')
          .first()
          .waitFor();
        await settled(page);
        await page.screenshot({ path: `${PICTURES}/gateway-${name}-${width}-${colorScheme}.png`, fullPage: true });
        await accessible(page, `${name} ${width} ${colorScheme}`);
        const wide = (await page.evaluate('document.documentElement.scrollWidth')) as number;
        assert.ok(wide <= width, `nothing is wider than the screen: ${wide} of ${width}`);
      }
      await page.context().close();
    }
});
