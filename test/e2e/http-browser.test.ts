/**
 * Goal: a page in a real browser can send events in the ways that pages do, across origins and across sites, and is known again on its
 * second visit where browsers allow it.
 * Method: real Chromium, pages served from one origin (localhost:a; 127.0.0.1:a, which is another site), the collector on another
 * (localhost:b), the NDJSON file.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type Browser, chromium, type Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { Client, type EventLine } from '../collect/contract.ts';
import { freePort } from '../http/raw.ts';
import { ensureCommand } from '../servers/apt.ts';
import type { TestScope } from '../servers/process.ts';
import { fileScope } from '../servers/scope.ts';
import { startSmall } from './small-collector.ts';

// What the functions below find in the page; the project itself is compiled without a browser's types.
declare const document: { readonly body: { append(node: unknown): void } };
declare const location: { readonly href: string };
declare const Image: new () => { naturalWidth: number; onload: () => void; onerror: () => void; src: string };
declare const navigator: { sendBeacon(url: string, body: string | Blob): boolean };

const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

const file = fileScope();
let browser: Browser;
beforeAll(async () => {
  await ensureCommand('chromium', 'chromium');
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: quiet });
  file.onTestFinished(() => browser.close());
});

/**
 * Serves a page on every path; its port. `/isolated`: a page that embeds only what allows it (COEP), as pages do that use
 * SharedArrayBuffer.
 */
async function servePage(t: TestScope, from: number, html = '<title>page</title>'): Promise<number> {
  const port = await freePort(from);
  const server = createServer(({ url }, response) => {
    const isolated = url === '/isolated' && { 'cross-origin-embedder-policy': 'require-corp' };
    response.writeHead(200, { 'content-type': 'text/html', ...isolated }).end(html);
  });
  await new Promise<void>((resolve) => server.listen(port, resolve));
  t.onTestFinished(() => void server.close());
  return port;
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
  const origin = `http://localhost:${await servePage(t, 21260)}`;
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
  const foreign = `http://localhost:${await servePage(t, 21264)}`;
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

/** The page of README.md, sending to this collector. */
function pageOfReadme(collector: string): string {
  const [, snippet] = /## From a web page\n\n```html\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8'))!;
  assert.ok(snippet!.includes('https://collect.example.com/'));
  return `<!doctype html>${snippet!.replaceAll('https://collect.example.com', collector)}`;
}

/** The events of one visit of the README's page, by name: loaded, then left for a blank page. */
async function visitReadme(page: Page, client: Client, url: string): Promise<Map<unknown, EventLine>> {
  const events = new Map<unknown, EventLine>();
  const until = async (count: number) => {
    const poll = async () => {
      for (const event of await client.recorded()) events.set(event['e'], event);
      return events.size;
    };
    await expect.poll(poll).toBe(count);
  };
  await page.goto(url);
  await until(2);
  await page.goto('about:blank');
  await until(3);
  assert.deepEqual([...events.keys()].sort(), ['leave', 'pageview', 'signup']);
  return events;
}

const sidsOf = (events: Map<unknown, EventLine>) => [...new Set([...events.values()].map((event) => event['sid']))];

/** A sandboxed frame has the origin `null`. Resolves with the status that its script reads, 0: none. */
const fromSandbox = (page: Page, url: string): Promise<number> =>
  page.evaluate((to) => {
    const w = globalThis as unknown as {
      document: {
        createElement(tag: string): { sandbox: string; srcdoc: string };
        body: { append(node: unknown): void };
      };
      addEventListener(name: string, on: (event: { data: number }) => void): void;
    };
    const frame = w.document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = `<script>fetch('${to}', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' },
      body: '{"e":"sandbox"}' }).then((r) => r.status, () => 0).then((status) => parent.postMessage(status, '*'))</script>`;
    return new Promise<number>((resolve) => {
      w.addEventListener('message', ({ data }) => resolve(data));
      w.document.body.append(frame);
    });
  }, url);

test('Chromium: the page of README.md works as it stands, with default options, from an origin of the same site and from another site', async (t) => {
  const server = await startSmall(t, 21268);
  const client = new Client(server);
  const collector = `http://localhost:${server.port}`;
  const port = await servePage(t, 21266, pageOfReadme(collector));
  const context = await browser.newContext();
  t.onTestFinished(() => context.close());
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('console', (message) => void (message.type() === 'error' && faults.push(message.text())));
  page.on('pageerror', (error) => void faults.push(error.message));

  // From another site the cookie cannot come back: no sid is made up for it.
  const far = await visitReadme(page, client, `http://127.0.0.1:${port}/a`);
  assert.deepEqual(sidsOf(far), [undefined]);
  assert.deepEqual(await context.cookies(collector), []);

  await visitReadme(page, client, `http://localhost:${port}/a`);
  const near = await visitReadme(page, client, `http://localhost:${port}/b`);
  const [cookie] = await context.cookies(collector);
  assert.deepEqual(sidsOf(near), [cookie!.value], 'the second visit is known again by all that it sends');
  assert.equal(near.get('leave')!['url'], `http://localhost:${port}/b`);
  assert.equal(near.get('signup')!['uid'], 'u1');

  // A body with a type of its own is preflighted, and a beacon always has credentials.
  const blank = await servePage(t, 21274);
  for (const host of ['localhost', '127.0.0.1']) {
    await page.goto(`http://${host}:${blank}`);
    const queued = await page.evaluate(
      (url) => navigator.sendBeacon(url, new Blob(['{"e":"blob"}'], { type: 'application/json' })),
      `${collector}/collect`,
    );
    assert.equal(queued, true);
    await expect.poll(async () => (await client.recorded()).map((event) => event['e'])).toEqual(['blob']);
  }
  await page.goto(`http://127.0.0.1:${blank}/isolated`);
  assert.equal(
    await loadImage(page, `${collector}/px.gif?e=isolated`),
    1,
    'a page that isolates itself shows the image',
  );
  assert.equal((await client.one())['e'], 'isolated');
  await page.goto(`http://127.0.0.1:${blank}`);
  assert.equal(await fromSandbox(page, `${collector}/collect`), 202);
  assert.equal((await client.one())['e'], 'sandbox');
  assert.deepEqual(faults, []);
});

test('Chromium: a partitioned cookie knows visitors of other sites again, each site by itself', async (t) => {
  const options = { TRUST_PROXY: 'true', COOKIE_SAMESITE: 'None', COOKIE_PARTITIONED: 'true' };
  const server = await startSmall(t, 21276, options);
  const client = new Client(server);
  const port = await servePage(t, 21278);
  const context = await browser.newContext();
  t.onTestFinished(() => context.close());
  const page = await context.newPage();
  const sids: unknown[] = [];
  for (const host of ['127.0.0.1', '127.0.0.1', 'other.localhost']) {
    await page.goto(`http://${host}:${port}`);
    assert.equal(await loadImage(page, `http://localhost:${server.port}/px.gif`), 1);
    sids.push((await client.one())['sid']);
  }
  assert.match(String(sids[0]), /^s_/);
  assert.equal(sids[1], sids[0]);
  assert.notEqual(sids[2], sids[0]);
});

test('Chromium with Do Not Track leaves nothing', async (t) => {
  const origin = `http://localhost:${await servePage(t, 21270)}`;
  const server = await startSmall(t, 21272);
  const client = new Client(server);
  const context = await browser.newContext({ extraHTTPHeaders: { DNT: '1' } });
  const page = await context.newPage();
  await page.goto(origin);
  assert.equal(await loadImage(page, `http://localhost:${server.port}/px.gif?e=dnt`), 1);
  await client.none();
  assert.deepEqual(await context.cookies(`http://localhost:${server.port}`), []);
});
