/**
 * Goal: a page in a real browser can send events in the three ways that pages do, across origins, and is known again on its second visit.
 * Method: real Chromium, a page served from one origin (localhost:a), the collector on another (localhost:b), the NDJSON file.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type Browser, chromium, type Page } from 'playwright-core';
import { test } from 'vitest';
import { Client } from '../collect/contract.ts';
import { freePort } from '../http/raw.ts';
import { ensureCommand } from '../servers/apt.ts';
import { startSmall } from './small-collector.ts';

// What the functions below find in the page; the project itself is compiled without a browser's types.
declare const document: { readonly body: { append(node: unknown): void } };
declare const location: { readonly href: string };
declare const Image: new () => { naturalWidth: number; onload: () => void; onerror: () => void; src: string };
declare const navigator: { sendBeacon(url: string, body: string): boolean };

const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

async function openBrowser(t: { onTestFinished(fn: () => unknown): void }): Promise<Browser> {
  await ensureCommand('chromium', 'chromium');
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: quiet });
  t.onTestFinished(() => browser.close());
  return browser;
}

/** A page at an origin of its own. */
async function servePage(t: { onTestFinished(fn: () => unknown): void }, from: number): Promise<string> {
  const port = await freePort(from);
  const server = createServer((_, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<title>page</title>'),
  );
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.onTestFinished(() => void server.close());
  return `http://localhost:${port}`;
}

/** Adds an <img> and says how wide it is when it has loaded; 0: it is broken. */
function loadImage(page: Page, source: string): Promise<number> {
  return page.evaluate(
    (src) =>
      new Promise<number>((resolve) => {
        const image = new Image();
        image.onload = () => resolve(image.naturalWidth);
        image.onerror = () => resolve(0);
        image.src = src;
        document.body.append(image);
      }),
    source,
  );
}

test('Chromium: <img>, sendBeacon and fetch with credentials across origins; the cookie is kept on the second visit', async (t) => {
  const browser = await openBrowser(t);
  const origin = await servePage(t, 21260);
  const server = await startSmall(t, 21262, { CORS_ORIGINS: origin });
  const client = new Client(server);
  const collector = `http://localhost:${server.port}`;
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${origin}/first?utm_source=mail`);

  assert.equal(
    await loadImage(page, `${collector}/px.gif?e=img&n=1&text=h%C3%A9llo+w%C3%B6rld`),
    1,
    'the pixel must load as an image',
  );
  const first = await client.one();
  assert.deepEqual([first['e'], first.props], ['img', { n: '1', text: 'héllo wörld' }]);
  assert.match(String(first['ua']), /Chrome/);
  // Across origins a browser sends the origin alone.
  assert.equal(first['url'], `${origin}/`);
  assert.match(String(first['sid']), /^s_[0-9a-f]{32}$/);
  const { sid } = first;

  const queued = await page.evaluate(
    (url) => navigator.sendBeacon(url, JSON.stringify([{ e: 'beacon', url: location.href }])),
    `${collector}/collect`,
  );
  assert.equal(queued, true);
  let beacon = await client.recorded();
  for (let i = 0; i < 100 && beacon.length === 0; i++) beacon = await client.recorded();
  assert.deepEqual(
    [beacon[0]?.['e'], beacon[0]?.['url'], beacon[0]?.['sid']],
    ['beacon', `${origin}/first?utm_source=mail`, sid],
  );

  const answer = await page.evaluate(async (url) => {
    const body = JSON.stringify({ e: 'fetch', big: 1 });
    const response = await fetch(url, {
      method: 'POST',
      credentials: 'include',
      headers: { 'content-type': 'application/json' },
      body,
    });
    return {
      status: response.status,
      accepted: response.headers.get('x-gotrack-accepted'),
      ack: response.headers.get('ringmain-ack'),
      json: await response.json(),
    };
  }, `${collector}/collect`);
  assert.deepEqual(answer, { status: 202, accepted: '1', ack: 'journal', json: { accepted: 1, status: 'ok' } });
  const fetched = await client.one();
  assert.deepEqual([fetched['e'], fetched['sid']], ['fetch', sid]);

  const second = await context.newPage();
  await second.goto(`${origin}/second`);
  await loadImage(second, `${collector}/px.gif?e=again`);
  assert.equal((await client.one())['sid'], sid, 'the second visit has the cookie of the first');
  const cookies = await context.cookies(collector);
  assert.deepEqual(
    cookies.map(({ name, value, httpOnly, sameSite }) => ({ name, value, httpOnly, sameSite })),
    [{ name: 'sid', value: sid, httpOnly: true, sameSite: 'Lax' }],
  );

  // A page that is not listed: its script reads nothing and nothing is recorded; its images are not asked for an origin.
  const foreign = await servePage(t, 21264);
  const stranger = await context.newPage();
  await stranger.goto(foreign);
  const refused = await stranger.evaluate(
    (url) =>
      fetch(url, {
        method: 'POST',
        credentials: 'include',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      }).then(
        () => 'read',
        () => 'refused',
      ),
    `${collector}/collect`,
  );
  assert.equal(refused, 'refused');
  await client.none();
});

test('Chromium: with any origin allowed a page reads the answer without credentials, and with them it does not', async (t) => {
  const browser = await openBrowser(t);
  const origin = await servePage(t, 21266);
  const server = await startSmall(t, 21268);
  const client = new Client(server);
  const page = await browser.newPage();
  await page.goto(origin);
  const send = (credentials: 'omit' | 'include') =>
    page.evaluate(
      ([url, mode]) =>
        fetch(url!, {
          method: 'POST',
          credentials: mode as 'omit' | 'include',
          headers: { 'content-type': 'application/json' },
          body: '{"e":"x"}',
        }).then(
          (response) => response.status,
          () => 0,
        ),
      [`http://localhost:${server.port}/collect`, credentials],
    );
  assert.equal(await send('omit'), 202);
  assert.equal(await send('include'), 0, 'the browser itself refuses * with credentials');
  await client.recorded();
});

test('Chromium with Do Not Track leaves nothing', async (t) => {
  const browser = await openBrowser(t);
  const origin = await servePage(t, 21270);
  const server = await startSmall(t, 21272);
  const client = new Client(server);
  const context = await browser.newContext({ extraHTTPHeaders: { DNT: '1' } });
  const page = await context.newPage();
  await page.goto(origin);
  assert.equal(await loadImage(page, `http://localhost:${server.port}/px.gif?e=dnt`), 1);
  await client.none();
  assert.deepEqual(await context.cookies(`http://localhost:${server.port}`), []);
});
