/**
 * Goal: what somebody reads on the dashboard are exactly the numbers of the events that were sent, in every period, under
 * every filter, in every panel and file, and its address says all.
 * Method: dashboard.ts.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { fileScope } from '../servers/scope.ts';
import {
  Dashboard,
  dateOf,
  drawn,
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

const file = fileScope();
let on: Dashboard;
beforeAll(async () => {
  on = await Dashboard.start(file, 23_010);
});

test('the figures are those of the events, with the comparison of each', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await settled(page);
  const shown = await page.locator('.figure').evaluateAll((found) =>
    found.map((one) => {
      const of = one as unknown as { querySelector(selector: string): { textContent: string } | null };
      return [of.querySelector('.figure-name')?.textContent, of.querySelector('.figure-value')?.textContent];
    }),
  );
  assert.deepEqual(shown, [
    ['Visitors', '4'],
    ['Visits', '4'],
    ['Views', '7'],
    ['Views per visit', '1.75'],
    ['Bounce rate', '25%'],
    ['Visit duration', '0s'],
    ['Events', '9'],
  ]);
  // A screen reader hears it.
  await expect.poll(() => page.locator('#announcements').textContent()).toMatch(/^4 visitors, /);
  const change = page.locator('[data-metric="visitors"] .figure-change');
  // Yesterday until now: both visitors came at midnight.
  await expect.poll(() => change.textContent()).toMatch(/100%.*from 2$/);
  await page.getByRole('button', { name: 'vs previous' }).click();
  await page.getByRole('button', { name: 'Year before' }).click();
  await expect.poll(() => change.textContent()).toMatch(/from 1$/);
  assert.equal(search(page).get('compare'), 'year');
  await page.keyboard.press('c');
  await expect.poll(() => search(page).get('compare')).toBe('none');
  await expect.poll(() => change.textContent()).toBe('');
  await expect.poll(() => page.locator('.notes').textContent()).toContain('1 event of a bot');
  for (const metric of ['visits', 'views', 'views_per_visit', 'bounce_rate', 'visit_duration', 'events']) {
    await page.locator(`[data-metric="${metric}"]`).click();
    const title = await page.locator(`[data-metric="${metric}"] .figure-name`).textContent();
    await expect.poll(() => page.locator('.chart').getAttribute('aria-label')).toContain(title!);
    assert.equal(search(page).get('metric'), metric);
  }
  assert.equal(await page.locator('.chart canvas').count(), 1);
  // What the chart draws stands in a table for a screen reader: the running hour and the comparison are named.
  await page.goto(`/?site=${SITE}&period=7d`);
  await settled(page);
  const table = page.locator('.summary table').filter({ hasText: 'so far' });
  await expect.poll(() => table.locator('tbody tr').count()).toBe(7);
  await expect.poll(() => table.locator('tbody tr').last().locator('th').textContent()).toMatch(/, so far$/);
  assert.deepEqual((await table.locator('tbody tr').last().locator('td').allTextContents())[0], '4');
  // And it is drawn: what runs is dashed, what is over is not, and the comparison stands behind both.
  const line = (colour: '--accent' | '--compare', from: number) => drawn(page, colour, from, 7);
  await expect.poll(() => line('--accent', 4)).toBeGreaterThan(0.9);
  await expect.poll(() => line('--accent', 5)).toBeLessThan(0.8);
  assert.ok((await line('--accent', 5)) > 0.2);
  await page.goto(`/?site=${SITE}&period=7d&compare=none`);
  await settled(page);
  await expect.poll(() => line('--accent', 4)).toBeGreaterThan(0.9);
  assert.equal(await line('--compare', 5), 0);
  await page.goto(`/?site=${SITE}&period=7d&compare=year`);
  await settled(page);
  await expect.poll(() => line('--compare', 5)).toBeGreaterThan(0.5);
  await page.goto(`/?site=${SITE}&period=7d`);
  await settled(page);
  // A point says what it is, and leads into its day.
  const over = page.locator('.chart .u-over');
  const { width, height } = (await over.boundingBox())!;
  const last = { x: width - 2, y: height / 2 };
  await over.hover({ position: last });
  await expect.poll(() => page.locator('.tip').textContent()).toMatch(/^Visitors4.*so far.*0/);
  await over.click({ position: last });
  await expect
    .poll(() => [search(page).get('period'), search(page).get('from'), search(page).get('to')])
    .toEqual(['custom', dateOf(0), dateOf(0)]);
  await visitors(page).toBe('4');
});

test('periods: each shows its days, by menu and by key', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await visitors(page).toBe('4');
  const month = dateOf(0).slice(0, 7);
  const sameMonth = dateOf(1).startsWith(month);
  const sameYear = dateOf(1).startsWith(dateOf(0).slice(0, 4));
  const expected = [
    ['Y', 'yesterday', '2'],
    ['W', '7d', '6'],
    ['D', '30d', '6'],
    ['M', 'month', sameMonth ? '6' : '4'],
    ['P', 'last_month', sameMonth ? '0' : '2'],
    ['J', 'year', sameYear ? '6' : '4'],
    ['A', 'all', '7'],
    ['T', 'today', '4'],
  ] as const;
  for (const [key, period, count] of expected) {
    await page.keyboard.press(key);
    await visitors(page).toBe(count);
    assert.equal(search(page).get('period') ?? '30d', period);
  }
  await page.keyboard.press('r');
  await expect.poll(() => page.evaluate('document.activeElement.name')).toBe('from');
  await page.getByLabel('From').fill(dateOf(1));
  await page.getByLabel('To', { exact: true }).fill(dateOf(1));
  await page.getByRole('button', { name: 'Show' }).click();
  await visitors(page).toBe('2');
  assert.deepEqual([search(page).get('from'), search(page).get('to')], [dateOf(1), dateOf(1)]);
  await page.goBack();
  await visitors(page).toBe('4');
  await page.getByRole('button', { name: 'Today', exact: true }).click();
  await page.getByRole('button', { name: 'Last 7 days' }).click();
  await visitors(page).toBe('6');
  // The menu begins where one is, and goes on by the arrows.
  await page.getByRole('button', { name: 'Last 7 days' }).click();
  // The button bears the same words, and has the focus until the menu has opened.
  const focused = () =>
    page.evaluate(
      `document.activeElement.closest('[popover]') === null ? '' : document.activeElement.textContent`,
    ) as Promise<string>;
  await expect.poll(focused).toBe('Last 7 days');
  await page.keyboard.press('ArrowDown');
  assert.match(await focused(), /^Last 30 days/);
  await page.keyboard.press('Escape');
  for (const interval of ['Hours', 'Weeks', 'Months', 'Days']) {
    await page.locator('.chart-head .button').click();
    await page.getByRole('button', { name: interval, exact: true }).click();
    await expect.poll(() => page.locator('.chart-head .button').textContent()).toBe(interval);
  }
});

test('panels: every tab shows its rows; events open into properties and their values', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  const evil = `/${EVIL}`;
  await shows(page, 'pages').toEqual([
    ['/', '3'],
    ['/pricing', '2'],
    [evil, '1'],
    ['/blog/a', '1'],
  ]);
  const tab = async (panel: string, name: string) =>
    page.locator(`[data-panel="${panel}"] .tab`, { hasText: name }).first().click();
  await tab('pages', 'Entry');
  await shows(page, 'pages').toEqual([
    ['/', '2'],
    [evil, '1'],
    ['/blog/a', '1'],
  ]);
  await tab('pages', 'Exit');
  await shows(page, 'pages').toEqual([
    ['/', '2'],
    ['/pricing', '2'],
  ]);
  const sources = async () => new Map(await rows(page, 'sources'));
  await expect.poll(async () => (await sources()).get('Google')).toBe('1');
  await tab('sources', 'Referrers');
  await expect.poll(async () => [...(await sources()).keys()].some((name) => name.includes('evil.example'))).toBe(true);
  const campaigns = [
    ['Campaign', 'spring'],
    ['Source', 'mail'],
    ['Medium', 'newsletter'],
    ['Content', 'top'],
    ['Term', 'rings'],
  ] as const;
  for (const [key, value] of campaigns) {
    await page.locator('[data-panel="sources"] .button.tab').click();
    await page.locator('[data-panel="sources"] .choice', { hasText: key }).click();
    await expect.poll(async () => (await sources()).get(value)).toBe('1');
  }
  await shows(page, 'places').toEqual([
    ['Germany', '2'],
    ['United States', '2'],
  ]);
  await tab('places', 'Regions');
  // By their names, which the GeoIP database has.
  await shows(page, 'places').toEqual([
    ['California', '2'],
    ['Land Berlin', '2'],
  ]);
  await shows(page, 'devices').toEqual([
    ['Chrome', '2'],
    ['Firefox', '1'],
    ['Mobile Safari', '1'],
  ]);
  await tab('devices', 'Systems');
  await expect.poll(async () => new Map(await rows(page, 'devices')).get('Windows')).toBe('2');
  await tab('devices', 'Devices');
  await expect.poll(async () => new Map(await rows(page, 'devices')).get('Mobile')).toBe('1');
  await shows(page, 'events').toEqual([
    ['page_view', '4'],
    ['signup', '2'],
  ]);
  await page.getByRole('button', { name: 'Properties of signup' }).click();
  await shows(page, 'events').toEqual([['plan', '2']]);
  await row(page, 'events', 'plan').click();
  await shows(page, 'events').toEqual([
    ['free', '1'],
    ['pro', '1'],
  ]);
  await row(page, 'events', 'pro').click();
  await visitors(page).toBe('1');
  assert.equal(search(page).get('is:prop:signup:plan'), 'pro');
});

test('filters combine, show as chips, go one by one; the address is the view, for another person as well', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await row(page, 'places', 'Germany').click();
  await visitors(page).toBe('2');
  await row(page, 'devices', 'Chrome').click();
  await visitors(page).toBe('1');
  await page.goBack();
  await visitors(page).toBe('2');
  await page.goForward();
  await visitors(page).toBe('1');
  const other = await on.open(page.url().slice(on.server.url.length));
  t.onTestFinished(() => other.context().close());
  await visitors(other).toBe('1');
  await settled(other);
  await settled(page);
  assert.equal(await other.locator('.site-page').textContent(), await page.locator('.site-page').textContent());
  await page.getByRole('button', { name: 'Remove filter: Country is Germany' }).click();
  await visitors(page).toBe('2');
  await page.keyboard.press('x');
  await visitors(page).toBe('4');
  await row(page, 'places', 'Germany').click({ modifiers: ['Alt'] });
  await visitors(page).toBe('2');
  assert.equal(search(page).get('is_not:country'), 'DE');
  await page.keyboard.press('x');
  // A row of each panel filters, also by the keyboard alone.
  const ofPanels = [
    ['sources', 'Google', 'is:source', 'Google', '1'],
    ['pages', '/blog/a', 'is:path', '/blog/a', '1'],
    ['places', 'Germany', 'is:country', 'DE', '2'],
    ['devices', 'Mobile Safari', 'is:browser', 'Mobile Safari', '1'],
  ] as const;
  await visitors(page).toBe('4');
  for (const [panel, name, parameter, value, count] of ofPanels) {
    await row(page, panel, name).focus();
    await page.keyboard.press('Enter');
    await visitors(page).toBe(count);
    assert.deepEqual(search(page).getAll(parameter), [value]);
    await page.keyboard.press('x');
    await visitors(page).toBe('4');
  }
  // A chip opens its filter to be changed.
  await page.goto(`/?site=${SITE}&period=today&is:browser=Firefox`);
  await visitors(page).toBe('1');
  await page.locator('.chip-text').click();
  await page.getByRole('button', { name: 'Remove Firefox' }).click();
  await page.getByLabel('Chrome').check();
  await page.getByRole('button', { name: 'Apply' }).click();
  await visitors(page).toBe('2');
  assert.deepEqual(search(page).getAll('is:browser'), ['Chrome']);
  await page.keyboard.press('x');
  // One that becomes like another joins it; X lets go of all.
  await page.goto(`/?site=${SITE}&period=today&is:browser=Firefox&is_not:browser=Chrome&is:country=DE`);
  await settled(page);
  await page.locator('.chip-text', { hasText: 'is not' }).click();
  await page.getByLabel('How', { exact: true }).selectOption('is');
  await page.getByRole('button', { name: 'Apply' }).click();
  await expect.poll(() => search(page).getAll('is:browser').toSorted()).toEqual(['Chrome', 'Firefox']);
  assert.equal(search(page).has('is_not:browser'), false);
  await expect.poll(() => page.locator('.chip').count()).toBe(2);
  await page.keyboard.press('x');
  await visitors(page).toBe('4');
  assert.equal(await page.locator('.chip').count(), 0);
  // With each operator: of seven views.
  const views = () => expect.poll(() => figure(page, 'views').textContent());
  const cases = [
    ['is', '/pricing', '2'],
    ['is_not', '/pricing', '5'],
    ['contains', 'blog', '1'],
    ['contains_not', 'pricing', '5'],
    ['matches', '/blog/*', '1'],
    ['matches_not', '/blog/*', '6'],
  ] as const;
  for (const [op, value, count] of cases) {
    await page.keyboard.press('f');
    await page.getByLabel('How', { exact: true }).selectOption(op);
    await page.getByLabel('Value', { exact: true }).fill(value);
    await page.getByRole('button', { name: 'Apply' }).click();
    await views().toBe(count);
    assert.equal(search(page).get(`${op}:path`), value);
    await page.locator('.chip-close').click();
    await views().toBe('7');
  }
  // Suggestions are values; several of one filter are alternatives.
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await page.getByLabel('What', { exact: true }).selectOption('browser');
  await page.getByLabel('Firefox').check();
  await page.getByLabel('Mobile Safari').check();
  await page.getByRole('button', { name: 'Apply' }).click();
  await visitors(page).toBe('2');
  assert.deepEqual(search(page).getAll('is:browser'), ['Firefox', 'Mobile Safari']);
});

test('each dimension can be filtered by: a value that is suggested has the visitors that stand beside it', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  const all = await on.visitorsToday();
  await visitors(page).toBe(all);
  // Others are filtered by in the tests around.
  const dimensions = ['entry_page', 'exit_page', 'source', 'referrer', 'device', 'os', 'event_type'] as const;
  const campaigns = ['utm_campaign', 'utm_source', 'utm_medium', 'utm_content', 'utm_term'] as const;
  for (const dimension of [...dimensions, ...campaigns]) {
    await page.keyboard.press('f');
    await page.getByLabel('What', { exact: true }).selectOption(dimension);
    const first = page.locator('.suggestion').first();
    await first.getByRole('checkbox').check();
    const beside = (await first.locator('.number').textContent())!;
    await page.getByRole('button', { name: 'Apply' }).click();
    await visitors(page).toBe(beside);
    assert.equal(search(page).has(`is:${dimension}`), true);
    await page.keyboard.press('x');
    await visitors(page).toBe(all);
  }
});

// Goal: what is no exact number of one value is shown as what it is. Method: more paths and values of a property than a
// day has places for, and more signed-in visitors of several days than are kept as a list.
test('(other), estimates and engaged time are shown as what they are', async (t) => {
  const site = 'many.example';
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
  await on.send(site, '10.1.0.1', 'chrome', [
    ...numbers(24).map((i) => ({ path: `/p/${i}` })),
    { event_type: 'engagement', path: '/p/0', props: { ms: 60_000 } },
  ]);
  await on.send(
    site,
    '10.2.0.1',
    'firefox',
    numbers(24).map((order) => ({ event_type: 'buy', path: '/p/0', props: { order } })),
  );
  await on.send(
    site,
    '10.1.0.2',
    'chrome',
    numbers(450).map((i) => ({ path: '/old', user_id: `user ${i}`, timestamp: `${dateOf(1)}T00:00:00Z` })),
  );
  const page = await on.open(`/?site=${site}&period=today&events=prop:buy:order`);
  t.onTestFinished(() => page.context().close());
  // Until all of it is counted.
  await expect
    .poll(async () => {
      await page.reload();
      await settled(page);
      return page.locator('.figure-value').allTextContents();
    })
    .toEqual(['2', '2', '24', '12', '0%', '0s', '30s', '48']);
  const other = page.locator('[data-panel="pages"] tr.other');
  assert.deepEqual(await other.locator('.name, td').allTextContents(), ['(other)', '1', '50%']);
  assert.equal(await other.getByRole('button').count(), 0);
  assert.equal(await page.locator('[data-panel="pages"] .more').textContent(), 'All 20');
  // A property has one of its own.
  assert.equal(await page.locator('[data-panel="events"] tr.other .name').textContent(), '(other)');
  await page.goto(`/?site=${site}&period=7d&details=path`);
  await expect.poll(() => page.locator('dialog tr.other .name').textContent()).toBe('(other)');
  const estimate = page.locator('dialog tr', { hasText: '/old' }).locator('td').first();
  assert.match((await estimate.textContent())!, /^≈4\d\d$/);
  assert.match((await estimate.getAttribute('title'))!, /^4\d\d ± \d+, an estimate$/);
  assert.match((await page.locator('dialog .hint').textContent())!, /estimated/);
  await page.keyboard.press('Escape');
  await settled(page);
  assert.match((await figure(page, 'visitors').textContent())!, /^4\d\d ±\d/);
  await expect.poll(() => page.locator('.notes').textContent()).toContain('estimated');
  await page.screenshot({ path: join(PICTURES, 'many.png'), fullPage: true });
});

test('goals: made and removed where they are shown, with their rate', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await settled(page);
  await page.getByRole('button', { name: 'Edit goals' }).click();
  await page.getByLabel('What it counts').fill('signup');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  const goals = () => page.locator('.goal-list .name').allTextContents();
  await expect.poll(goals).toEqual(['signup']);
  await page.getByLabel('Kind').selectOption('path');
  await page.getByLabel('What it counts').fill('/blog/**');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect.poll(goals).toEqual(['signup', '/blog/**']);
  await page.keyboard.press('Escape');
  await shows(page, 'goals').toEqual([
    ['signup', '2'],
    ['/blog/**', '1'],
  ]);
  await expect.poll(() => page.locator('[data-panel="goals"] td').allTextContents()).toEqual(['2', '50%', '1', '25%']);
  await row(page, 'goals', 'signup').click();
  await visitors(page).toBe('2');
  // An event and a page: whoever reached one of them.
  await page.goto(`/?site=${SITE}&period=today&is:goal=signup`);
  await row(page, 'goals', '/blog/**').click();
  await expect.poll(() => search(page).getAll('is:goal')).toEqual(['signup', '/blog/**']);
  await visitors(page).toBe('2');
  await expect.poll(() => figure(page, 'views').textContent()).toBe('1');
  assert.equal(await page.locator('.failure').filter({ visible: true }).count(), 0);
  // A link may name a goal that is gone.
  await page.goto(`/?site=${SITE}&period=today&is:goal=gone`);
  await page.getByRole('button', { name: 'Clear all filters' }).first().click();
  await visitors(page).toBe('4');
  await page.getByRole('button', { name: 'Edit goals' }).click();
  for (const name of ['signup', '/blog/**'])
    await page.getByRole('button', { name: `Remove the goal ${name}` }).click();
  await expect.poll(() => page.locator('.goal-list .name').count()).toBe(0);
});

test('details: search, order, pages of a long list; files of a panel hold its rows', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await page.getByRole('button', { name: 'Details of Page', exact: true }).click();
  /** Rows with the same number stand in no order that matters. */
  const names = async () => (await page.locator('dialog tbody .name').allTextContents()).toSorted();
  await expect.poll(names).toEqual(['/', `/${EVIL}`, '/blog/a', '/pricing']);
  assert.equal(search(page).get('details'), 'path');
  await page.goBack();
  await expect.poll(() => page.locator('dialog').count()).toBe(0);
  await page.goForward();
  await expect.poll(names).toHaveLength(4);
  await page.getByLabel('Search in Page').fill('pri');
  await expect.poll(names).toEqual(['/pricing']);
  await page.getByLabel('Search in Page').fill('nothing like it');
  await expect.poll(() => page.locator('dialog .empty').textContent()).toContain('Nothing contains');
  await page.getByLabel('Search in Page').fill('');
  await page.locator('dialog .sort', { hasText: 'Events' }).click();
  await expect.poll(names).toHaveLength(4);
  await page.locator('dialog button.row-name', { hasText: '/blog/a' }).click();
  await visitors(page).toBe('1');
  assert.equal(await page.locator('dialog').count(), 0);
  await page.keyboard.press('x');
  await page.goto(`/?site=${SITE}&period=today&details=country`);
  await expect.poll(names).toEqual(['Germany', 'United States']);
  // By the names that are shown.
  await page.getByLabel('Search in Country').fill('german');
  await expect.poll(names).toEqual(['Germany']);
  // A browser takes the first Escape for the text of the search.
  await page.getByLabel('Search in Country').fill('');
  await page.keyboard.press('Escape');
  await expect.poll(() => search(page).get('details')).toBe(null);
  const href = await page.locator('[data-panel="pages"] .files a', { hasText: 'CSV' }).getAttribute('href');
  const csv = await on.server.get(href!);
  assert.equal(csv.status, 200);
  assert.match(await csv.text(), /^\/pricing,2\b/m);
  const json = await on.server.get(
    (await page.locator('[data-panel="places"] .files a', { hasText: 'JSON' }).getAttribute('href'))!,
  );
  assert.equal(json.status, 200);
  assert.ok(JSON.stringify(await json.json()).includes('"DE"'));
  // Every file that is offered, of the series too.
  const hrefs = await page
    .locator('.files a')
    .evaluateAll((links) =>
      links.map((link) => (link as unknown as { getAttribute(name: string): string }).getAttribute('href')),
    );
  assert.ok(hrefs.length >= 12, hrefs.join(' '));
  for (const one of hrefs) assert.equal((await on.server.get(one)).status, 200, one);
  // Under filters they hold what is shown, and no more.
  await page.goto(`/?site=${SITE}&period=today&is:country=DE`);
  await visitors(page).toBe('2');
  await settled(page);
  const linesOf = async (link: string) => {
    const file = await on.server.get((await page.locator(link).first().getAttribute('href'))!);
    return (await file.text()).trim().split('\r\n');
  };
  const [, ...pages] = await linesOf('[data-panel="pages"] .files a');
  assert.deepEqual(pages.map((line) => line.split(',').slice(0, 2).join(' ')).toSorted(), [
    '/ 1',
    '/blog/a 1',
    '/pricing 2',
  ]);
  const [head, ...hours] = await linesOf('.chart-head .files a');
  const views = head!.split(',').indexOf('views');
  assert.equal(
    hours.reduce((sum, line) => sum + Number(line.split(',')[views]), 0),
    4,
  );
});

test('details of an event open its properties and their values', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  const names = async () => (await page.locator('dialog tbody .name').allTextContents()).toSorted();
  await page.getByRole('button', { name: 'Properties of signup' }).click();
  await page.getByRole('button', { name: 'Details of Properties of signup' }).click();
  await expect.poll(names).toEqual(['plan']);
  await page.locator('dialog button.row-name', { hasText: 'plan' }).click();
  await expect.poll(names).toEqual(['free', 'pro']);
});

test('a region is called by its name wherever it is chosen, also in a view that a link leads to', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today&is:region=DE-BE`);
  t.onTestFinished(() => page.context().close());
  await visitors(page).toBe('2');
  await expect.poll(() => page.locator('.chip-text').textContent()).toBe('Region is Land Berlin');
  await page.keyboard.press('x');
  await visitors(page).toBe('4');
  await page.keyboard.press('f');
  await page.getByLabel('What', { exact: true }).selectOption('region');
  await page.getByLabel('California').check();
  await page.getByLabel('Value', { exact: true }).fill('land berlin');
  await page.getByLabel('Value', { exact: true }).press('Enter');
  await page.getByRole('button', { name: 'Apply' }).click();
  await visitors(page).toBe('4');
  assert.deepEqual(search(page).getAll('is:region'), ['US-CA', 'DE-BE']);
  await page.goto(`/?site=${SITE}&period=today&details=region`);
  const names = async () => (await page.locator('dialog tbody .name').allTextContents()).toSorted();
  await expect.poll(names).toEqual(['California', 'Land Berlin']);
  await page.getByLabel('Search in Region').fill('berl');
  await expect.poll(names).toEqual(['Land Berlin']);
});

test('a country is filtered by its name, also one that nobody came from', async (t) => {
  const page = await on.open(`/?site=${SITE}&period=today`);
  t.onTestFinished(() => page.context().close());
  await settled(page);
  for (const [name, code, many] of [
    ['germany', 'DE', '2'],
    ['Japan', 'JP', '0'],
  ] as const) {
    await page.keyboard.press('f');
    await page.getByLabel('What', { exact: true }).selectOption('country');
    await page.getByLabel('Value', { exact: true }).fill(name);
    await page.getByLabel('Value', { exact: true }).press('Enter');
    await page.getByRole('button', { name: 'Apply' }).click();
    await visitors(page).toBe(many);
    assert.equal(search(page).get('is:country'), code);
    await page.keyboard.press('x');
    await visitors(page).toBe('4');
  }
});
