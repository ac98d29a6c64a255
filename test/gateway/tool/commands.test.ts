/** `ringmain gateway user|key|limits|quota|networks|backend|usage|logs|purge|sign` against a real Postgres. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { digestOf, parseKey } from '../../../src/access/api-key.ts';
import type { AuditEntry, KeyView, MadeKey, UserView } from '../../../src/gateway/database/admin/contract.ts';
import service from '../../../src/gateway/gateway.ts';
import { parseSigned, signingKeyOf } from '../../../src/gateway/keys/signing.ts';
import { runBackend } from '../../../src/gateway/tool/backend-command.ts';
import { runKey, runSign } from '../../../src/gateway/tool/key-command.ts';
import { runLimits, runNetworks, runQuota, runUsage } from '../../../src/gateway/tool/limits-command.ts';
import { runLogs, runPurge } from '../../../src/gateway/tool/logs-command.ts';
import { runUser } from '../../../src/gateway/tool/user-command.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import type { PostgresServer } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { type ToolRun, toolRun } from '../../service/tool/run.ts';
import { emptyTables, openLink, PEPPER, startDatabase } from '../database.ts';

const scope = fileScope();
let server: PostgresServer;
let link: PostgresLink;
beforeAll(async () => {
  server = await startDatabase(scope, 24001);
  link = await openLink(server.dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(() => emptyTables(link));

const tools = {
  user: runUser,
  key: runKey,
  limits: runLimits,
  quota: runQuota,
  networks: runNetworks,
  backend: runBackend,
  usage: runUsage,
  logs: runLogs,
  purge: runPurge,
  sign: runSign,
};
type Tool = keyof typeof tools;

const run = (tool: Tool, ...argv: string[]): Promise<ToolRun> =>
  toolRun(() => tools[tool](service, [...argv, `--pg-dsn=${server.dsn}`, `--key-pepper=${PEPPER}`]));
const done = async (tool: Tool, ...argv: string[]): Promise<string> => {
  const { code, said } = await run(tool, ...argv);
  expect({ code, said }).toEqual({ code: 0, said });
  return said;
};
const json = async <T>(tool: Tool, ...argv: string[]): Promise<T> =>
  JSON.parse(await done(tool, ...argv, '--json')) as T;
/** Refused with this code, by one line. */
const refused = async (code: number, text: RegExp, tool: Tool, ...argv: string[]): Promise<void> => {
  const result = await run(tool, ...argv);
  expect(result).toEqual({ code, said: expect.stringMatching(text) });
  expect(result.said.trim().split('\n')).toHaveLength(1);
};

test('users are added, listed, changed and removed, and the audit log has it', async () => {
  expect(await done('user', 'list')).toBe('no users\n');
  expect(await done('user', 'add', 'ada', 'ada@example.com')).toBe(
    'ada is user 1; a key: ringmain gateway key add ada\n',
  );
  await refused(1, /^there is a user of this name: username=ada/, 'user', 'add', 'ada', 'other@example.com');
  await refused(1, /^there is a user with this email/, 'user', 'add', 'eve', 'ada@example.com');
  await refused(64, /^email must be an address/, 'user', 'add', 'eve', 'eve');
  await refused(64, /^username must be 1 to 255/, 'user', 'add', ' eve', 'eve@example.com');
  await done('user', 'add', '1', 'one@example.com');
  // A name is looked for first, then an id.
  expect(JSON.parse(await done('user', 'show', '1'))).toMatchObject({ username: '1' });
  expect(await done('user', 'change', 'ada', '--active=no', '--email=a@example.com')).toBe(
    'user 1 is ada <a@example.com>, not active\n',
  );
  await refused(64, /^one of --username/, 'user', 'change', 'ada');
  await refused(64, /^--active must be yes or no: found=maybe/, 'user', 'change', 'ada', '--active=maybe');
  expect(await done('user', 'list')).toMatch(/^ID +USER[^\n]+\n1 +ada \(not active\) +a@example.com/);
  expect((await json<UserView[]>('user', 'list', '--search=ONE@')).map(({ username }) => username)).toEqual(['1']);
  expect(await run('user', 'rm', 'ada')).toEqual({
    code: 1,
    said: 'this would remove ada with 0 keys that work; --yes does it\n',
  });
  expect(await done('user', 'rm', 'ada', '--yes')).toBe('ada is removed\n');
  await refused(1, /^there is no such user: found=ada/, 'user', 'rm', 'ada', '--yes');
  const entries = await json<AuditEntry[]>('user', 'audit');
  expect(entries.map(({ action, subject, actor }) => [action, subject, actor])).toEqual([
    ['user_removed', 'user:1', 'cli'],
    ['user_changed', 'user:1', 'cli'],
    ['user_added', expect.stringMatching(/^user:\d+$/), 'cli'],
    ['user_added', 'user:1', 'cli'],
  ]);
});

test('a key is made, shown once, rotated and revoked; only its digest is kept', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  const made = await json<MadeKey>('key', 'add', 'ada', '--name=shop', '--scopes=read', '--expires=12h', '--env=test');
  expect(parseKey(made.key)).toMatchObject({ id: made.id, env: 'test', prefix: 'rm' });
  expect(made).toMatchObject({ name: 'shop', scopes: ['read'], state: 'valid', version: 1, networks: [] });
  expect(made.signing_key).toBe(signingKeyOf(PEPPER, made.id, 1));
  const { rows } = await link.query<{ key_hash: Buffer }>('SELECT key_hash FROM api_keys');
  expect(rows[0]!.key_hash).toEqual(digestOf(PEPPER, { text: made.key }));
  const text = await done('key', 'add', 'ada');
  expect(text).toMatch(
    /^signing key, for signed URLs: [\w-]{43}\nkey \w{12} \(read, upload\); keep both now[^\n]+\nrm_live_/,
  );

  // Somebody who pastes the whole key means its id.
  const rotated = await json<MadeKey>('key', 'rotate', made.key, '--overlap=60');
  expect(rotated).toMatchObject({ id: made.id, version: 2, env: 'test', previous_until: expect.any(String) });
  expect(parseKey(rotated.key)?.id).toBe(made.id);
  expect(rotated.key).not.toBe(made.key);
  expect(rotated.signing_key).not.toBe(made.signing_key);
  const now = await json<MadeKey>('key', 'rotate', made.id, '--overlap=0');
  expect(now).toMatchObject({ version: 3, previous_until: null });
  expect((await link.query('SELECT FROM api_keys WHERE previous_hash IS NULL')).rows).toHaveLength(2);

  expect(await done('key', 'revoke', made.key)).toBe(`key ${made.id} is revoked\n`);
  expect(await done('key', 'revoke', made.id)).toBe(`key ${made.id} is revoked\n`);
  await refused(1, /^a key that is revoked cannot be rotated/, 'key', 'rotate', made.id);
  await refused(1, /^there is no such key: found=000000000000/, 'key', 'revoke', '000000000000');
  const keys = await json<KeyView[]>('key', 'list', 'ada');
  expect(keys.map(({ state }) => state)).toEqual(['revoked', 'valid']);
  expect(JSON.stringify(keys)).not.toContain(made.key.slice(-39));
  expect(await done('key', 'list', 'ada')).toMatch(new RegExp(`\\n${made.id} +revoked +read `));

  // Keys under two peppers would be refused by every gateway in halves.
  const other = ['--key-pepper=another-pepper-of-thirty-two-or-more', `--pg-dsn=${server.dsn}`];
  const foreign = { code: 1, said: expect.stringMatching(/^KEY_PEPPER must be the one that the keys in the database/) };
  const [valid] = keys.filter(({ state }) => state === 'valid');
  expect(await toolRun(() => runKey(service, ['add', 'ada', ...other]))).toEqual(foreign);
  expect(await toolRun(() => runKey(service, ['rotate', valid!.id, ...other]))).toEqual(foreign);

  for (const [flag, why] of [
    ['--scopes=read,write', /^scopes must be one or more of read, upload, admin: found=read,write/],
    ['--expires=1999-01-01T00:00:00Z', /^--expires must be in the future/],
    ['--networks=10.0.0.1/8', /^a network must be without bits behind its prefix, like 10.0.0.0\/8: found=10.0.0.1\/8/],
    ['--networks=here', /^a network must be CIDR like/],
    ['--env=prod', /^--env must be live or test: found=prod/],
    ['--burst=0', /^burst must be null or a whole number from 1 on: found=0/],
    ['--burst=5', /^burst must stand beside requests_per_minute/],
  ] as const)
    await refused(64, why, 'key', 'add', 'ada', flag);
  const { rows: audited } = await link.query<{ action: string; all: string }>(
    "SELECT action, details::text AS all FROM audit_log WHERE subject LIKE 'key:%' ORDER BY id",
  );
  expect(audited.map(({ action }) => action)).toEqual([
    ...['key_added', 'key_added', 'key_rotated', 'key_rotated', 'key_revoked'],
  ]);
  expect(JSON.stringify(audited)).not.toMatch(/rm_(live|test)_/);
});

test('a user has at most a hundred keys; one that is revoked gives its place back', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  const { id } = await json<MadeKey>('key', 'add', 'ada');
  await link.query(
    `INSERT INTO api_keys (id, user_id, key_hash) SELECT lpad(n::text, 12, '0'), user_id, n::text::bytea
     FROM api_keys, generate_series(1, 99) n`,
  );
  await refused(1, /^a user has at most 100 keys that are not revoked/, 'key', 'add', 'ada');
  await done('key', 'revoke', id);
  await done('key', 'add', 'ada');
});

test('a key is changed in place: what is not given stays, and the key itself', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  const made = await json<MadeKey>('key', 'add', 'ada', '--name=shop', '--expires=1h', '--requests-per-minute=5');
  const { key: _, signing_key: __, ...before } = made;
  const changed = await json<KeyView>('key', 'change', made.id, '--scopes=read', '--networks=10.0.0.0/8', '--burst=2');
  expect(changed).toEqual({
    ...before,
    scopes: ['read'],
    networks: ['10.0.0.0/8'],
    limits: { requests_per_minute: 5, requests_per_hour: null, burst: 2 },
  });
  expect((await json<KeyView>('key', 'change', made.id, '--expires=none', '--name=old')).expires_at).toBe(null);
  // One that has expired works again with a later end.
  await link.query("UPDATE api_keys SET expires_at = now() - interval '1 s'");
  expect((await json<readonly KeyView[]>('key', 'list', 'ada'))[0]).toMatchObject({ state: 'expired', name: 'old' });
  expect(await json<KeyView>('key', 'change', made.id, '--expires=90d')).toMatchObject({ state: 'valid', version: 1 });
  const { rows } = await link.query<{ key_hash: Buffer }>('SELECT key_hash FROM api_keys');
  expect(rows[0]!.key_hash).toEqual(digestOf(PEPPER, { text: made.key }));
  await refused(64, /^what is to be changed must be given/, 'key', 'change', made.id);
  await refused(64, /^scopes must be one or more of/, 'key', 'change', made.id, '--scopes=write');
  await done('key', 'revoke', made.id);
  await refused(1, /^a key that is revoked cannot be changed/, 'key', 'change', made.id, '--name=x');
});

test('limits, quota and networks are set as a whole or in part, and shown', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  expect(await done('limits', 'ada')).toBe('limits of ada: -\n');
  expect(await done('limits', 'ada', '--requests-per-minute=600', '--burst=50')).toBe(
    'limits of ada: 600/min, burst 50\n',
  );
  expect(await done('limits', 'ada', '--requests-per-hour=7000', '--burst=none')).toBe(
    'limits of ada: 600/min, 7000/h\n',
  );
  expect(await done('quota', 'ada', '--monthly-bytes=1099511627776')).toBe(
    'quota of ada: monthly_requests=none, monthly_bytes=1099511627776, storage_bytes=none\n',
  );
  await refused(
    64,
    /^--monthly-requests must be a whole number, or none: found=many/,
    'quota',
    'ada',
    '--monthly-requests=many',
  );
  expect(await done('networks', 'ada')).toBe('ada may come from everywhere\n');
  expect(await done('networks', 'ada', '2001:DB8:0::/32, ::ffff:10.0.0.0/104,10.0.0.0/8,192.0.2.7')).toBe(
    'ada may come from 3 networks\n',
  );
  expect(await done('networks', 'ada')).toBe('10.0.0.0/8\n192.0.2.7/32\n2001:db8::/32\n');
  expect(await done('networks', 'ada', 'none')).toBe('ada may come from everywhere\n');
  await refused(1, /^there is no such user: found=eve/, 'limits', 'eve', '--burst=5');
});

test('backends are added, weighted, drained and removed', async () => {
  expect(await done('backend', 'add', 'http://Imgproxy-1:8080/', '--weight=2')).toBe(
    'backend 1: imgproxy-1:8080, http://imgproxy-1:8080, weight 2\n',
  );
  await refused(1, /^there is a backend with this url/, 'backend', 'add', 'http://imgproxy-1:8080');
  for (const url of ['http://a/b', 'ftp://a', 'a:1', 'http://u:p@a', 'http://a?x'])
    await refused(64, /^url must be http:\/\/host:port, without a path/, 'backend', 'add', url);
  await refused(
    64,
    /^weight must be a whole number from 0 to 1000: found=1001/,
    'backend',
    'add',
    'http://b',
    '--weight=1001',
  );
  expect(await done('backend', 'change', '1', '--draining=yes', '--name=one')).toBe(
    'backend 1: one, http://imgproxy-1:8080, weight 2, draining\n',
  );
  expect(await done('backend', 'list')).toMatch(/\n1 +one +http:\/\/imgproxy-1:8080 +2 +yes /);
  await refused(64, /^a backend is named by its id/, 'backend', 'rm', 'one');
  expect(await done('backend', 'rm', '1')).toBe('backend 1 is removed\n');
  await refused(1, /^there is no such backend: found=1/, 'backend', 'rm', '1');
});

test('usage is shown beside the quota, of one user also when nothing was used', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  await done('quota', 'ada', '--monthly-requests=100');
  expect(await done('usage')).toBe('nothing was used\n');
  await link.query("INSERT INTO usage_months VALUES (1, '2027-01-01', 7, 4096), (99, '2027-01-01', 1, 5000)");
  expect(await json('usage', '--month=2027-01')).toEqual([
    {
      ...{ user_id: 99, username: null, month: '2027-01', requests: 1, bytes: 5000 },
      ...{ monthly_requests: null, monthly_bytes: null },
    },
    {
      ...{ user_id: 1, username: 'ada', month: '2027-01', requests: 7, bytes: 4096 },
      ...{ monthly_requests: 100, monthly_bytes: null },
    },
  ]);
  expect(await done('usage', 'ada', '--month=2027-02')).toMatch(/\nada +2027-02 +0 +100 +0 +-\n$/);
  await refused(64, /^--month must be like 2027-01: found=2027-13/, 'usage', '--month=2027-13');
});

test('requests are shown by filters, and pictures purged by path, source and prefix', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  expect(await done('logs')).toBe('no requests\n');
  await link.query(
    `INSERT INTO request_logs (user_id, request_id, method, request_path, response_status, outcome, response_time_ms,
       request_size_bytes, response_size_bytes, created_at)
     SELECT n % 2, n, 'GET', '/' || n, CASE n WHEN 2 THEN 429 ELSE 200 END, 'hit', 1, 0, 9,
         now() - make_interval(secs => n) FROM generate_series(1, 1500) n`,
  );
  expect(await done('logs', 'ada', '--lines=2')).toMatch(/^TIME .* REQUEST\n.* 200 .*GET \/1\n.*GET \/3\n$/);
  expect(await json('logs', '--status=4xx')).toMatchObject([{ request_path: '/2', response_status: 429 }]);
  expect(await json('logs', '--lines=1300')).toHaveLength(1300);
  await refused(64, /^status must be like 429 or 4xx: found=9/, 'logs', '--status=9');

  await done('purge', '/w:1/plain/local:///ab/cd.jpg');
  await done('purge', 'local:///ab/ef.jpg');
  // Nobody may ask for it any more, so what is cached of it has to go; and it is spelled like the sources of pictures.
  await done('purge', 'https://Pics.example.com:443/a%20b.jpg');
  await done('purge', '--prefix=HTTPS://Pics.example.com');
  expect((await link.query('SELECT source, prefix FROM cache_purges ORDER BY id')).rows).toEqual([
    { source: 'local:///ab/cd.jpg', prefix: false },
    { source: 'local:///ab/ef.jpg', prefix: false },
    { source: 'https://pics.example.com/a%20b.jpg', prefix: false },
    { source: 'https://pics.example.com/', prefix: true },
  ]);
  await refused(64, /^a path, a source or --prefix must be given/, 'purge');
  await refused(64, /^prefix must begin like a source/, 'purge', '--prefix=pics');
});

test('a path is signed by the present version of a key', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  const { id } = await json<MadeKey>('key', 'add', 'ada');
  const path = '/rs:fit:300:200/plain/local:///ab/cd.jpg';
  const ends = `${new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 19)}Z`;
  const url = (await done('sign', path, `--key-id=${id}`, `--expires=${ends}`)).trim();
  const [before, query] = url.split('?') as [string, string];
  expect(parseSigned(before, query)).toMatchObject({ target: path, kid: id, expS: Date.parse(ends) / 1000 });
  await refused(64, /^a path must begin with \//, 'sign', 'plain', `--key-id=${id}`);
  await refused(64, /^a path must not be signed already/, 'sign', url, `--key-id=${id}`);
  await refused(64, /^path must be that of a picture/, 'sign', '/metrics', `--key-id=${id}`);
  await refused(64, /^--key-id must be given/, 'sign', path);
  // A URL that every gateway would refuse.
  expect(await done('sign', path, `--key-id=${id}`, '--expires=7d')).toContain(id);
  await refused(64, /^--expires must be within SIGNED_URL_MAX_AGE_MS/, 'sign', path, `--key-id=${id}`, '--expires=8d');
  const upload = await json<MadeKey>('key', 'add', 'ada', '--scopes=upload');
  await refused(1, /^the key must have the scope read/, 'sign', path, `--key-id=${upload.id}`);
  await done('key', 'revoke', id);
  await refused(1, /^the key is revoked/, 'sign', path, `--key-id=${id}`);
});

test('what stands in the way is one line: no pepper, no database, no tables, a mistyped command', async () => {
  await done('user', 'add', 'ada', 'ada@example.com');
  const bare = (tool: Tool, ...argv: string[]) => toolRun(() => tools[tool](service, argv));
  expect(await bare('key', 'add', 'ada', `--pg-dsn=${server.dsn}`)).toEqual({
    code: 78,
    said: expect.stringMatching(/^KEY_PEPPER \(or KEY_PEPPER_FILE\) must be set/),
  });
  expect(await bare('user', 'list')).toEqual({ code: 78, said: expect.stringMatching(/DB_DSN must be set/) });
  expect(await bare('user', 'list', '--pg-dsn=postgres://a:b@127.0.0.1:24099/x')).toEqual({
    code: 75,
    said: expect.stringMatching(/^the database cannot be used now: .*24099/),
  });
  await link.query('CREATE DATABASE empty');
  const empty = server.dsn.replace(/\/postgres$/, '/empty');
  expect(await bare('user', 'list', `--pg-dsn=${empty}`)).toEqual({
    code: 1,
    said: 'the tables must be there first: ringmain migrate gateway up',
  });
  expect(await run('user', 'lst')).toEqual({ code: 64, said: expect.stringMatching(/did you mean list\?/) });
  expect(await run('user', 'add', 'ada')).toEqual({
    code: 64,
    said: 'ringmain gateway user add takes NAME EMAIL: found=ada',
  });
  expect((await run('sign', '--help')).said).toMatch(/^ringmain gateway sign PATH --key-id=KEY_ID/);
});
