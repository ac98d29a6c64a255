/**
 * Goal: the dashboard is a good page: it says what it waits for and what went wrong, anybody can use it, nothing in data
 * becomes code, and it shows itself to whom it may.
 * Method: dashboard.ts.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import pg from 'pg';
import type { Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import service from '../../src/analytics/analytics.ts';
import { runUser } from '../../src/analytics/people/user-command.ts';
import { freePort } from '../http/raw.ts';
import { fileScope } from '../servers/scope.ts';
import { toolRun } from '../service/tool/run.ts';
import {
  agents,
  Dashboard,
  EVIL,
  figure,
  PICTURES,
  row,
  rows,
  SITE,
  search,
  settled,
  shows,
  visitors,
} from './dashboard.ts';

/** What an axe-core finding says, as far as it is read here. */
interface Finding {
  readonly id: string;
  readonly impact: string | null;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

const file = fileScope();
let on: Dashboard;
beforeAll(async () => {
  on = await Dashboard.start(file, 23_030);
});

test('figures that cannot be refreshed say of when they are', async (t) => {
  const page = await on.open('/');
  t.onTestFinished(() => page.context().close());
  await page.clock.install();
  await page.goto(`/?site=${SITE}&period=today`);
  await visitors(page).toBe('4');
  await settled(page);
  await page.route(panels, (route) => route.abort());
  await page.clock.runFor(31_000);
  const late = page.locator('.late');
  await expect.poll(() => late.textContent()).toMatch(/^As of .*not refreshed since\. The server does not answer/);
  assert.equal(await figure(page, 'visitors').textContent(), '4');
  await expect.poll(() => page.locator('.stale').count()).toBeGreaterThan(3);
  await page.screenshot({ path: join(PICTURES, 'late.png') });
  await page.unroute(panels);
  await row(page, 'pages', '/pricing').focus();
  await page.clock.runFor(31_000);
  await expect.poll(() => late.textContent()).toBe('');
  await expect.poll(() => page.locator('.stale').count()).toBe(0);
  // What is drawn anew under somebody's hands leaves them where they were.
  assert.equal(await page.evaluate('document.activeElement.textContent'), '/pricing');
});

test('the badge moves with an event; the live view shows it', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  const badge = page.locator('.live-badge b');
  await expect.poll(() => badge.textContent()).toMatch(/^\d+$/);
  const before = Number(await badge.textContent());
  await on.send('other.example', '10.1.5.1', 'chrome', [{ path: '/elsewhere' }]);
  await on.send(SITE, '10.1.4.1', 'firefox', [{ path: '/robots', event_type: 'ping' }]);
  await expect.poll(() => badge.textContent()).toBe(String(before + 1));
  await page.keyboard.press('l');
  await on.send(SITE, '10.1.4.1', 'firefox', [{ path: '/just/now', event_type: 'ping' }]);
  await expect.poll(() => page.locator('.live-events').textContent()).toContain('/just/now');
  await on.send(SITE, '10.1.4.1', 'firefox', [{ path: '/and/then', event_type: 'ping' }]);
  // The newest first, and those before stay.
  await expect.poll(() => page.locator('.live-events').textContent()).toMatch(/\/and\/then.*\/just\/now/);
  assert.ok(!(await page.locator('.live-events').textContent())!.includes('/elsewhere'));
  assert.equal(search(page).get('live'), '1');
  await page.keyboard.press('Escape');
  await expect.poll(() => search(page).get('live')).toBe(null);
  // The curve is there with the numbers: its past comes with the first answer.
  await page.goto(`/?site=${SITE}&period=today&live=1`);
  await expect
    .poll(async () => {
      const [curve] = await page.locator('.live-line .spark-line').all();
      return (await curve?.getAttribute('d'))?.split('L').length;
    })
    .toBeGreaterThan(80);
});

test('a live view that was refused is asked for again', async (t) => {
  const page = await on.open('/');
  t.onTestFinished(() => page.context().close());
  let refuses = true;
  await page.route('**/live*', async (route) => {
    if (refuses) await route.fulfill({ status: 503, body: '' });
    else await route.continue();
  });
  await page.goto(`/?site=${SITE}&period=today&live=1`);
  await expect.poll(() => page.locator('.live-badge').textContent()).toBe('– not connected');
  await expect.poll(() => page.locator('.live-figures').textContent()).toContain('not connected, trying again');
  refuses = false;
  await expect.poll(() => page.locator('.live-badge b').textContent()).toMatch(/^\d+$/);
});

test('the overview leads to each site; text that would be code stays text', async (t) => {
  const page = await on.open('/');
  t.onTestFinished(() => page.context().close());
  await expect.poll(() => page.locator('.site-link').allTextContents()).toContain(EVIL);
  const card = page.locator('.site', { hasText: EVIL });
  await expect.poll(() => card.locator('.site-figures').textContent()).toMatch(/^1visitor.*1 view$/);
  await page.getByRole('link', { name: EVIL }).click();
  await visitors(page).toBe('1');
  await page.getByRole('button', { name: `Properties of ${EVIL}` }).click();
  await shows(page, 'events').toEqual([[EVIL, '1']]);
  await row(page, 'events', EVIL).click();
  // The key and its value are called alike: the table says which it is.
  await expect.poll(() => page.locator('[data-panel="events"] caption').textContent()).toContain(`${EVIL}: ${EVIL}`);
  await shows(page, 'events').toEqual([[EVIL, '1']]);
  await row(page, 'events', EVIL).click();
  await expect.poll(() => page.locator('.chip-text').textContent()).toContain(EVIL);
  await page.keyboard.press('s');
  await page.locator('.choice', { hasText: SITE }).click();
  await expect.poll(() => search(page).get('site')).toBe(SITE);
  // Many sites are searched.
  const site = { time_zone: 'UTC', created_at: '2026-01-01T00:00:00Z', has_events: false };
  const sites = Array.from({ length: 12 }, (_, i) => ({ ...site, site_id: `site-${i}.example` }));
  await page.route('**/api/sites', (route) => route.fulfill({ json: { me: null, sites, paths: {} } }));
  await page.goto('/');
  await expect.poll(() => page.locator('.site-link').count()).toBe(12);
  await page.keyboard.press('s');
  await expect.poll(() => page.evaluate('document.activeElement.type')).toBe('search');
  await page.keyboard.type('SITE-1');
  const choices = page.locator('.choices').first().locator('.choice');
  await expect.poll(() => choices.allTextContents()).toEqual([1, 10, 11].map((i) => `site-${i}.example`));
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.locator('h1').textContent()).toBe('Waiting for the first event of site-1.example');
  await page.unroute('**/api/sites');
  assert.equal(await page.evaluate('window.owned'), undefined);
  assert.equal(await page.locator('img').count(), 0);
});

test('a site without events shows its snippet and moves on with the first', async (t) => {
  const page = await on.open('/', { permissions: ['clipboard-read', 'clipboard-write'] });
  t.onTestFinished(() => page.context().close());
  await page.clock.install();
  await page.goto('/?site=new.example&period=today');
  await expect.poll(() => page.locator('.snippet').first().textContent()).toContain('data-site="new.example"');
  await expect.poll(() => page.locator('h1').textContent()).toBe('There is no site called new.example yet');
  const shown = (await page.locator('.snippet').first().textContent())!;
  const script = await fetch(/src="([^"]+)"/.exec(shown)![1]!);
  assert.match(await script.text(), /"\/a\/in"/);
  assert.match((await page.locator('.snippet').nth(1).textContent())!, /\/a\/in/);
  await page.getByRole('button', { name: 'Copy' }).first().click();
  await expect.poll(() => page.locator('.snippet .button').first().textContent()).toBe('Copied');
  assert.ok(shown.startsWith((await page.evaluate('navigator.clipboard.readText()')) as string));
  // It does not say that it listens while it cannot.
  const status = page.locator('.waiting [role="status"]');
  await page.route('**/api/sites', (route) => route.abort());
  await page.clock.runFor(2500);
  await expect.poll(() => status.textContent()).toMatch(/^The server does not answer.*asked again/);
  await page.unroute('**/api/sites');
  await page.clock.runFor(2500);
  await expect.poll(() => status.textContent()).toMatch(/^Listening/);
  // An event of a bot shows that the way is open, and counts apart: here that of Node, which loads the image.
  assert.equal((await fetch(/<img src="([^"]+)"/.exec(shown)![1]!, { method: 'HEAD' })).status, 200);
  await expect
    .poll(async () => {
      await page.clock.runFor(2500);
      return status.textContent();
    })
    .toMatch(/^Events arrive, so far of bots alone/);
  assert.equal(await page.locator('h1').textContent(), 'Waiting for the first visitor of new.example');
  assert.equal(await page.getByText('Please check the name').filter({ visible: true }).count(), 0);
  await page.screenshot({ path: join(PICTURES, 'bots-only.png'), fullPage: true });
  await page.goto('/');
  await expect
    .poll(() => page.locator('.site', { hasText: 'new.example' }).textContent())
    .toContain('only bots so far');
  await page.goBack();
  await on.send('new.example', '10.1.0.1', 'chrome', [{ path: '/first' }]);
  await page.clock.runFor(2500);
  await visitors(page).toBe('1');
  // Where there is no site at all.
  const none = { me: null, sites: [], paths: { tracker: '/a/s.js', events: '/a/in' } };
  await page.route('**/api/sites', (route) => route.fulfill({ json: none }));
  await page.goto('/');
  await expect.poll(() => page.locator('h1').textContent()).toBe('No site yet');
  assert.equal(await page.locator('.snippet code').first().textContent(), 'ringmain site add example.com');
  await page.unroute('**/api/sites');
  await page.clock.runFor(2500);
  await expect.poll(() => page.locator('h1').textContent()).toBe('Sites');
});

test('an old name of a site leads to it, and the address says the new one', async (t) => {
  const client = new pg.Client({ connectionString: on.dsn });
  await client.connect();
  await client.query(
    `INSERT INTO site_names (site_id, site) SELECT 'old.example', site FROM sites WHERE site_id = '${SITE}'`,
  );
  await client.end();
  const page = await on.open('/?site=old.example&period=yesterday&is:country=DE');
  t.onTestFinished(() => page.context().close());
  await visitors(page).toBe('2');
  assert.deepEqual([search(page).get('site'), search(page).get('is:country')], [SITE, 'DE']);
});

const panels = /\/api\/sites\/[^/]+\/(summary|timeseries|breakdown)/;
/** Where everything on the page begins, and ends. */
const places = (page: Page) =>
  page.evaluate(`[...document.querySelectorAll('.card, .page-foot')].map((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return [Math.round(top + scrollY), Math.round(bottom + scrollY)];
  })`) as Promise<readonly (readonly number[])[]>;

for (const width of [1440, 390])
  test(`what takes longer has a skeleton, or stays as it was, dimmed; nothing jumps: ${width}`, async (t) => {
    const page = await on.open('/', { viewport: { width, height: 900 } });
    t.onTestFinished(() => page.context().close());
    const today = await on.visitorsToday();
    let release = () => {};
    const hold = async () => {
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      await page.route(panels, async (route) => {
        await held;
        await route.continue();
      });
    };
    await hold();
    await page.goto(`/?site=${SITE}&period=today`);
    await expect.poll(() => page.locator('.bone').count()).toBeGreaterThan(20);
    // The curve that is drawn later has one as well.
    const curve = "getComputedStyle(document.querySelector('.chart-box'), '::before').content";
    await expect.poll(() => page.evaluate(curve)).toBe('""');
    const waiting = await places(page);
    await page.screenshot({ path: join(PICTURES, `loading-${width}.png`), fullPage: true });
    release();
    await visitors(page).toBe(today);
    await settled(page);
    assert.deepEqual(await places(page), waiting);
    assert.equal(await page.evaluate(curve), 'none');
    await page.unroute(panels);
    await hold();
    await page.keyboard.press('y');
    await expect.poll(() => page.locator('.stale').count()).toBeGreaterThan(3);
    // The numbers of before, and no skeleton.
    assert.deepEqual(
      [await figure(page, 'visitors').textContent(), await page.locator('.bone').count(), await places(page)],
      [today, 0, waiting],
    );
    release();
    await visitors(page).toBe('2');
    await settled(page);
    assert.deepEqual(await places(page), waiting);
    // Nor do the panels of a period without anything, and of questions that are refused.
    await page.goto(`/?site=${SITE}&period=custom&from=2020-01-01&to=2020-01-02`);
    await visitors(page).toBe('0');
    await settled(page);
    assert.deepEqual(await places(page), waiting);
    await page.screenshot({ path: join(PICTURES, `empty-${width}.png`), fullPage: true });
    await page.unroute(panels);
    await page.route(/\/breakdown/, (route) => route.abort());
    await page.goto(`/?site=${SITE}&period=7d`);
    await expect.poll(() => page.locator('.panel .failure').filter({ visible: true }).count()).toBe(6);
    await expect.poll(() => places(page)).toEqual(waiting);
    await page.route(panels, (route) => route.abort());
    await page.goto(`/?site=${SITE}&period=7d&compare=none`);
    await expect.poll(() => page.locator('.failure').filter({ visible: true }).count()).toBe(8);
    await page.screenshot({ path: join(PICTURES, `refused-${width}.png`), fullPage: true });
  });

test('before anything is known there are the mark and outlines, as dark as the system', async (t) => {
  const page = await on.open('/openapi.json', { colorScheme: 'dark' });
  t.onTestFinished(() => page.context().close());
  const paper = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
  await page.route('**/app-*.js', (route) => route.abort());
  await page.goto(`/?site=${SITE}`);
  const before = await paper();
  // The mark is there before the script, and where it stays.
  const place = await page.locator('.opening .mark').boundingBox();
  await page.unroute('**/app-*.js');
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route('**/api/sites', async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(`/?site=${SITE}`);
  await expect.poll(() => page.locator('.outlines .outline').count()).toBe(3);
  assert.equal(await paper(), before);
  await page.screenshot({ path: join(PICTURES, 'outlines.png') });
  release();
  await settled(page);
  assert.equal(await page.locator('.outlines, .opening').count(), 0);
  assert.deepEqual(await page.locator('.header .mark').boundingBox(), place);
  // Dark on dark, and not the light theme on both.
  const [red] = /\d+/.exec(String(before))!;
  assert.ok(Number(red) < 40, String(before));
});

test('while less than a moment has passed nothing is grey', async (t) => {
  const page = await on.open('/');
  t.onTestFinished(() => page.context().close());
  // Time stands still for all that waits between a tenth of a second and a whole one.
  await page.addInitScript(`{
    const wait = setTimeout;
    globalThis.setTimeout = (work, ms, ...more) => (ms >= 100 && ms < 1000 ? 0 : wait(work, ms, ...more));
  }`);
  const held: (() => void)[] = [];
  await page.route(panels, async (route) => {
    await new Promise<void>((resolve) => held.push(resolve));
    await route.continue();
  });
  await page.goto(`/?site=${SITE}&period=today`);
  await expect.poll(() => held.length).toBe(8);
  await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))');
  assert.equal(await page.locator('.bone, .stale, [aria-busy]').count(), 0);
  for (const release of held) release();
  await visitors(page).toBe(await on.visitorsToday());
});

test('a tab that nobody looks at asks nothing, and its live view ends after a minute', async (t) => {
  const page = await on.open('/');
  t.onTestFinished(() => page.context().close());
  const streams = async () => {
    const text = await (await on.server.get('/metrics')).text();
    return Number(/^ringmain_live_streams (\S+)$/m.exec(text)?.[1]);
  };
  await page.clock.install();
  await page.goto(`/?site=${SITE}&period=today`);
  await settled(page);
  await expect.poll(streams).toBe(1);
  const show = (hidden: boolean) =>
    page.evaluate(`Object.defineProperty(document, 'hidden', { configurable: true, value: ${hidden} });
      document.dispatchEvent(new Event('visibilitychange'))`);
  await show(true);
  let asked = 0;
  page.on('request', (request) => {
    if (panels.test(request.url())) asked += 1;
  });
  await page.clock.runFor(65_000);
  await expect.poll(streams).toBe(0);
  assert.equal(asked, 0);
  await show(false);
  await expect.poll(streams).toBe(1);
  await page.clock.runFor(31_000);
  await expect.poll(() => asked).toBe(8);
});

test('on a phone nothing is wider than the screen, and menus are whole', async (t) => {
  const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
  const page = await on.open('/', phone);
  t.onTestFinished(() => page.context().close());
  const long = `/${'a-long-name/'.repeat(12)}`;
  const countries = ['DE', 'US', 'FR', 'GB', 'IN', 'BR'].map((code) => `&is:country=${code}`).join('');
  await page.goto(`/?site=${SITE}&period=custom&from=2025-12-30&to=2026-01-02${countries}&contains_not:path=${long}`);
  await settled(page);
  await page.screenshot({ path: join(PICTURES, 'phone-filters.png') });
  assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 390);
  await expect.poll(() => page.locator('.chip').count()).toBe(2);
  for (const close of await page.locator('.chip-close').all()) {
    const { x, width } = (await close.boundingBox())!;
    assert.ok(x + width <= 390, `a filter can be removed: its button ends at ${x + width}`);
  }
  // Nor on the narrowest, which is what a wide one becomes at 400 % (WCAG 1.4.10).
  await page.setViewportSize({ width: 320, height: 640 });
  for (const path of [`/?site=${SITE}&period=7d`, '/', '/?site=never.example']) {
    await page.goto(path);
    await page.waitForSelector('.figure-value, .site-visitors, .snippet');
    await expect.poll(() => page.locator('.stale, .bone, [aria-busy]').count()).toBe(0);
    const wide = await page.evaluate(`[...document.querySelectorAll('main *, header *')]
      .filter((one) => one.getBoundingClientRect().right > 320 && !one.closest('.unseen')).map((one) => one.className)`);
    assert.deepEqual(wide, [], path);
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 320, path);
  }
  await page.screenshot({ path: join(PICTURES, 'phone-narrow.png'), fullPage: true });
  await page.setViewportSize(phone.viewport);
  await page.goto(`/?site=${SITE}&period=7d`);
  await settled(page);
  for (const button of ['.tools .period', '.tools .compare', '.site-button']) {
    await page.locator(button).tap();
    // It is put into its place when it has opened.
    await expect
      .poll(() =>
        page.evaluate(`(() => {
          const menu = document.querySelector('.popover:popover-open');
          if (menu === null) return ['closed'];
          const { left, right } = menu.getBoundingClientRect();
          const parts = [...menu.querySelectorAll('button, input')];
          return [
            ...(left < 0 || right > 390 ? ['menu'] : []),
            ...parts.filter((one) => one.getBoundingClientRect().right > right).map((one) => one.textContent || one.name),
          ];
        })()`),
      )
      .toEqual([]);
    if (button === '.tools .period') await page.screenshot({ path: join(PICTURES, 'phone-period.png') });
    await page.keyboard.press('Escape');
  }
});

test('a live view that has just begun says of which time it is', async (t) => {
  const page = await on.open('/');
  t.onTestFinished(() => page.context().close());
  for (const [seconds, words] of [
    [1, '3 visitors in the last second'],
    [42, '3 visitors in the last 42 seconds'],
    [90, '3 visitors in the last minute'],
    [200, '3 visitors in the last 3 minutes'],
    [300, '3 visitors now'],
  ] as const) {
    const tick = { visitors: 3, window_s: seconds, events_per_second: 0, last: [] };
    await page.route('**/live*', (route) =>
      route.fulfill({
        contentType: 'text/event-stream',
        body: `retry: 60000\nevent: live\ndata: ${JSON.stringify(tick)}\n\n`,
      }),
    );
    // The end of the answer is the end of the view: what it said before is remembered.
    await page.addInitScript(`addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
      const text = document.querySelector('.live-badge')?.textContent ?? '';
      if (text.includes('visitor')) globalThis.said = text;
    }).observe(document.body, { subtree: true, childList: true, characterData: true }))`);
    await page.goto(`/?site=${SITE}&period=today`);
    await expect.poll(() => page.evaluate('globalThis.said')).toBe(words);
    await page.unroute('**/live*');
  }
});

test('every key that ? lists can be found there, and leads where it says', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await settled(page);
  await page.keyboard.press('?');
  const keys = await page.locator('dialog kbd').allTextContents();
  assert.deepEqual(keys.toSorted(), [...'?ACDFHJLMOPRSTWXY', 'Alt click', 'Esc'].toSorted());
  // The gutter of the scrollbar has the colour of the root: it is as dark as the page behind the dialog.
  const [gutter, behind] = (await page.evaluate(
    '[document.documentElement, document.body].map((one) => getComputedStyle(one).backgroundColor)',
  )) as [string, string];
  assert.notEqual(gutter, behind);
  // While a dialog is open, keys are its own.
  await page.keyboard.press('y');
  assert.equal(search(page).get('period'), 'today');
  await page.keyboard.press('Escape');
  await expect.poll(() => page.locator('dialog').count()).toBe(0);
  await page.keyboard.press('o');
  await expect.poll(() => page.locator('h1').textContent()).toBe('Sites');
  await page.goBack();
  await visitors(page).toBe(await on.visitorsToday());
  // A period without anything says so.
  await page.goto(`/?site=${SITE}&from=2020-01-01&to=2020-01-02&period=custom`);
  await visitors(page).toBe('0');
  await expect.poll(() => page.locator('[data-panel="pages"] .empty').textContent()).toMatch(/\w/);
  await page.goto(`/?site=${SITE}&period=yesterday&events=prop:signup`);
  await expect.poll(() => page.locator('[data-panel="events"] .empty').textContent()).toBe('Nothing was sent with it.');
});

test('a refusal says what to do; trying again works', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await settled(page);
  await page.route('**/api/sites/*/breakdown*', (route) => route.abort());
  // A key that is pressed while the browser is busy may get lost.
  await expect
    .poll(async () => {
      await page.keyboard.press('w');
      return page.url();
    })
    .toContain('period=7d');
  const failure = page.locator('.failure', { hasText: 'No connection' });
  await expect.poll(() => failure.locator('visible=true').count()).toBeGreaterThan(3);
  // Heard once, not by every panel.
  const heard = page.locator('[role=alert]');
  assert.match((await heard.allTextContents()).join('|'), /^No connection\. The server does not answer[^|]*$/);
  await page.keyboard.press('f');
  await expect.poll(() => page.locator('.suggestions').textContent()).toMatch(/^Values cannot be listed now/);
  await page.keyboard.press('Escape');
  await page.unroute('**/api/sites/*/breakdown*');
  await failure.locator('visible=true').first().getByRole('button', { name: 'Try again' }).click();
  await expect.poll(async () => new Map(await rows(page, 'pages')).get('/')).toBe('4');
  // The others were refused for the same reason.
  await expect.poll(() => failure.locator('visible=true').count()).toBe(0);
  assert.deepEqual(await heard.allTextContents(), ['']);
});

const looks = [
  ['site', `/?site=${SITE}&period=7d`],
  ['filtered', `/?site=${SITE}&period=today&is:country=DE&contains:path=/pri&pages=entry_page`],
  ['overview', '/'],
  ['details', `/?site=${SITE}&period=7d&details=path`],
  ['live', `/?site=${SITE}&period=7d&live=1`],
  ['waiting', '/?site=never.example'],
] as const;
const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

for (const theme of ['light', 'dark'] as const)
  test(`axe-core finds nothing serious in the ${theme} theme; pictures for people`, async (t) => {
    // A policy against foreign scripts holds for axe as well.
    const page = await on.open('/', { colorScheme: theme, bypassCSP: true });
    t.onTestFinished(() => page.context().close());
    const check = async (name: string) => {
      await page.evaluate(source);
      const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
        violations: readonly Finding[];
      };
      const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      assert.deepEqual(
        grave.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]),
        [],
        `${name}, ${theme}`,
      );
    };
    for (const [name, path] of looks) {
      await page.setViewportSize({ width: 1440, height: 900 });
      await page.goto(path);
      const ready = name === 'waiting' ? '.snippet' : name === 'overview' ? '.site-visitors' : '.figure-value';
      await page.waitForSelector(ready);
      await expect.poll(() => page.locator('.stale, .bone, [aria-busy]').count()).toBe(0);
      await check(name);
      for (const width of [390, 820, 1440]) {
        await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
        await page.screenshot({
          path: join(PICTURES, `${name}-${width}-${theme}.png`),
          fullPage: !['details', 'live'].includes(name),
        });
        assert.ok(
          ((await page.evaluate(
            'document.documentElement.scrollWidth - document.documentElement.clientWidth',
          )) as number) <= 0,
          `${name} must not scroll sideways at ${width}`,
        );
        // Curves stand on the floor of their cards, however high a neighbour is.
        if (name === 'overview')
          assert.deepEqual(
            await page.evaluate(`[...document.querySelectorAll('.site')].map((one) => Math.round(
              one.getBoundingClientRect().bottom - one.querySelector('.site-spark').getBoundingClientRect().bottom))`),
            await page.locator('.site').evaluateAll((all) => all.map(() => 1)),
          );
        if (name !== 'details' || width !== 390) continue;
        // Names stand below the title.
        const starts = await Promise.all(
          ['dialog h2', 'dialog .input', 'dialog .overlay-foot .quiet'].map((one) => page.locator(one).boundingBox()),
        );
        assert.equal(new Set(starts.map((box) => Math.round(box!.x))).size, 1, JSON.stringify(starts));
        // Numbers go by behind the names.
        const left = () => page.locator('dialog tbody .name').first().boundingBox();
        const before = (await left())!.x;
        await page.locator('.details-box').evaluate((box) => box.scrollBy(200, 0));
        assert.equal((await left())!.x, before);
      }
    }
    await page.goto(`/?site=${SITE}&period=7d`);
    await page.waitForSelector('.figure-value');
    for (const [name, key] of [
      ['filter', 'f'],
      ['help', '?'],
    ] as const) {
      await settled(page);
      await page.keyboard.press(key);
      await page.waitForSelector('dialog');
      await check(name);
      await page.screenshot({ path: join(PICTURES, `${name}-${theme}.png`) });
      await page.keyboard.press('Escape');
    }
    await page.emulateMedia({ media: 'print' });
    const controls = '.tools, .files, .live-badge, .into, .tab[aria-pressed="false"], .edit';
    assert.equal(await page.locator(controls).filter({ visible: true }).count(), 0);
    await expect.poll(() => page.evaluate('document.documentElement.dataset.theme')).toBe('light');
    await page.setViewportSize({ width: 794, height: 1123 });
    await page.screenshot({ path: join(PICTURES, `print-${theme}.png`), fullPage: true });
    await page.emulateMedia({ media: null });
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.getByRole('button', { name: 'Last 7 days' }).click();
    await check('period');
    await page.screenshot({ path: join(PICTURES, `period-${theme}.png`) });
    await page.keyboard.press('Escape');
    // The choice of a theme is remembered.
    await page.keyboard.press('h');
    await page.keyboard.press('h');
    await page.reload();
    assert.equal(await page.evaluate('document.documentElement.dataset.theme'), 'dark');
  });

test('the page is small, asks little, comes from one origin and says so', async (t) => {
  const page = await on.server.get('/');
  const policy = page.headers.get('content-security-policy')!;
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.equal(page.headers.get('referrer-policy'), 'same-origin');
  assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
  const html = await page.text();
  const names = [...html.matchAll(/(?:src|href)="(\/app-[^"]+)"/g)].map(([, name]) => name!);
  assert.equal(names.length, 2);
  let bytes = html.length;
  for (const name of names) {
    const answer = await fetch(on.server.url + name, { headers: { 'accept-encoding': 'gzip' } });
    assert.match(answer.headers.get('cache-control')!, /immutable/);
    assert.equal(answer.headers.get('content-encoding'), 'gzip');
    bytes += Number(answer.headers.get('content-length'));
  }
  assert.ok(bytes < 60 * 1024, `all of it must be below 60 KB gzipped: found=${bytes}`);
  // Each question once: the sites, figures, series, a list for each of six panels, the stream.
  const seen = await on.open('/openapi.json');
  t.onTestFinished(() => seen.context().close());
  const asked: string[] = [];
  seen.on('request', (request) => asked.push(new URL(request.url()).pathname.replace(/^\/api\/sites\/[^/]+/, '')));
  await seen.goto(`/?site=${SITE}&period=today`);
  await settled(seen);
  await expect.poll(() => seen.locator('.live-badge b').textContent()).toMatch(/^\d+$/);
  const list = '/breakdown';
  assert.deepEqual(asked.filter((path) => !path.startsWith('/app-') && path !== '/icon.svg').toSorted(), [
    '/',
    '/api/sites',
    ...[list, list, list, list, list, list],
    '/live',
    '/summary',
    '/timeseries',
  ]);
});

test('what the script sends of a page is what the dashboard shows', async (t) => {
  const html = `<title>A page</title><a href="/two">two</a>
    <script defer src="${on.server.url}/a/s.js" data-site="tracked.example"></script>`;
  const pages = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(html));
  const port = await freePort(23_031);
  await new Promise<void>((resolve) => pages.listen(port, '127.0.0.1', resolve));
  t.onTestFinished(() => void pages.close());
  const visitor = await on.open(`http://127.0.0.1:${port}/one`, { userAgent: agents.chrome });
  t.onTestFinished(() => visitor.context().close());
  await visitor.getByRole('link').click();
  await visitor.waitForURL('**/two');
  await visitor.evaluate("ringmain('signup', { plan: 'pro' })");
  const page = await on.open('/?site=tracked.example&period=today');
  t.onTestFinished(() => page.context().close());
  await visitors(page).toBe('1');
  await expect
    .poll(async () => {
      await page.reload();
      await settled(page);
      return [await figure(page, 'visits').textContent(), await figure(page, 'views').textContent()];
    })
    .toEqual(['1', '2']);
  await shows(page, 'pages').toEqual([
    ['/one', '1'],
    ['/two', '1'],
  ]);
  await expect.poll(async () => new Map(await rows(page, 'events')).get('signup')).toBe('1');
});

/** Last: from the first user on nobody looks without a login. */
test('who may look logs in where the view is asked for; a link shows its site alone', async (t) => {
  // Events of now, which other tests have sent, stand in the last days as well.
  const { visitors: everybody } = await on.figures('period=30d');
  const german = encodeURIComponent('[["is","country",["DE"]]]');
  const { visitors: germans } = await on.figures(`period=30d&filters=${german}`);
  const password = 'correct horse battery';
  const add = () => runUser(service, ['add', 'ada', `--pg-dsn=${on.dsn}`], Readable.from([password]));
  const { code, said } = await toolRun(add);
  assert.equal(code, 0, said);
  await expect.poll(async () => (await on.server.get('/api/sites')).status).toBe(401);
  const page = await on.open(`/?site=${SITE}&period=yesterday`, { bypassCSP: true });
  t.onTestFinished(() => page.context().close());
  await page.getByLabel('User').fill('ada');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect.poll(() => page.locator('.problem').textContent()).not.toBe('');
  await page.screenshot({ path: join(PICTURES, 'login.png') });
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await visitors(page).toBe('2');
  const link = async (secret: string) => {
    await page.getByRole('button', { name: 'Share this site' }).click();
    await page.getByLabel('Password of the link').fill(secret);
    await page.getByRole('button', { name: 'Make a link' }).click();
    const text = (await page.locator('.made code').textContent())!;
    await page.screenshot({ path: join(PICTURES, 'share.png') });
    await page.keyboard.press('Escape');
    return text.slice(on.server.url.length);
  };
  const [free, locked] = [await link(''), await link('a long secret')];
  const guest = await on.open(free);
  t.onTestFinished(() => guest.context().close());
  await visitors(guest).toBe(String(everybody));
  assert.equal(await guest.getByRole('button', { name: 'Edit goals' }).count(), 0);
  await row(guest, 'places', 'Germany').click();
  await visitors(guest).toBe(String(germans));
  await expect.poll(() => guest.locator('.live-badge b').textContent()).toMatch(/^\d+$/);
  assert.equal(
    (await guest.request.get(`/api/sites/${encodeURIComponent(EVIL)}/summary${free.slice(1)}`)).status(),
    401,
  );
  await guest.goto(locked);
  await guest.getByLabel('Password').fill('a long secret');
  await guest.getByRole('button', { name: 'Open' }).click();
  await visitors(guest).toBe(String(everybody));
  await guest.goto('/?share=nothing');
  await expect.poll(() => guest.locator('h1').textContent()).toBe('This link has ended');
  // A viewer sees the same, and is offered nothing that he may not do.
  const viewer = await toolRun(() =>
    runUser(service, ['add', 'bob', '--role=viewer', `--pg-dsn=${on.dsn}`], Readable.from([password])),
  );
  assert.equal(viewer.code, 0, viewer.said);
  const bob = await on.open(`/?site=${SITE}&period=yesterday`);
  t.onTestFinished(() => bob.context().close());
  await bob.getByLabel('User').fill('bob');
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Log in' }).click();
  await visitors(bob).toBe('2');
  assert.equal(await bob.getByRole('button', { name: 'Edit goals' }).count(), 0);
  assert.equal(await bob.getByRole('button', { name: 'Share this site' }).count(), 0);
  const { csrf } = (await (await bob.request.get('/api/me')).json()) as { csrf: string };
  const goal = { headers: { 'x-csrf-token': csrf }, data: { kind: 'event', match: 'signup' } };
  assert.equal((await bob.request.post(`/api/sites/${SITE}/goals`, goal)).status(), 403);
  // His login ends while he looks: he is asked once, and goes on where he was going.
  assert.equal((await bob.request.post('/api/logout', { headers: goal.headers, data: {} })).status(), 204);
  let asked = 0;
  bob.on('request', (request) => {
    if (request.url().endsWith('/api/sites')) asked += 1;
  });
  await bob.keyboard.press('d');
  await expect.poll(() => bob.locator('h1').textContent()).toBe('Log in');
  assert.equal(asked, 1);
  await bob.getByLabel('User').fill('bob');
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Log in' }).click();
  await visitors(bob).toBe(String(everybody));
  await page.getByRole('button', { name: 'Log out' }).click();
  await expect.poll(() => page.locator('h1').textContent()).toBe('Log in');
});
