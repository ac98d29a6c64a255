/** Guard feed: when an acceptor begins to listen, and what it does while the registry worker is away. */
import { expect, onTestFinished, test } from 'vitest';
import { type GuardFeed, openGuard, type SitesRequest } from '../../../src/analytics/access/guard-feed.ts';
import type { HeldSite, SitesAnswer } from '../../../src/analytics/access/site-registry.ts';

const options = { access: 'keys', pepper: undefined, now: () => 0 } as const;
const site: HeldSite = {
  site: 1,
  version: 7,
  gone: false,
  names: ['shop'],
  origins: [],
  keys: [],
  keyed: false,
  retentionDays: null,
};
const anybody = { key: '', origin: '' };

async function opened(
  ask: (worker: string, question: unknown) => Promise<SitesAnswer | undefined>,
  rehearsing = false,
): Promise<GuardFeed> {
  const feed = await openGuard({ ask, rehearsing }, options);
  onTestFinished(() => feed.close());
  return feed;
}

test('it opens when the sites are known: after a worker that starts, and one that has read nothing yet', async () => {
  const asked: SitesRequest[] = [];
  const feed = await opened(async (worker, question) => {
    asked.push(question as SitesRequest);
    expect(worker).toBe('registry');
    if (asked.length === 1) throw new Error('the worker is not running');
    if (asked.length === 2) return undefined;
    const more = asked.length === 3;
    return { base: 5, version: more ? 7 : 8, items: [more ? site : { ...site, site: 2, names: ['blog'] }], more };
  });
  expect(asked.map(({ base, since }) => [base, since])).toEqual([
    [0, 0],
    [0, 0],
    [0, 0],
    [5, 7],
  ]);
  expect(['shop', 'blog', 'other'].map((name) => feed.guard.ingest(name, anybody))).toEqual([
    'ok',
    'ok',
    'unknown_site',
  ]);
});

test('it asks every second, one question at a time, and keeps what it has while there is no answer', async () => {
  let answer: (value: SitesAnswer) => void = () => undefined;
  let asked = 0;
  const feed = await opened(() => {
    asked += 1;
    if (asked === 1) return Promise.resolve({ base: 5, version: 7, items: [site], more: false });
    if (asked === 2) return Promise.reject(new Error('the worker has died'));
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  await expect.poll(() => asked).toBe(3);
  const since = performance.now();
  await expect.poll(() => performance.now() - since > 1200).toBe(true);
  expect(asked).toBe(3);
  expect(feed.guard.ingest('shop', anybody)).toBe('ok');
  answer({ base: 5, version: 8, items: [{ ...site, version: 8, keyed: true }], more: false });
  await expect.poll(() => feed.guard.ingest('shop', anybody)).toBe('key_required');
});

test('a rehearsal asks nobody and is open', async () => {
  const feed = await opened(() => Promise.reject(new Error('nobody is there')), true);
  expect(feed.guard.open).toBe(true);
});

test('after a few seconds without an answer it opens all the same, and refuses everything', async () => {
  const feed = await opened(() => new Promise(() => undefined));
  expect(feed.guard.ingest('shop', anybody)).toBe('unread');
  expect(feed.guard.read('shop', '')).toBe('unread');
});
