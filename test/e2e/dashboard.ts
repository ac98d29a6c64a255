/**
 * The dashboard of analytics, for tests: the built service with Postgres; events sent through the front door, so few that
 * their sums are counted by eye; real Chromium. Screenshots of states go to test/screenshots/ for somebody to look at.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { type Running, startAnalytics } from '../analytics/running.ts';
import { ensureCommand } from '../servers/apt.ts';
import { startPostgres } from '../servers/postgres.ts';
import { type TestScope, temporaryFolder } from '../servers/process.ts';
import { buildMmdb } from '../visitor/mmdb.ts';

export const PICTURES = 'test/screenshots';
export const SITE = 'shop.example';
/** A name, a path, a referrer, a property and its value that would like to be code. */
export const EVIL = '<img src=x onerror="window.owned=1">';
const DAY_MS = 86_400_000;
export const agents = {
  chrome:
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  iphone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
  bot: 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
};
const startMs = Date.now();
export const dateOf = (daysAgo: number): string => new Date(startMs - daysAgo * DAY_MS).toISOString().slice(0, 10);

export class Dashboard {
  readonly server: Running;
  readonly dsn: string;
  readonly #browser: Browser;

  private constructor(server: Running, dsn: string, browser: Browser) {
    this.server = server;
    this.dsn = dsn;
    this.#browser = browser;
  }

  /** Takes the ports `port` and `port` + 10. All of it ends with the test. */
  static async start(t: TestScope, port: number): Promise<Dashboard> {
    await ensureCommand('chromium', 'chromium');
    mkdirSync(PICTURES, { recursive: true });
    const place = (code: string) => ({
      country: { iso_code: code, names: { en: code } },
      subdivisions: [
        code === 'DE'
          ? { iso_code: 'BE', names: { en: 'Land Berlin' } }
          : { iso_code: 'CA', names: { en: 'California' } },
      ],
    });
    const { folder, remove } = temporaryFolder('dashboard-geo-');
    t.onTestFinished(remove);
    const geo = join(folder, 'geo.mmdb');
    writeFileSync(geo, buildMmdb({ '10.1.0.0/16': place('DE'), '10.2.0.0/16': place('US') }));
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'];
    const [postgres, browser] = await Promise.all([
      startPostgres(t, { port }),
      chromium.launch({ executablePath: '/usr/bin/chromium', args }),
    ]);
    t.onTestFinished(() => browser.close());
    const server = await startAnalytics(t, {
      port: port + 10,
      env: {
        DATABASE_URL: postgres.dsn,
        GEOIP_DB: geo,
        TRUST_PROXY: 'true',
        PG_FLUSH_MS: '20ms',
        TRACKER_PATH: '/a/s.js',
        EVENTS_PATH: '/a/in',
        // More than any other site here has; that of the test of `(other)` has 24.
        DIMENSION_VALUES_MAX: '20',
      },
    });
    const dashboard = new Dashboard(server, postgres.dsn, browser);
    await dashboard.#sendAll();
    await server.process.until(async () => (await dashboard.figures('period=all'))['events'] === 12, 180_000);
    return dashboard;
  }

  /** One visitor's events in one request: an anonymous visitor of a past day is one within its request. */
  async send(site: string, address: string, agent: keyof typeof agents, events: readonly object[]): Promise<void> {
    const answer = await fetch(`${this.server.url}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': agents[agent], 'x-forwarded-for': address },
      body: JSON.stringify(events.map((event) => ({ site_id: site, event_type: 'page_view', ...event }))),
    });
    assert.equal(answer.status, 202, await answer.text());
  }

  /**
   * Today: four visitors with four visits, of which one bounces, seven views and nine events; yesterday two; a year ago
   * one. 10.1.0.0/16 is Germany, 10.2.0.0/16 the United States.
   */
  async #sendAll(): Promise<void> {
    const yesterday = { timestamp: `${dateOf(1)}T00:00:00Z` };
    const lastYear = { timestamp: `${Number(dateOf(0).slice(0, 4)) - 1}${dateOf(0).slice(4)}T00:00:00Z` };
    const plan = (value: string) => ({ event_type: 'signup', props: { plan: value } });
    await this.send(SITE, '10.1.0.1', 'chrome', [
      { path: '/', referrer: 'https://www.google.com/' },
      { path: '/pricing' },
      plan('pro'),
    ]);
    await this.send(SITE, '10.2.0.1', 'firefox', [
      {
        path: '/',
        utm_source: 'mail',
        utm_medium: 'newsletter',
        utm_campaign: 'spring',
        utm_term: 'rings',
        utm_content: 'top',
      },
    ]);
    await this.send(SITE, '10.1.0.2', 'iphone', [{ path: '/blog/a' }, { path: '/pricing' }, plan('free')]);
    await this.send(SITE, '10.2.0.2', 'chrome', [
      { path: `/${EVIL}`, referrer: `https://evil.example/${EVIL}`, title: EVIL },
      { path: '/' },
    ]);
    await this.send(SITE, '10.2.0.9', 'bot', [{ path: '/robots' }]);
    await this.send(SITE, '10.1.0.7', 'chrome', [{ path: '/', ...yesterday }]);
    await this.send(SITE, '10.1.0.8', 'chrome', [{ path: '/blog/b', ...yesterday }]);
    await this.send(SITE, '10.1.0.9', 'chrome', [{ path: '/old', ...lastYear }]);
    await this.send(EVIL, '10.1.0.1', 'chrome', [
      { path: '/' },
      { event_type: EVIL, path: '/', props: { [EVIL]: EVIL } },
    ]);
  }

  /** The figures of the API: what the page shows is compared with what was sent; this only waits for it to be counted. */
  async figures(query: string): Promise<Record<string, number>> {
    const answer = await this.server.get(`/api/sites/${SITE}/summary?${query}`);
    const { metrics = {} } = (await answer.json()) as { metrics?: Record<string, { value: number }> };
    return Object.fromEntries(Object.entries(metrics).map(([name, { value }]) => [name, value]));
  }

  /** Tests send more as they go. */
  async visitorsToday(): Promise<string> {
    return String((await this.figures('period=today'))['visitors']);
  }

  async open(path: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: { width: 1440, height: 900 },
      reducedMotion: 'reduce',
      locale: 'en-US',
      baseURL: this.server.url,
      ...options,
    });
    const page = await context.newPage();
    page.on('dialog', (dialog) => assert.fail(`no script of data may run: ${dialog.message()}`));
    await page.goto(path);
    return page;
  }
}

/** Numbers are there, and nothing is on its way. */
export async function settled(page: Page): Promise<void> {
  await page.waitForSelector('.figure-value');
  await expect.poll(() => page.locator('.stale, .bone, [aria-busy]').count()).toBe(0);
  // For a moment a panel that waits is empty, and says nothing of it.
  const waiting = page.locator('[data-panel]:not(:has(tbody, .empty, .failure:not([hidden])))');
  await expect.poll(() => waiting.count()).toBe(0);
}
export const figure = (page: Page, metric: string) => page.locator(`[data-metric="${metric}"] .figure-value`);
export const visitors = (page: Page) => expect.poll(() => figure(page, 'visitors').textContent());
/** Rows of a panel: name and first number. */
export const rows = (page: Page, panel: string): Promise<readonly (readonly [string, string])[]> =>
  page.locator(`[data-panel="${panel}"] tbody tr`).evaluateAll((found) =>
    found.map((row) => {
      const of = row as unknown as { querySelector(selector: string): { textContent: string } };
      return [of.querySelector('.name').textContent, of.querySelector('td').textContent] as const;
    }),
  );
/** Rows with the same number stand in no order that matters. */
export const shows = (page: Page, panel: string) =>
  expect.poll(async () =>
    (await rows(page, panel)).toSorted((a, b) => Number(b[1]) - Number(a[1]) || (a[0] < b[0] ? -1 : 1)),
  );
export const search = (page: Page): URLSearchParams => new URL(page.url()).searchParams;
export const row = (page: Page, panel: string, name: string) =>
  page.locator(`[data-panel="${panel}"] tbody button.row-name`, { hasText: name }).first();

/**
 * How much of the chart's canvas is drawn in a colour of tokens.css, from one point of `points` to the next: the share of
 * its columns of pixels that have it. 1: a line; about a half: a dashed one; 0: none.
 */
export const drawn = (page: Page, colour: '--accent' | '--compare', from: number, points: number): Promise<number> =>
  page.evaluate(`(() => {
    const canvas = document.querySelector('.chart canvas');
    const [around, over] = [canvas, document.querySelector('.chart .u-over')].map((one) => one.getBoundingClientRect());
    const step = over.width / ${points - 1};
    // The points themselves are drawn in other colours.
    const left = Math.round(over.left - around.left + ${from} * step + 8);
    const [width, height] = [Math.round(step - 16), Math.round(over.bottom - around.top)];
    const pixels = canvas.getContext('2d').getImageData(left, 0, width, height).data;
    const probe = document.createElement('canvas').getContext('2d');
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('${colour}').trim();
    probe.fillRect(0, 0, 1, 1);
    const wanted = probe.getImageData(0, 0, 1, 1).data;
    let found = 0;
    for (let x = 0; x < width; x += 1)
      for (let y = 0; y < height; y += 1) {
        const at = 4 * (y * width + x);
        const far = [0, 1, 2].reduce((sum, i) => sum + Math.abs(pixels[at + i] - wanted[i]), 0);
        if (pixels[at + 3] < 200 || far > 40) continue;
        found += 1;
        break;
      }
    return found / width;
  })()`);
