/**
 * Opens the dashboard of analytics in a real Chromium as somebody does who comes for the first time: a browser without a
 * cache, the page, and everything it asks for until each panel shows its data.
 *
 *   bytes      on the wire, heads and bodies, compressed as they come; scripts, styles and answers of the API
 *   painted    first contentful paint (https://www.w3.org/TR/paint-timing/), since the navigation began
 *   shown      from then until no panel waits any more
 */
import { type Browser, chromium } from 'playwright-core';
import { ensureCommand } from '../../test/servers/apt.ts';

export interface Opened {
  readonly requests: number;
  readonly bytes: number;
  /** Of the files alone: page, scripts, styles, pictures. */
  readonly fileBytes: number;
  readonly paintedMs: number;
  readonly shownMs: number;
}

const PATIENCE_MS = 30_000;
/** Looked at once a frame, in the page: its policy lets no script evaluate a text, so waitForFunction() cannot. */
const NOBODY_WAITS = `new Promise((resolve) => {
  const look = () => {
    const shown = document.querySelector('.stale, .bone, [aria-busy]') === null;
    if (shown || performance.now() > ${PATIENCE_MS}) resolve(shown);
    else requestAnimationFrame(look);
  };
  look();
})`;
const AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36';

export async function withChromium<T>(use: (browser: Browser) => Promise<T>): Promise<T> {
  await ensureCommand('chromium', 'chromium');
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  try {
    return await use(browser);
  } finally {
    await browser.close();
  }
}

/** One visit of an address, with an empty cache. Throws when a panel failed. */
export async function openDashboard(browser: Browser, address: string): Promise<Opened> {
  const context = await browser.newContext({ userAgent: AGENT, viewport: { width: 1440, height: 900 } });
  try {
    const page = await context.newPage();
    const wire = await context.newCDPSession(page);
    const isFile = new Map<string, boolean>();
    let bytes = 0;
    let fileBytes = 0;
    wire.on('Network.requestWillBeSent', ({ requestId, request }) => {
      isFile.set(requestId, !new URL(request.url).pathname.startsWith('/api/'));
    });
    wire.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
      bytes += encodedDataLength;
      if (isFile.get(requestId) === true) fileBytes += encodedDataLength;
    });
    await wire.send('Network.enable');
    const began = performance.now();
    await page.goto(address, { waitUntil: 'load' });
    await page.locator('[aria-busy], .panel').first().waitFor({ timeout: PATIENCE_MS });
    if (!(await page.evaluate<boolean>(NOBODY_WAITS))) throw new Error(`all panels must show within ${PATIENCE_MS} ms`);
    const shownMs = performance.now() - began;
    const failed = (await page.locator('[role=alert]').allTextContents()).filter((text) => text !== '');
    if (failed.length > 0) throw new Error(`every panel must show its data: ${failed.join('; ')}`);
    const paintedMs = await page.evaluate(
      () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN,
    );
    return { requests: isFile.size, bytes, fileBytes, paintedMs, shownMs };
  } finally {
    await context.close();
  }
}
