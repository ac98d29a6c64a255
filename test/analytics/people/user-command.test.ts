/** `ringmain analytics user` against a real Postgres: each command, what it refuses, what it says, where passwords come from. */
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Passwords } from '../../../src/access/password.ts';
import { makeToken, tokenDigest } from '../../../src/access/token.ts';
import { runSite } from '../../../src/analytics/access/site-command.ts';
import service from '../../../src/analytics/analytics.ts';
import { audit, tidyPeople } from '../../../src/analytics/people/audit.ts';
import { type Account, findAccount, openSession, USER_SESSIONS_MAX } from '../../../src/analytics/people/sessions.ts';
import { runUser } from '../../../src/analytics/people/user-command.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { migrateAnalytics } from '../../analytics-types.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { type ToolRun, toolRun } from '../../service/tool/run.ts';

const PASSWORD = 'correct horse battery';
const scope = fileScope();
let dsn: string;
let link: PostgresLink;
beforeAll(async () => {
  ({ dsn } = await startPostgres(scope, { port: 23_136, settings: fastSettings }));
  await migrateAnalytics(dsn);
  link = await openLink(dsn);
});
afterAll(() => link.close());
beforeEach(() => link.query('TRUNCATE users, user_sessions, audit_lines, site_shares CASCADE'));

const user = (words: readonly string[], input = ''): Promise<ToolRun> =>
  toolRun(() => runUser(service, [...words, `--pg-dsn=${dsn}`], Readable.from(input === '' ? [] : [input])));
const quickUser = async (name: string): Promise<Account> => {
  const digest = await new Passwords({ ln: 4, r: 8, p: 1 }).hash(PASSWORD);
  await link.query("INSERT INTO users (name, role, password) VALUES ($1, 'viewer', $2)", [name, digest]);
  return (await findAccount(link, name))!;
};
const actions = async (): Promise<string[]> =>
  (await link.query<{ line: string }>(`SELECT action || ' ' || subject AS line FROM audit_lines ORDER BY id`)).rows.map(
    ({ line }) => line,
  );

test('a user is added with a password of standard input; only its digest is kept, and nothing shows it', async () => {
  const added = await user(['add', 'Ada@example.com'], `${PASSWORD}\r\nmore\n`);
  expect(added).toEqual({
    code: 0,
    said: 'Ada@example.com may log in as owner\nit is the first user: the dashboard asks for a login from now on\n',
  });
  const account = (await findAccount(link, 'ADA@example.com'))!;
  expect(account.password).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$/);
  expect(await new Passwords().matches(PASSWORD, account.password)).toBe(true);
  const again = await user(['add', 'ada@EXAMPLE.com'], PASSWORD);
  expect(again).toEqual({ code: 1, said: 'there is a user of that name: user=ada@EXAMPLE.com' });
  expect(JSON.parse((await user(['list', '--json'])).said)).toMatchObject([
    { name: 'Ada@example.com', role: 'owner', disabled: false, sessions: 0, last_login_at: null },
  ]);
  expect((await user(['list'])).said).toMatch(/^USER +ROLE +LOGINS .*\nAda@example\.com +owner +0 +\S+ +-\n$/);
  expect(await actions()).toEqual(['user_added Ada@example.com (owner)']);
});

test('what cannot be is refused in one line', async () => {
  await quickUser('bob');
  for (const [words, input, code, said] of [
    [['add', 'x'], '', 64, /a password must come from standard input or be typed/],
    [['add', 'x'], 'short\n', 64, /a password must be 12 to 256 characters: found=5/],
    [['add', 'x'], 'x'.repeat(5000), 64, /at most 4096 bytes/],
    [['add', 'x', '--role=admin'], PASSWORD, 64, /--role must be one of owner, viewer: found=admin/],
    [['add', 'x', '--password=secret'], PASSWORD, 64, /password/],
    [['add', ' x'], PASSWORD, 64, /no control characters and no space around/],
    [['add', 'x\u0007'], PASSWORD, 64, /no control characters/],
    [['add'], PASSWORD, 64, /takes NAME: found=none/],
    [['role', 'bob'], '', 64, /--role must be one of owner, viewer: found=none/],
    [['role', 'nobody', '--role=owner'], '', 1, /there is no such user: user=nobody/],
    [['rm', 'nobody'], '', 1, /there is no such user/],
    [['password', 'nobody'], PASSWORD, 1, /there is no such user/],
    [['audit', '--lines=0'], '', 64, /--lines must be a number from 1 to 100000: found=0/],
    [['lst'], '', 64, /did you mean list\?/],
  ] as const) {
    const ran = await user(words, input);
    expect(ran.said, words.join(' ')).toMatch(said);
    expect(ran.code, words.join(' ')).toBe(code);
    expect(ran.said).not.toContain('secret');
  }
});

test('each command has its help', async () => {
  const overview = await user(['--help']);
  expect(overview.said).toMatch(/ringmain analytics user add NAME .*\n/);
  for (const command of ['add', 'list', 'password', 'role', 'disable', 'enable', 'rm', 'audit'])
    expect((await user([command, '--help'])).said).toMatch(/exit codes\n[\s\S]*example\n {4}ringmain analytics user/);
});

test('role, disable, enable, password and rm say what they did, and leave their lines', async () => {
  await quickUser('bob');
  expect((await user(['role', 'BOB', '--role=owner'])).said).toBe('bob is owner now\n');
  expect((await user(['disable', 'bob'])).said).toBe('bob cannot log in any more; all logins have ended\n');
  expect(await findAccount(link, 'bob')).toBeUndefined();
  expect((await user(['list'])).said).toContain('bob (disabled)');
  expect((await user(['enable', 'bob'])).said).toBe('bob may log in again\n');
  expect((await user(['password', 'bob'], 'another good password')).said).toMatch(/^bob has another password/);
  expect((await user(['rm', 'bob'])).said).toBe('bob is removed; all logins have ended\nthere is no user any more\n');
  const lines = [
    'user_role bob (owner)',
    'user_disabled bob',
    'user_enabled bob',
    'user_password bob',
    'user_removed bob',
  ];
  expect(await actions()).toEqual(lines);
  const shown = (await user(['audit', '--lines=2'])).said.trim().split('\n');
  expect(shown).toHaveLength(3);
  expect(shown[1]).toMatch(/user_removed +- +- +bob$/);
});

test('a user has at most twenty sessions; the one that was used least lately gives way', async () => {
  const account = await quickUser('bob');
  const opening = { account, maxAgeMs: 60_000, address: '203.0.113.9', rehashed: undefined };
  const first = (await openSession(link, opening))!;
  await link.query("UPDATE user_sessions SET seen_at = now() - interval '1 minute'");
  for (let i = 0; i < USER_SESSIONS_MAX; i += 1) await openSession(link, opening);
  const { rows } = await link.query<{ digest: Buffer }>('SELECT digest FROM user_sessions');
  expect(rows).toHaveLength(USER_SESSIONS_MAX);
  expect(rows.some(({ digest }) => digest.equals(tokenDigest(first)))).toBe(false);
  // The password was changed since the account was found.
  await link.query("UPDATE users SET password = 'other'");
  expect(await openSession(link, opening)).toBeUndefined();
});

test('the job deletes lines that are too old, failures beyond a bound, and sessions that have ended', async () => {
  const account = await quickUser('bob');
  for (let i = 0; i < 5; i += 1) await audit(link, { action: 'login_failed', address: '203.0.113.9' });
  await audit(link, { action: 'user_role', subject: 'bob' });
  await link.query(
    "UPDATE audit_lines SET at = now() - interval '31 days' WHERE id = (SELECT min(id) FROM audit_lines)",
  );
  for (const [expires, seen, revoked] of [
    ['1 day', '0', null],
    ['-1 second', '0', null],
    ['1 day', '-2 days', null],
    ['1 day', '0', '-1 second'],
  ])
    await link.query(
      `INSERT INTO user_sessions (digest, user_id, expires_at, seen_at, revoked_at)
       VALUES ($1, $2, now() + $3::interval, now() + $4::interval, now() + $5::interval)`,
      [tokenDigest(makeToken()), account.userId, expires, seen, revoked],
    );
  const kept = { auditDays: 30, idleMs: 86_400_000, failuresMax: 2 };
  expect(await tidyPeople(link, kept, new AbortController().signal)).toBe(3);
  const { rows } = await link.query<{ action: string }>('SELECT action FROM audit_lines ORDER BY id');
  expect(rows.map(({ action }) => action)).toEqual(['login_failed', 'login_failed', 'user_role']);
  expect((await link.query('SELECT FROM user_sessions')).rowCount).toBe(1);
  expect(await tidyPeople(link, kept, new AbortController().signal)).toBe(0);
});

test('share links of a site are made, listed and ended by `ringmain site`', async () => {
  await link.query("INSERT INTO sites (site_id) VALUES ('shop') ON CONFLICT DO NOTHING");
  const site = (words: readonly string[], input = '') =>
    toolRun(() => runSite(service, [...words, `--pg-dsn=${dsn}`], Readable.from([input])));
  const made = await site(['share', 'shop', '--label=board', '--expires=90d', '--password-stdin'], `${PASSWORD}\n`);
  expect(made.said).toMatch(/^share link [0-9a-f]{12} of shop; keep it now.*\n\/\?share=[\w-]{43}\n$/);
  const [{ share_id: id }] = JSON.parse((await site(['shares', 'shop', '--json'])).said) as [{ share_id: string }];
  expect((await site(['shares'])).said).toMatch(/^LINK .*\n[0-9a-f]{12} +shop +yes +\S+ +\S+ +board\n$/);
  expect(await site(['share', 'shop', '--password-stdin'], 'short')).toMatchObject({ code: 64 });
  expect(await site(['share', 'nowhere'])).toMatchObject({ code: 1 });
  expect((await site(['unshare', id])).said).toBe(`share link ${id} of shop is ended\n`);
  expect(await site(['unshare', id])).toMatchObject({ code: 1 });
  expect((await site(['shares'])).said).toBe('no share links\n');
});
