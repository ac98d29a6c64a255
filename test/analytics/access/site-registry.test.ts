/** Site registry against a real Postgres: what it learns, how fast, and what it does while Postgres is away. */
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { SiteGuard } from '../../../src/analytics/access/site-guard.ts';
import { SiteRegistry } from '../../../src/analytics/access/site-registry.ts';
import {
  addKey,
  addSite,
  renameSite,
  revokeKey,
  SITES_MAX,
  unregisterSite,
} from '../../../src/analytics/access/sites.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { migrateUp } from '../../../src/store/postgres/migrate.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';

const PORT = 21703;
const PEPPER = '0123456789abcdef0123456789abcdef';
const folder = new URL('../../../src/analytics/migrations/', import.meta.url);
const plain = { origins: undefined, timeZone: undefined, retentionDays: undefined };

let server: PostgresServer;
let link: PostgresLink;
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  const scope = { onTestFinished: (fn: () => unknown) => undo.push(fn) };
  server = await startPostgres(scope, { port: PORT, settings: fastSettings, own: true });
  await migrateUp({ dsn: server.dsn, service: 'analytics', folder, tell: () => undefined });
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});
beforeEach(async () => {
  link = await openLink(server.dsn);
  await link.query('TRUNCATE sites, site_changes CASCADE');
  onTestFinished(() => link.close());
});

/** `pepper`: '' for none. `deaf`: its session hears no NOTIFY. */
function follow({ pepper = PEPPER, deaf = false } = {}) {
  const lines: string[] = [];
  const note = (_: object, text: string) => void lines.push(text);
  const end = new AbortController();
  let ready = false;
  const registry = new SiteRegistry({
    open: async () => {
      const own = await openLink(server.dsn, { connectTimeoutMs: 1000, queryTimeoutMs: 2000 });
      const query = own.query.bind(own);
      if (deaf) own.query = (sql, values) => query(sql.startsWith('LISTEN') ? 'SELECT' : sql, values);
      return own;
    },
    log: { info: note, warn: note } as never,
    ready: () => {
      ready = true;
    },
    pepper: pepper === '' ? undefined : pepper,
  });
  const ended = registry.run(end.signal);
  onTestFinished(async () => {
    end.abort();
    await ended;
  });
  const guard = new SiteGuard({ access: 'keys', pepper: PEPPER, now: Date.now });
  /** As an acceptor does it. */
  const judge = (siteId: string, key = ''): string => {
    for (let more = true; more; ) {
      const answer = registry.answer(guard.question);
      more = answer !== undefined && guard.take(answer);
    }
    return guard.ingest(siteId, { key, origin: '' });
  };
  return { registry, guard, judge, lines, isReady: () => ready };
}

test('changes by the tool are in force at once: added, keyed, renamed, revoked, removed', async () => {
  const { judge, guard, lines, isReady } = follow();
  expect(judge('shop')).toBe('unread');
  await expect.poll(() => judge('shop')).toBe('ok');
  expect([guard.open, isReady()]).toEqual([true, true]);
  expect(lines).toEqual([expect.stringMatching(/^no site is registered: everybody may send/)]);
  await addSite(link, 'shop', plain);
  await expect.poll(() => judge('other')).toBe('unknown_site');
  expect(judge('shop')).toBe('ok');
  const { text, id } = await addKey(link, PEPPER, 'shop', { scope: 'ingest', label: '', expiresAt: undefined });
  await expect.poll(() => judge('shop')).toBe('key_required');
  expect(judge('shop', text)).toBe('ok');
  await renameSite(link, 'shop', 'store');
  await expect.poll(() => judge('store', text)).toBe('ok');
  expect(judge('shop', text)).toBe('ok');
  expect(guard.retentionDays('store')).toBe(Number.POSITIVE_INFINITY);
  await addSite(link, 'store', { ...plain, retentionDays: 3 });
  await expect.poll(() => judge('store', text) && guard.retentionDays('store')).toBe(3);
  expect([guard.retentionDays('shop'), guard.retentionDays('other')]).toEqual([3, Number.POSITIVE_INFINITY]);
  await revokeKey(link, id);
  await expect.poll(() => judge('store', text)).toBe('key_invalid');
  // Revoking the last key does not open the site.
  expect(judge('store')).toBe('key_required');
  await addSite(link, 'last', plain);
  await unregisterSite(link, 'store');
  await expect.poll(() => judge('store')).toBe('unknown_site');
  await link.query('DELETE FROM sites');
  await expect.poll(() => guard.open || judge('last')).toBe(true);
});

test('sites that events make wake nobody, and are not registered', async () => {
  await addSite(link, 'shop', plain);
  const { judge, registry, guard } = follow();
  await expect.poll(() => judge('shop')).toBe('ok');
  const before = registry.answer({ base: 0, since: 0 })!.version;
  await link.query("INSERT INTO sites (site_id) SELECT 'wild-' || n FROM generate_series(1, 100) n");
  await addSite(link, 'next', plain);
  await expect.poll(() => judge('next')).toBe('ok');
  expect(judge('wild-1')).toBe('unknown_site');
  expect(guard.question.since).toBe(before + 1);
});

test('behind a pooler that passes no notifications on, the look of every second finds a change', async () => {
  const { judge } = follow({ deaf: true });
  await expect.poll(() => judge('shop')).toBe('ok');
  await addSite(link, 'shop', plain);
  await expect.poll(() => judge('other')).toBe('unknown_site');
});

test('several thousand sites come in pages, to the registry and from it', async () => {
  await link.query("INSERT INTO sites (site_id, registered) SELECT 'site-' || n, true FROM generate_series(1, 4500) n");
  const { judge, registry } = follow();
  await expect.poll(() => judge('site-4500')).toBe('ok');
  expect(judge('site-1')).toBe('ok');
  const first = registry.answer({ base: 0, since: 0 })!;
  expect([first.items.length, first.more]).toEqual([500, true]);
  // Who asks a registry that was started again gets everything, whatever version it has.
  expect(registry.answer({ base: first.base + 1, since: 4500 })).toEqual(first);
});

test('however many sites were registered and are gone, a registry reads those that are there', async () => {
  await link.query('INSERT INTO site_changes SELECT 1000000 + n, n FROM generate_series(1, $1::int) n', [
    2 * SITES_MAX + 1,
  ]);
  await addSite(link, 'shop', plain);
  await addSite(link, 'next', plain);
  await unregisterSite(link, 'next');
  const { judge, registry } = follow();
  await expect.poll(() => judge('shop')).toBe('ok');
  expect(judge('next')).toBe('unknown_site');
  // Whoever has read it asks for nothing that it has passed over.
  const { items, version } = registry.answer({ base: 0, since: 0 })!;
  expect([items.length, version]).toEqual([1, 2 * SITES_MAX + 4]);
  await unregisterSite(link, 'shop');
  await expect.poll(() => judge('other')).toBe('ok');
});

test('while Postgres is away the last state stays in force, and afterwards everything is read anew', async () => {
  await addSite(link, 'shop', plain);
  const { judge, registry, lines } = follow();
  await expect.poll(() => judge('shop')).toBe('ok');
  const { base } = registry.answer({ base: 0, since: 0 })!;
  await server.kill9();
  await expect.poll(() => lines.some((line) => /cannot be read; those that were read last stay/.test(line))).toBe(true);
  expect([judge('shop'), judge('other')]).toEqual(['ok', 'unknown_site']);
  await server.restart();
  link = await openLink(server.dsn);
  // A copy of the tables that is older than what was seen: the numbers start again.
  await link.query('TRUNCATE sites, site_changes CASCADE');
  await addSite(link, 'older', plain);
  // Whoever reads between the two finds no site at all, and lets everybody send.
  await expect.poll(() => [judge('older'), judge('shop')]).toEqual(['ok', 'unknown_site']);
  expect(registry.answer({ base: 0, since: 0 })!.base).not.toBe(base);
});

test('another copy of the tables with as many changes, put in place under a session, is read anew', async () => {
  await addSite(link, 'shop', plain);
  const { judge, registry } = follow();
  await expect.poll(() => judge('shop')).toBe('ok');
  const { version } = registry.answer({ base: 0, since: 0 })!;
  await link.query('BEGIN');
  await link.query('TRUNCATE sites, site_changes CASCADE');
  await addSite(link, 'older', plain);
  await link.query('COMMIT');
  await expect.poll(() => [judge('older'), judge('shop')]).toEqual(['ok', 'unknown_site']);
  expect(registry.answer({ base: 0, since: 0 })!.version).toBe(version);
});

test('keys without KEY_PEPPER, and those made under another one, are warned of', async () => {
  await addSite(link, 'shop', plain);
  await addKey(link, PEPPER, 'shop', { scope: 'read', label: '', expiresAt: undefined });
  const right = follow();
  const wrong = follow({ pepper: 'another pepper of 32 characters..' });
  const strange = 'sites have keys that were made under another KEY_PEPPER: those are refused';
  await expect.poll(() => wrong.lines).toContain(strange);
  const { lines } = follow({ pepper: '' });
  await expect.poll(() => lines).toContain('sites have keys and KEY_PEPPER is not set: every key is refused');
  await expect.poll(() => right.judge('shop')).toBe('ok');
  expect(right.lines).not.toContain(strange);
});
