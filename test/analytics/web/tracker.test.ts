/**
 * Goal: a page with the tracker sends what its visitor does, each thing exactly once, and nothing else.
 * Method: real Chromium on a site of its own origin, the built service, rows of a real Postgres. A look at all rows at
 * the end finds what came late or twice.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { gzipSync } from 'node:zlib';
import type pg from 'pg';
import { type Browser, type BrowserContext, chromium, type Page, type Request } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { freePort } from '../../http/raw.ts';
import { ensureCommand } from '../../servers/apt.ts';
import { fastSettings, type PostgresServer, poolOf, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { type Running, startAnalytics } from '../running.ts';

/**
 * Headless Chrome names itself, and would be counted as a bot. Given to the whole browser: what a page sends while it
 * goes away does without the emulation of its tab.
 */
const PERSON = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const flags = [
  `--user-agent=${PERSON}`,
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--no-first-run',
];
/** A type of which the tests say how often it comes, rather than when. */
const TIMED = 'engagement';

declare const document: { title: string; readonly body: { innerHTML: string } };
declare const history: { pushState(...a: unknown[]): void; replaceState(...a: unknown[]): void };
declare const location: { hash: string };
declare const localStorage: Record<string, string>;
declare const window: { ringmain(name: string, props?: object): void };

const file = fileScope();
let postgres: PostgresServer;
let running: Running;
let pool: pg.Pool;
let browser: Browser;
let origin = '';

interface Served {
  readonly html: string;
  readonly headers?: Record<string, string>;
}
const pages = new Map<string, Served>();

beforeAll(async () => {
  postgres = await startPostgres(file, { port: 21_710, settings: fastSettings, own: true });
  running = await startAnalytics(file, {
    port: 21_711,
    env: { DATABASE_URL: postgres.dsn, EVENTS_PATH: '/e/in', TRACKER_PATH: '/t.js', PG_FLUSH_MS: '50ms' },
  });
  pool = poolOf(postgres.dsn);
  file.onTestFinished(() => pool.end());
  await ensureCommand('chromium', 'chromium');
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags });
  file.onTestFinished(() => browser.close());
  const port = await freePort(21_713);
  const server = createServer(({ url = '' }, response) => {
    const page = pages.get(new URL(url, 'http://x').pathname);
    response.writeHead(page === undefined ? 404 : 200, { 'content-type': 'text/html', ...page?.headers });
    response.end(page?.html ?? '');
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  file.onTestFinished(() => void server.close());
  origin = `http://127.0.0.1:${port}`;
});

const snippet = (site: string, more = '') =>
  `<script defer data-site="${site}" ${more} src="${running.url}/t.js"></script>`;

/** Puts pages on the site that have the snippet, and opens a person's browser. */
async function visit(
  site: string,
  paths: readonly string[],
  { more = '', body = '', headers = {} as Record<string, string>, head = '' } = {},
): Promise<{ page: Page; context: BrowserContext }> {
  for (const path of paths) {
    const html = `<title>Title of ${path}</title>${head}${snippet(site, more)}<body>${body}`;
    pages.set(path, { html, headers });
  }
  const context = await browser.newContext();
  file.onTestFinished(() => context.close());
  return { page: await context.newPage(), context };
}

/** jsonb has an order of its own. */
const spelled = (type: string, path: string, props?: object | null) =>
  JSON.stringify([type, path, Object.entries(props ?? {}).sort()]);
const expected = new Map<string, number>();

/** Waits until the site has exactly these events, in any order, without those of engagement. */
async function expectEvents(site: string, events: readonly (readonly [type: string, path: string, props?: object])[]) {
  const rows = async () => {
    const found = await pool.query<{ event_type: string; path: string; props: object | null }>(
      'SELECT event_type, path, props FROM events WHERE site_id = $1 AND event_type <> $2 AND bot IS NULL',
      [site, TIMED],
    );
    return found.rows.map(({ event_type, path, props }) => spelled(event_type, path, props)).sort();
  };
  const wanted = events.map(([type, path, props]) => spelled(type, path, props)).sort();
  await expect.poll(rows, { interval: 50 }).toEqual(wanted);
  expected.set(site, wanted.length);
}
const one = async (site: string, type: string) => {
  const { rows } = await pool.query('SELECT * FROM events WHERE site_id = $1 AND event_type = $2', [site, type]);
  expect(rows.length).toBe(1);
  return rows[0]!;
};
const engagedMs = async (site: string) => {
  const sql =
    "SELECT path, (props ->> 'ms')::int AS ms FROM events WHERE site_id = $1 AND event_type = $2 ORDER BY timestamp";
  return (await pool.query<{ path: string; ms: number }>(sql, [site, TIMED])).rows;
};

test('the script is small, may be loaded and kept by any page, and knows where events go', async () => {
  const built = readFileSync('dist/analytics/tracker/ringmain.js');
  expect(gzipSync(built, { level: 9 }).length).toBeLessThan(1500);
  const got = await fetch(`${running.url}/t.js`, { headers: { 'accept-encoding': 'gzip' } });
  expect(got.status).toBe(200);
  expect(Object.fromEntries(got.headers)).toMatchObject({
    'content-type': 'text/javascript; charset=utf-8',
    'content-encoding': 'gzip',
    'cache-control': 'public, max-age=3600, stale-while-revalidate=86400',
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    'x-content-type-options': 'nosniff',
  });
  const text = await got.text();
  expect(text).toBe(built.toString().replace('"/events"', '"/e/in"'));
  const again = await fetch(`${running.url}/t.js`, {
    headers: { 'accept-encoding': 'gzip', 'if-none-match': got.headers.get('etag')! },
  });
  expect(again.status).toBe(304);
  expect((await fetch(`${running.url}/js/ringmain.js`)).status).toBe(404);
});

test('whole pages, with referrer, campaign and title, and what was called before the script came', async () => {
  const head = `<script>window.ringmain=window.ringmain||function(){(ringmain.q=ringmain.q||[]).push(arguments)};ringmain('signup',{plan:'pro',n:2})</script>`;
  const { page } = await visit('whole', ['/w/a', '/w/b'], { head });
  await page.goto(`${origin}/w/a?utm_source=mail&q=1#secret`, { referer: 'https://www.google.com/' });
  await page.goto(`${origin}/w/b`);
  const signup = { plan: 'pro', n: 2 };
  await expectEvents('whole', [
    ['page_view', '/w/a'],
    ['signup', '/w/a', signup],
    ['page_view', '/w/b'],
    ['signup', '/w/b', signup],
  ]);
  const { rows } = await pool.query(
    "SELECT url, referrer, title, utm_source, source, user_id FROM events WHERE site_id = 'whole' AND path = '/w/a' AND event_type = 'page_view'",
  );
  expect(rows).toMatchObject([
    {
      url: `${origin}/w/a?utm_source=mail&q=1`,
      referrer: 'https://www.google.com/',
      title: 'Title of /w/a',
      utm_source: 'mail',
      source: 'mail',
      user_id: null,
    },
  ]);
});

test('history: pushState, replaceState, back and forward count a path once; the back/forward cache counts again', async () => {
  const { page } = await visit('history', ['/h/one', '/h/away']);
  await page.goto(`${origin}/h/one`, { referer: 'https://www.google.com/' });
  await page.evaluate(() => {
    history.pushState({}, '', '/h/two');
    history.replaceState({}, '', '/h/two?sort=up');
    history.replaceState({ scroll: 1 }, '');
    history.pushState({}, '', '/h/three');
    location.hash = '#part';
  });
  await page.goBack();
  await page.goBack();
  const views: [string, string][] = [
    ['page_view', '/h/one'],
    ['page_view', '/h/two'],
    ['page_view', '/h/three'],
    ['page_view', '/h/two'],
  ];
  await expectEvents('history', views);
  // The cache of Chromium is off under its debugger: the page is told what a browser tells it.
  await page.evaluate(
    "window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })); window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: false }))",
  );
  await expectEvents('history', [...views, ['page_view', '/h/two']]);
  // Where a visit came from is told once.
  const told = await pool.query("SELECT path FROM events WHERE site_id = 'history' AND referrer IS NOT NULL");
  expect(told.rows).toEqual([{ path: '/h/one' }]);
});

test('hash mode counts fragments, and sends them', async () => {
  const { page } = await visit('hash', ['/app'], { more: 'data-hash' });
  await page.goto(`${origin}/app`);
  await page.evaluate(() => {
    location.hash = '#/users';
  });
  await page.evaluate(() => history.pushState({}, '', '#/users/7'));
  await expectEvents('hash', [
    ['page_view', '/app'],
    ['page_view', '/app#/users'],
    ['page_view', '/app#/users/7'],
  ]);
});

test('outbound links and downloads, by each button that opens them', async () => {
  const body = `<a id=out href="https://elsewhere.invalid/a?b=1"><b>out</b></a><a id=file href="/files/report.PDF?token=1">file</a>
    <a id=in href="#in">in</a><a id=mail href="mailto:a@b.c">mail</a>`;
  const { page } = await visit('links', ['/l'], { body });
  await page.route(/elsewhere|files/, (route) => route.fulfill({ status: 204 }));
  await page.goto(`${origin}/l`);
  await page.click('#in');
  await page.click('#out b');
  await page.click('#out', { button: 'middle' });
  await page.click('#out', { button: 'right' });
  await page.click('#file');
  const out: [string, string, object] = ['outbound_link', '/l', { url: 'https://elsewhere.invalid/a?b=1' }];
  await expectEvents('links', [
    ['page_view', '/l'],
    out,
    out,
    ['file_download', '/l', { url: `${origin}/files/report.PDF` }],
  ]);
});

test('options: no automatic views, paths left out, no outbound links, other downloads', async () => {
  const body = `<a id=out href="https://elsewhere.invalid/">out</a><a id=pdf href="/x.pdf">pdf</a><a id=dat href="/x.dat">dat</a>`;
  const more = 'data-auto="false" data-exclude="/o/admin/**, /o/*/private" data-outbound="false" data-downloads="dat"';
  const { page } = await visit('options', ['/o/page', '/o/admin/a/b', '/o/me/private', '/o/me/private.html'], {
    body,
    more,
  });
  await page.route(/elsewhere|x\./, (route) => route.fulfill({ status: 204 }));
  for (const path of ['/o/page', '/o/admin/a/b', '/o/me/private', '/o/me/private.html']) {
    await page.goto(origin + path);
    await page.evaluate(() => history.pushState({}, ''));
    for (const link of ['#out', '#pdf', '#dat']) await page.click(link);
    await page.evaluate(() => window.ringmain('page_view', { mine: true }));
  }
  const dat = { url: `${origin}/x.dat` };
  await expectEvents('options', [
    ['file_download', '/o/page', dat],
    ['page_view', '/o/page', { mine: true }],
    ['file_download', '/o/me/private.html', dat],
    ['page_view', '/o/me/private.html', { mine: true }],
  ]);
});

test('engaged time is that of the page that was seen, without the time it was hidden', async () => {
  const { page } = await visit('engaged', ['/e/one', '/e/end']);
  await page.clock.install();
  await page.goto(`${origin}/e/one`);
  await page.clock.runFor(3000);
  const show = (state: string) =>
    page.evaluate(
      `Object.defineProperty(document, 'hidden', { configurable: true, value: ${state === 'hidden'} });
       document.dispatchEvent(new Event('visibilitychange'))`,
    );
  await show('hidden');
  await page.clock.runFor(60_000);
  await show('visible');
  await page.clock.runFor(2000);
  // Another window has the focus meanwhile, and this one can be seen.
  const focus = (has: boolean) =>
    page.evaluate(`document.hasFocus = () => ${has}; window.dispatchEvent(new Event('${has ? 'focus' : 'blur'}'))`);
  await focus(false);
  await page.clock.runFor(60_000);
  await focus(true);
  // A look that is too short is none.
  await page.evaluate(() => history.pushState({}, '', '/e/blink'));
  await page.clock.runFor(50);
  await page.evaluate(() => history.pushState({}, '', '/e/two'));
  await page.clock.runFor(1000);
  await page.goto(`${origin}/e/end`);
  await expectEvents('engaged', [
    ['page_view', '/e/one'],
    ['page_view', '/e/blink'],
    ['page_view', '/e/two'],
    ['page_view', '/e/end'],
  ]);
  await expect.poll(async () => (await engagedMs('engaged')).length).toBe(3);
  const looks = await engagedMs('engaged');
  expect(looks.map(({ path }) => path).sort()).toEqual(['/e/one', '/e/one', '/e/two']);
  const near = (path: string) =>
    looks
      .filter((look) => look.path === path)
      .map(({ ms }) => Math.round(ms / 1000))
      .sort();
  expect(near('/e/one')).toEqual([2, 3]);
  expect(near('/e/two')).toEqual([1]);
});

test('what could not be sent comes with the next page, at its time, and once', async () => {
  const { page, context } = await visit('offline', ['/f/one', '/f/next']);
  await page.goto(`${origin}/f/one`);
  await expectEvents('offline', [['page_view', '/f/one']]);
  await page.route(`${running.url}/**`, (route) => route.abort());
  await page.evaluate(() => {
    window.ringmain('lost', { n: 1 });
    window.ringmain('lost', { n: 2 });
  });
  const stored = () => page.evaluate(() => Object.keys(localStorage).length);
  await expect.poll(stored).toBe(2);
  // They are of when they happened: here two days before the next page.
  const DAYS_MS = 2 * 86_400_000;
  const times = await page.evaluate((ms) => {
    return Object.keys(localStorage).map((key) => {
      const event = JSON.parse(localStorage[key]!) as { timestamp: string };
      const timestamp = new Date(Date.parse(event.timestamp) - ms).toISOString();
      localStorage[key] = JSON.stringify({ ...event, timestamp });
      return timestamp;
    });
  }, DAYS_MS);
  for (const time of times) expect(Math.abs(Date.now() - DAYS_MS - Date.parse(time))).toBeLessThan(600_000);
  await page.unroute(`${running.url}/**`);
  // Another tab sends them as well: their ids count once.
  const other = await context.newPage();
  await Promise.all([page.goto(`${origin}/f/next`), other.goto(`${origin}/f/next`)]);
  const next = ['page_view', '/f/next'] as const;
  await expectEvents('offline', [
    ['page_view', '/f/one'],
    ['lost', '/f/one', { n: 1 }],
    ['lost', '/f/one', { n: 2 }],
    next,
    next,
  ]);
  await expect.poll(stored).toBe(0);
  const lost = await pool.query<{ at: Date }>(
    "SELECT timestamp AS at FROM events WHERE site_id = 'offline' AND event_type = 'lost'",
  );
  expect(lost.rows.map(({ at }) => at.toISOString()).sort()).toEqual(times.sort());

  // 503, and 408 of a body that came too slowly: kept; 400: thrown away. What is older than the server's memory of ids
  // is not sent.
  for (const [i, status] of [503, 408].entries()) {
    await page.route(`${running.url}/**`, (route) =>
      route.fulfill({ status, headers: { 'access-control-allow-origin': '*' } }),
    );
    await page.evaluate((name) => window.ringmain(name), `late ${status}`);
    await expect.poll(stored).toBe(i + 1);
    await page.unroute(`${running.url}/**`);
  }
  await page.evaluate(() => {
    const [key] = Object.keys(localStorage);
    localStorage[key!.replace(/\d{5,}/, '1000000000000')] = localStorage[key!]!.replace('"late ', '"too_old ');
  });
  await page.evaluate("window.dispatchEvent(new Event('online'))");
  await expectEvents('offline', [
    ['page_view', '/f/one'],
    ['lost', '/f/one', { n: 1 }],
    ['lost', '/f/one', { n: 2 }],
    next,
    next,
    ['late 408', '/f/next'],
    ['late 503', '/f/next'],
  ]);
  await expect.poll(stored).toBe(0);

  // 413: together they are too large, so each goes alone; one that is too large by itself is thrown away.
  const cors = { 'access-control-allow-origin': '*' };
  await page.route(`${running.url}/**`, (route) => route.fulfill({ status: 503, headers: cors }));
  await page.evaluate(() => {
    for (const name of ['small 1', 'too large', 'small 2']) window.ringmain(name);
  });
  await expect.poll(stored).toBe(3);
  await page.unroute(`${running.url}/**`);
  const asked: number[] = [];
  await page.route(`${running.url}/**`, (route) => {
    const events = JSON.parse(route.request().postData()!) as readonly { readonly event_type: string }[];
    asked.push(events.length);
    if (events.length > 1 || events[0]!.event_type === 'too large')
      return route.fulfill({ status: 413, headers: cors });
    return route.continue();
  });
  await page.evaluate("window.dispatchEvent(new Event('online'))");
  await expect.poll(stored).toBe(0);
  expect(asked).toEqual([3, 1, 1, 1]);
  await page.unroute(`${running.url}/**`);
  await expectEvents('offline', [
    ['page_view', '/f/one'],
    ['lost', '/f/one', { n: 1 }],
    ['lost', '/f/one', { n: 2 }],
    next,
    next,
    ['late 408', '/f/next'],
    ['late 503', '/f/next'],
    ['small 1', '/f/next'],
    ['small 2', '/f/next'],
  ]);
  // The server's salt of a day makes another visitor of those of two days ago.
  const visitors = await pool.query(
    "SELECT count(DISTINCT visitor)::int AS n FROM events WHERE site_id = 'offline' AND event_type <> 'lost'",
  );
  expect(visitors.rows).toEqual([{ n: 1 }]);
});

test('fifty events are kept and no more, and all of them fit into one request', async () => {
  const { page } = await visit('kept', ['/k']);
  await page.goto(`${origin}/k`);
  await expectEvents('kept', [['page_view', '/k']]);
  await page.route(`${running.url}/**`, (route) => route.abort());
  // A browser refuses bodies above 64 KiB that shall outlive their page.
  const text = 'x'.repeat(500);
  await page.evaluate((long) => {
    for (let n = 0; n < 60; n += 1) window.ringmain('long', { n, a: long, b: long, c: long, d: long });
  }, text);
  const stored = () => page.evaluate(() => Object.keys(localStorage).length);
  await expect.poll(stored).toBe(50);
  await page.unroute(`${running.url}/**`);
  await page.evaluate("window.dispatchEvent(new Event('online'))");
  await expect.poll(stored).toBe(0);
  const counted = async () =>
    (await pool.query<{ n: number }>("SELECT count(*)::int AS n FROM events WHERE site_id = 'kept'")).rows[0]!.n;
  await expect.poll(counted).toBe(51);
  expected.set('kept', 51);
});

test('who does not want to be counted is not; a site may leave that to the server', async () => {
  const ask = (property: string, value: string) =>
    `Object.defineProperty(Navigator.prototype, '${property}', { get: () => ${value} })`;
  for (const [property, value] of [
    ['doNotTrack', "'1'"],
    ['globalPrivacyControl', 'true'],
  ] as const) {
    const { page } = await visit('private', ['/p']);
    const sent: string[] = [];
    page.on('request', (request) => void sent.push(request.url()));
    await page.addInitScript(ask(property, value));
    await page.goto(`${origin}/p`);
    await page.evaluate(() => window.ringmain('signup'));
    await page.goto(`${origin}/p`);
    expect(sent.filter((url) => url.includes('/e/in'))).toEqual([]);
  }
  const { page } = await visit('private', ['/p/server'], { more: 'data-dnt="false"' });
  await page.addInitScript(ask('doNotTrack', "'1'"));
  await page.goto(`${origin}/p/server`);
  await expectEvents('private', [['page_view', '/p/server']]);
});

test('a prerendered page counts when it is shown', async () => {
  const { page } = await visit('prerender', ['/pre']);
  await page.addInitScript(
    "Object.defineProperty(Document.prototype, 'prerendering', { configurable: true, get: () => !globalThis.shown })",
  );
  await page.goto(`${origin}/pre`);
  await page.evaluate(() => window.ringmain('early'));
  await expectEvents('prerender', []);
  await page.evaluate("globalThis.shown = true; document.dispatchEvent(new Event('prerenderingchange'))");
  await expectEvents('prerender', [
    ['page_view', '/pre'],
    ['early', '/pre'],
  ]);
});

test('two tabs, two copies of the script, a strict policy of the page, and no cookie', async () => {
  const policy = `default-src 'none'; script-src ${running.url}; connect-src ${running.url}`;
  const headers = { 'content-security-policy': policy, 'cross-origin-embedder-policy': 'require-corp' };
  const { page, context } = await visit('strict', ['/s/a', '/s/b'], { headers, body: snippet('strict') });
  // Whoever is logged in to the service as well: an event says nothing of that.
  await context.addCookies([{ name: 'ringmain_session', value: 'secret', url: running.url, sameSite: 'Lax' }]);
  // Asked for their headers below: what is sent when the page goes away answers nobody any more.
  const requests: Request[] = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/e/in')) requests.push(request);
  });
  // What is sent while its page goes away is sent nevertheless.
  await page.addInitScript(
    'const send = fetch; globalThis.asked = []; fetch = (url, how) => (asked.push([how.keepalive, how.credentials]), send(url, how))',
  );
  const faults: string[] = [];
  page.on('console', (message) => void (message.type() === 'error' && faults.push(message.text())));
  const other = await context.newPage();
  await Promise.all([page.goto(`${origin}/s/a`), other.goto(`${origin}/s/b`)]);
  await expectEvents('strict', [
    ['page_view', '/s/a'],
    ['page_view', '/s/b'],
  ]);
  expect(faults.filter((text) => !text.includes('favicon') && !text.includes('404'))).toEqual([]);
  expect(await page.evaluate('asked')).toEqual([[true, 'omit']]);
  const [head, ...others] = await Promise.all(requests.map((request) => request.allHeaders()));
  expect(others).toEqual([]);
  expect(Object.keys(head!)).not.toContain('cookie');
  expect((await context.cookies()).map(({ name }) => name)).toEqual(['ringmain_session']);
  expect(await page.evaluate(() => Object.keys(localStorage))).toEqual([]);
});

test('without scripts the pixel counts the page', async () => {
  const html = `<title>x</title><noscript><img src="${running.url}/px.gif?site_id=noscript" referrerpolicy="no-referrer-when-downgrade" alt=""></noscript>`;
  pages.set('/n/page', { html });
  const context = await browser.newContext({ javaScriptEnabled: false });
  file.onTestFinished(() => context.close());
  await (await context.newPage()).goto(`${origin}/n/page?utm_medium=print`);
  await expectEvents('noscript', [['page_view', '/n/page']]);
  const row = await one('noscript', 'page_view');
  expect([row.url, row.utm_medium]).toEqual([`${origin}/n/page?utm_medium=print`, 'print']);
});

test('a bundle takes the module of the same source', async () => {
  const module = readFileSync('dist/analytics/tracker/module.js', 'utf8');
  pages.set('/m.js', { html: module, headers: { 'content-type': 'text/javascript' } });
  const html = `<script type=module>import { start } from '/m.js';
    const track = start({ site: 'module', api: '${running.url}/events', exclude: ['/other'] }); track('ready', { ok: true })</script>`;
  pages.set('/m', { html });
  const context = await browser.newContext();
  file.onTestFinished(() => context.close());
  await (await context.newPage()).goto(`${origin}/m`);
  await expectEvents('module', [
    ['page_view', '/m'],
    ['ready', '/m', { ok: true }],
  ]);
});

test('nothing came late or twice', async () => {
  const { rows } = await pool.query<{ site_id: string; n: number }>(
    'SELECT site_id, count(*)::int AS n FROM events WHERE event_type <> $1 GROUP BY site_id',
    [TIMED],
  );
  const wanted = [...expected].filter(([, n]) => n > 0);
  expect(Object.fromEntries(rows.map(({ site_id, n }) => [site_id, n]))).toEqual(Object.fromEntries(wanted));
});
