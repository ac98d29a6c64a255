/** Registry against a real Postgres: what it learns, how fast, and what it does while Postgres is away. */
import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { seedBackends } from '../../../src/gateway/database/admin/backends.ts';
import { addKey, revokeKey, rotateKey } from '../../../src/gateway/database/admin/keys.ts';
import { setLimits, setNetworks, setQuota } from '../../../src/gateway/database/admin/limits.ts';
import { addUser, changeUser, removeUser } from '../../../src/gateway/database/admin/users.ts';
import { purge, tidyRules } from '../../../src/gateway/images/answers.ts';
import type { RegistryChange } from '../../../src/gateway/registry/registry.ts';
import { RegistryView } from '../../../src/gateway/registry/view.ts';
import { followRegistry, tidyChanges } from '../../../src/gateway/registry/worker.ts';
import { removeUnowned } from '../../../src/gateway/upload/store.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, PEPPER, startDatabase } from '../database.ts';

const scope = fileScope();
const actor = { name: 'test' };
let server: PostgresServer;
let link: PostgresLink;
beforeAll(async () => {
  server = await startDatabase(scope, 24000);
});
beforeEach(async () => {
  link = await openLink(server.dsn);
  await emptyTables(link);
  onTestFinished(() => link.close());
});

/** `deaf`: its session hears no NOTIFY. */
function follow({ deaf = false, itemsMax = 1_000_000 } = {}) {
  const lines: string[] = [];
  const note = (_: object, text: string) => void lines.push(text);
  const end = new AbortController();
  const follower = followRegistry({
    open: async () => {
      const own = await openLink(server.dsn, { connectTimeoutMs: 1000, queryTimeoutMs: 5000 });
      const query = own.query.bind(own);
      if (deaf) own.query = (sql, values) => query(sql.startsWith('LISTEN') ? 'SELECT' : sql, values);
      return own;
    },
    log: { info: note, warn: note } as never,
    ready: () => void lines.push('ready'),
    itemsMax,
  });
  const ended = follower.run(end.signal);
  onTestFinished(async () => {
    end.abort();
    await ended;
  });
  const view = new RegistryView((error) => {
    throw error;
  });
  const changes: RegistryChange[] = [];
  view.onChange((change) => void changes.push(change));
  /** As an acceptor does it. */
  const look = (): RegistryView => {
    for (let more = true; more; ) {
      const answer = follower.answer(view.question);
      more = answer !== undefined && view.take(answer);
    }
    return view;
  };
  return { follower, look, view, lines, changes };
}

const newUser = (name = 'ada') => addUser(link, actor, { username: name, email: `${name}@example.com` });

test('users, keys and all that they have are known, as the model says, and as they change', async () => {
  const { look, changes, lines } = follow();
  expect(look().known).toBe(false);
  await expect.poll(() => look().known).toBe(true);
  expect(lines).toEqual([expect.stringMatching(/^there is no key yet/), 'ready']);
  const { id } = await newUser();
  await setLimits(link, actor, id, { requests_per_minute: 60, burst: 10 });
  await setQuota(link, actor, id, { monthly_bytes: 2 ** 40 });
  await setNetworks(link, actor, id, ['10.0.0.0/8', '2001:db8::/32']);
  const expires = new Date(Date.now() + 3_600_000).toISOString();
  const made = await addKey(link, actor, PEPPER, id, {
    name: 'shop',
    scopes: ['upload', 'read'],
    expires_at: expires,
    networks: ['192.0.2.1'],
    limits: { requests_per_hour: 1000 },
  });
  await expect.poll(() => look().key(made.id)?.networks).toEqual(['192.0.2.1/32']);
  expect(look().user(id)).toEqual({
    id,
    username: 'ada',
    email: 'ada@example.com',
    active: true,
    rates: { requestsPerMinute: 60, burst: 10 },
    quota: { monthlyBytes: 2 ** 40 },
    networks: ['10.0.0.0/8', '2001:db8::/32'],
  });
  expect(look().key(made.id)).toEqual({
    id: made.id,
    userId: id,
    name: 'shop',
    scopes: ['read', 'upload'],
    secrets: [{ version: 1, digest: expect.stringMatching(/^[0-9a-f]{64}$/) }],
    expiresAtMs: Date.parse(expires),
    networks: ['192.0.2.1/32'],
    rates: { requestsPerHour: 1000 },
  });
  expect(changes.flatMap(({ users }) => users)).toContain(id);
  expect(changes.flatMap(({ keys }) => keys)).toContain(made.id);

  await rotateKey(link, actor, PEPPER, made.id, 60);
  await expect
    .poll(() =>
      look()
        .key(made.id)
        ?.secrets.map(({ version }) => version),
    )
    .toEqual([2, 1]);
  const [now, before] = look().key(made.id)!.secrets;
  expect(now).not.toHaveProperty('untilMs');
  expect(Math.abs(before!.untilMs! - Date.now() - 60_000)).toBeLessThan(5000);
  await changeUser(link, actor, id, { is_active: false });
  await expect.poll(() => look().user(id)?.active).toBe(false);
  await revokeKey(link, actor, made.id);
  await expect.poll(() => look().key(made.id)).toBeUndefined();
  const other = await addKey(link, actor, PEPPER, id, {});
  await expect.poll(() => look().key(other.id)).toMatchObject({ rates: {}, networks: [] });
  expect(look().key(other.id)).not.toHaveProperty('expiresAtMs');
  await removeUser(link, actor, id);
  await expect.poll(() => [look().user(id), look().key(other.id)]).toEqual([undefined, undefined]);
});

test('backends, purges and deleted uploads are known, and said in the change', async () => {
  const { look, changes } = follow();
  await expect.poll(() => look().known).toBe(true);
  const { id } = await newUser();
  await link.query("INSERT INTO backends (name, url, weight) VALUES ('a', 'http://127.0.0.1:1', 3)");
  await link.query("INSERT INTO cache_purges (source, prefix) VALUES ('local:///a', true), ('local:///b.jpg', false)");
  await expect
    .poll(() => look().purges.map(({ source, prefix }) => [source, prefix]))
    .toEqual([
      ['local:///a', true],
      ['local:///b.jpg', false],
    ]);
  expect(look().backends).toEqual([{ id: 1, name: 'a', url: 'http://127.0.0.1:1', weight: 3, draining: false }]);
  expect(Math.abs(look().purges[0]!.atMs - Date.now())).toBeLessThan(5000);
  changes.length = 0;
  await link.query('DELETE FROM cache_purges WHERE prefix');
  await link.query("UPDATE cache_purges SET source = ''");
  await expect.poll(() => look().purges.map(({ source }) => source)).toEqual(['']);
  expect(changes.flatMap(({ purges }) => purges.gone)).toEqual([1]);
  expect(changes.flatMap(({ purges }) => purges.rules)).toMatchObject([{ id: 2, source: '' }]);
  changes.length = 0;
  // What a check notes in the row is no change of the backend.
  await link.query('UPDATE backends SET is_healthy = false, last_health_check = now()');
  await link.query('UPDATE backends SET draining = true');
  await expect.poll(() => look().backends[0]?.draining).toBe(true);
  const none = { anew: false, users: [], keys: [], purges: { rules: [], gone: [] }, removed: [], disowned: [] };
  expect(changes).toEqual([{ ...none, backends: true }]);
  const sha = 'ab'.repeat(32);
  await link.query(
    `WITH up AS (INSERT INTO uploads VALUES (decode($1, 'hex'), 'ab/x.jpg', 1, 'jpeg', 1, 1) RETURNING sha256)
     INSERT INTO upload_owners SELECT gen_random_uuid(), $2, sha256 FROM up`,
    [sha, id],
  );
  await link.query('DELETE FROM upload_owners');
  await expect
    .poll(() => {
      look();
      return changes.flatMap(({ disowned }) => disowned);
    })
    .toEqual([{ userId: id, sha256: sha }]);
  await link.query('DELETE FROM uploads');
  await expect.poll(() => look() && changes.flatMap(({ removed }) => removed)).toEqual(['ab/x.jpg']);
});

test('however much is deleted and purged, a revoked key is refused, and a start knows everybody', async () => {
  const itemsMax = 40;
  const { folder } = temporaryFolder('ringmain-registry-');
  const { look, lines } = follow({ itemsMax });
  await expect.poll(() => look().known).toBe(true);
  const { id } = await newUser();
  const made = await addKey(link, actor, PEPPER, id, {});
  await expect.poll(() => look().key(made.id)).toBeDefined();
  // An upload that comes and goes leaves two marks and no rule; a source that is purged again and again has one rule.
  for (let n = 0; n < itemsMax; n++) {
    await link.query(
      `WITH up AS (INSERT INTO uploads VALUES (sha256($1::text::bytea), $1, 1, 'jpeg', 1, 1) RETURNING sha256)
       INSERT INTO upload_owners SELECT gen_random_uuid(), $2, sha256 FROM up`,
      [String(n), id],
    );
    await link.query('DELETE FROM upload_owners');
    await removeUnowned(link, folder, createHash('sha256').update(String(n)).digest('hex'));
    await purge(link, { source: 'local:///a', prefix: false });
  }
  expect((await link.query('SELECT source FROM cache_purges')).rows).toEqual([{ source: 'local:///a' }]);
  await revokeKey(link, actor, made.id);
  await expect.poll(() => look().key(made.id)).toBeUndefined();
  expect(lines).toEqual([expect.stringMatching(/^there is no key yet/), 'ready']);
  const kept = await addKey(link, actor, PEPPER, id, {});
  const other = follow({ itemsMax });
  await expect.poll(() => other.look().key(kept.id)).toBeDefined();
  // More than there is room for is said.
  const small = follow({ itemsMax: 2 });
  await expect.poll(() => small.lines).toEqual([expect.stringMatching(/^users and keys cannot be read/)]);
});

test('rules of purges beyond the bound become one, which ends all that was cached before those that stay', async () => {
  for (let n = 1; n <= 10; n++) await purge(link, { source: `local:///${n}`, prefix: n === 3 });
  const rules = async () =>
    (await link.query('SELECT id::int, source, prefix FROM cache_purges ORDER BY id')).rows.map((row) => [
      ...Object.values(row),
    ]);
  await tidyRules(link, 10);
  expect(await rules()).toHaveLength(10);
  for (let i = 0; i < 2; i++) {
    await tidyRules(link, 3);
    expect(await rules()).toEqual([
      [8, '', true],
      [9, 'local:///9', false],
      [10, 'local:///10', false],
    ]);
  }
  await link.query("UPDATE cache_purges SET created_at = now() - interval '61 days' WHERE id < 10");
  await tidyRules(link, 3);
  expect(await rules()).toEqual([[10, 'local:///10', false]]);
});

test('uploads that went with their user are one change; whoever reads anew passes them over, and is told so', async () => {
  const { look, changes, view } = follow();
  await expect.poll(() => look().known).toBe(true);
  expect(changes.map(({ anew }) => anew)).toEqual([true]);
  const { id } = await newUser();
  await link.query(
    `WITH up AS (INSERT INTO uploads SELECT sha256(n::text::bytea), n::text, 1, 'jpeg', 1, 1 FROM generate_series(1, 1200) n
       RETURNING sha256)
     INSERT INTO upload_owners SELECT gen_random_uuid(), $1, sha256 FROM up`,
    [id],
  );
  await removeUser(link, actor, id);
  await expect
    .poll(() => {
      look();
      return changes.flatMap(({ disowned }) => disowned).length;
    })
    .toBe(1200);
  expect(changes.filter(({ anew }) => anew)).toHaveLength(1);
  const other = follow();
  await expect.poll(() => other.look().known).toBe(true);
  expect(other.changes).toMatchObject([{ anew: true, disowned: [] }]);
  expect(other.follower.answer(other.view.question)).toMatchObject({ items: [], more: false });
  expect(other.view.question.since).toBe(view.question.since);
  await newUser('eve');
  await expect.poll(() => other.look().user(id + 1)?.username).toBe('eve');
});

test('the backends of the configuration fill an empty table, once, however many start at once', async () => {
  const given = [
    { url: 'http://imgproxy-1:8080', weight: 1 },
    { url: 'http://imgproxy-2:8080', weight: 2 },
  ];
  const other = await openLink(server.dsn);
  onTestFinished(() => other.close());
  expect((await Promise.all([seedBackends(link, given), seedBackends(other, given)])).sort()).toEqual([0, 2]);
  const { look } = follow();
  await expect
    .poll(() => look().backends.map(({ name, weight }) => [name, weight]))
    .toEqual([
      ['imgproxy-1:8080', 1],
      ['imgproxy-2:8080', 2],
    ]);
  await link.query('DELETE FROM backends WHERE weight = 2');
  expect(await seedBackends(link, given)).toBe(0);
});

test('the time of the last use wakes nobody', async () => {
  const { id } = await newUser();
  const made = await addKey(link, actor, PEPPER, id, {});
  const { look, view } = follow();
  await expect.poll(() => look().key(made.id)).toBeDefined();
  const { since } = view.question;
  await link.query('UPDATE api_keys SET last_used_at = now()');
  await setQuota(link, actor, id, { monthly_requests: 5 });
  await expect.poll(() => look().user(id)?.quota).toEqual({ monthlyRequests: 5 });
  expect(view.question.since).toBe(since + 1);
});

test('a revocation is known within a second, with NOTIFY and behind a pooler that passes none on', async () => {
  const { id } = await newUser();
  for (const deaf of [false, true]) {
    const made = await addKey(link, actor, PEPPER, id, {});
    const { look } = follow({ deaf });
    await expect.poll(() => look().key(made.id)).toBeDefined();
    const since = performance.now();
    await revokeKey(link, actor, made.id);
    await expect.poll(() => look().key(made.id), { interval: 10 }).toBeUndefined();
    // The acceptor asks four times a second, which is not in it.
    expect(performance.now() - since).toBeLessThan(750);
  }
});

test('while Postgres is away what is known stays, and afterwards everything is read anew', async () => {
  const { id } = await newUser();
  const made = await addKey(link, actor, PEPPER, id, {});
  const { look, lines, changes, follower } = follow();
  await expect.poll(() => look().key(made.id)).toBeDefined();
  const { base } = follower.answer({ base: 0, since: 0 })!;
  await server.kill9();
  await expect.poll(() => lines.some((line) => /those that were read last stay in force/.test(line))).toBe(true);
  expect(look().user(id)?.username).toBe('ada');
  await server.restart();
  link = await openLink(server.dsn);
  // A copy of the tables that is older than what was seen: the numbers start again.
  await emptyTables(link);
  changes.length = 0;
  await newUser('eve');
  await expect.poll(() => look().user(1)?.username).toBe('eve');
  expect(look().key(made.id)).toBeUndefined();
  expect(changes.flatMap(({ keys }) => keys)).toContain(made.id);
  expect(follower.answer({ base: 0, since: 0 })!.base).not.toBe(base);
});

test('10,000 users with keys come in pages, to the worker and from it', async () => {
  await link.query(
    `INSERT INTO users (username, email) SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, 10000) n`,
  );
  await link.query(
    `INSERT INTO api_keys (id, user_id, key_hash) SELECT lpad(n::text, 12, '0'), n, sha256(n::text::bytea) FROM generate_series(1, 10000) n`,
  );
  const since = performance.now();
  const { look, view } = follow();
  await expect.poll(() => look().known, { interval: 1 }).toBe(true);
  const ms = performance.now() - since;
  expect(view.key('000000010000')?.userId).toBe(10_000);
  expect(view.user(1)?.username).toBe('u1');
  // 300 ms on a machine that does nothing else; others run tests beside this one.
  expect(ms).toBeLessThan(3000);
});

test('marks of what went more than an hour ago are deleted, the newest never', async () => {
  const [first, second] = [await newUser('ada'), await newUser('eve')];
  await removeUser(link, actor, first.id);
  await removeUser(link, actor, second.id);
  expect(await tidyChanges(link)).toBe(0);
  await link.query("UPDATE gateway_changes SET changed_at = now() - interval '2 hours'");
  expect(await tidyChanges(link)).toBe(1);
  const { rows } = await link.query('SELECT name FROM gateway_changes');
  expect(rows).toEqual([{ name: String(second.id) }]);
  const third = await newUser('bob');
  await link.query("UPDATE gateway_changes SET changed_at = now() - interval '2 hours'");
  expect(await tidyChanges(link)).toBe(1);
  expect((await link.query('SELECT name FROM gateway_changes')).rows).toEqual([{ name: String(third.id) }]);
});
