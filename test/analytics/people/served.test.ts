/**
 * Goal: who may look is decided rightly, over HTTP, by two processes on one real Postgres, the second with several
 * acceptors. Method: users, sites and links are made by the tools, as an operator does it; requests bear what browsers,
 * foreign pages and programs send.
 */
import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Passwords } from '../../../src/access/password.ts';
import { csrfOf, makeToken, tokenDigest } from '../../../src/access/token.ts';
import { runSite } from '../../../src/analytics/access/site-command.ts';
import service from '../../../src/analytics/analytics.ts';
import { unlockedValue } from '../../../src/analytics/people/shares.ts';
import { runUser } from '../../../src/analytics/people/user-command.ts';
import { openApiText } from '../../../src/analytics/query/openapi.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { HeldDocument } from '../../service/openapi.ts';
import { toolRun } from '../../service/tool/run.ts';
import { givenPaths, type Running, startAnalytics } from '../running.ts';

const PEPPER = '0123456789abcdef0123456789abcdef';
const PASSWORD = 'correct horse battery';
/** What one process does is in force in the other. */
const IN_FORCE = { interval: 50 };
const scope = fileScope();
let server: PostgresServer;
let link: PostgresLink;
let one: Running;
let other: Running;

beforeAll(async () => {
  server = await startPostgres(scope, { port: 23_131, settings: fastSettings });
  const logins = { LOGIN_MAX_AGE: '20d', LOGIN_IDLE: '3d' };
  const env = { DATABASE_URL: server.dsn, KEY_PEPPER: PEPPER, TRUST_PROXY: '1', ...logins };
  one = await startAnalytics(scope, { port: 23_132, env });
  other = await startAnalytics(scope, { port: 23_134, env: { ...env, ACCEPTORS: '3', TRUST_PROXY: 'false' } });
  link = await openLink(server.dsn);
});
afterAll(() => link.close());

const tool = async (run: () => Promise<number>): Promise<string> => {
  const { code, said } = await toolRun(run);
  expect({ code, said }).toEqual({ code: 0, said });
  return said;
};
const user = (words: readonly string[], password = ''): Promise<string> =>
  tool(() => runUser(service, [...words, `--pg-dsn=${server.dsn}`], Readable.from([password])));
const site = (words: readonly string[], password = ''): Promise<string> =>
  tool(() =>
    runSite(service, [...words, `--pg-dsn=${server.dsn}`, `--key-pepper=${PEPPER}`], Readable.from([password])),
  );

type Headers = Record<string, string>;
const call = (at: Running, method: string, path: string, body?: unknown, headers: Headers = {}): Promise<Response> =>
  fetch(`${at.url}${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
/** Each from a network of its own, so that the limit of one test is not that of another. */
let networks = 0;
const anew = (): Headers => {
  networks += 1;
  return { 'x-forwarded-for': `198.51.${networks}.7` };
};
const login = (name: string, password = PASSWORD, headers: Headers = anew(), at = one): Promise<Response> =>
  call(at, 'POST', '/api/login', { user: name, password }, headers);
const cookieOf = (answer: Response): string => answer.headers.get('set-cookie')?.split(';')[0] ?? '';
const codeOf = async (answer: Promise<Response> | Response): Promise<[number, unknown]> => {
  const got = await answer;
  return [got.status, ((await got.json()) as { code?: string }).code];
};

interface Session {
  readonly cookie: string;
  readonly csrf: string;
}
/** As a login makes one, without the derivation, which takes its time. */
async function session(name: string): Promise<Session> {
  const token = makeToken();
  const { rowCount } = await link.query(
    `INSERT INTO user_sessions (digest, user_id, expires_at)
     SELECT $1, user_id, now() + interval '1 hour' FROM users WHERE lower(name) = lower($2)`,
    [tokenDigest(token), name],
  );
  expect(rowCount).toBe(1);
  return { cookie: `ringmain_session=${token}`, csrf: csrfOf(token) };
}
/** Adds a user whose digest is quickly checked. */
async function quickUser(name: string, role = 'owner'): Promise<void> {
  const digest = await new Passwords({ ln: 4, r: 8, p: 1 }).hash(PASSWORD);
  await link.query('INSERT INTO users (name, role, password) VALUES ($1, $2, $3)', [name, role, digest]);
}
const me = async (at: Running, cookie: string): Promise<unknown> =>
  ((await (await call(at, 'GET', '/api/me', undefined, { cookie })).json()) as { me: unknown }).me;
const asOwner = ({ cookie, csrf }: Session): Headers => ({ cookie, 'x-csrf-token': csrf });

/** Whether everything is open to who asks the second process by this name. */
async function openFor(host: string): Promise<boolean> {
  const { port } = new URL(other.url);
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: '/api/me', headers: { host: `${host}:${port}` } }, resolve);
    asked.on('error', reject).end();
  });
  return ((await json(answer)) as { open: boolean }).open;
}

test('on loopback everything is open until there is a user; then a login is needed', async () => {
  const open = await call(other, 'GET', '/api/me');
  expect(await open.json()).toEqual({ me: null, csrf: null, open: true });
  // A page that gave its own name to this machine, and a proxy that passed somebody on, are not this machine.
  for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via']) {
    const passedOn = await call(other, 'GET', '/api/me', undefined, { [name]: 'for=203.0.113.9' });
    expect(await passedOn.json(), name).toMatchObject({ open: false });
  }
  expect(await openFor('evil.example')).toBe(false);
  expect(await openFor('localhost')).toBe(true);

  await user(['add', 'Ada@example.com', '--role=owner'], `${PASSWORD}\n`);
  await quickUser('<script>alert(1)</script>', 'viewer');
  await expect
    .poll(async () => (await (await call(other, 'GET', '/api/me')).json()) as object, IN_FORCE)
    .toMatchObject({
      open: false,
    });
  expect(await codeOf(call(other, 'GET', '/api/sites/shop/shares'))).toEqual([401, 'LOGIN_REQUIRED']);
});

test('a login gives a cookie that no script can read, and both processes know it', async () => {
  const answer = await login('ada@EXAMPLE.com');
  expect(answer.status).toBe(200);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('set-cookie')).toMatch(
    /^ringmain_session=[\w-]{43}; Path=\/; Max-Age=1728000; HttpOnly; SameSite=Lax$/,
  );
  const body = (await answer.json()) as { csrf: string };
  expect(body).toEqual({ me: { user: 'Ada@example.com', role: 'owner' }, csrf: body.csrf, open: false });
  const cookie = cookieOf(answer);
  for (const at of [one, other]) expect(await me(at, cookie)).toEqual({ user: 'Ada@example.com', role: 'owner' });
  expect(await (await call(one, 'GET', '/api/me', undefined, { cookie })).json()).toMatchObject({ csrf: body.csrf });
  const { rows } = await link.query<{ days: number }>(
    'SELECT *, round(extract(epoch FROM expires_at - created_at) / 86400)::int AS days FROM user_sessions',
  );
  expect(JSON.stringify(rows)).not.toContain(cookie.split('=')[1]);
  // LOGIN_MAX_AGE: the browser and the server forget it together.
  expect(rows.map(({ days }) => days)).toEqual([20]);

  // TLS ends at a trusted proxy: the cookie is bound to this host and to TLS. Nobody else is believed.
  const behind = await login('ada@example.com', PASSWORD, { ...anew(), 'x-forwarded-proto': 'https' });
  expect(behind.headers.get('set-cookie')).toMatch(
    /^__Host-ringmain_session=[\w-]{43}; Path=\/; Max-Age=1728000; HttpOnly; SameSite=Lax; Secure$/,
  );
  const liar = await login('ada@example.com', PASSWORD, { 'x-forwarded-proto': 'https' }, other);
  expect(liar.headers.get('set-cookie')).toMatch(/^ringmain_session=/);
  expect(await me(one, cookieOf(behind))).toBeNull();
});

test('a wrong password, an unknown name and a disabled user are answered alike', async () => {
  const wrong = await login('ada@example.com', 'not the password');
  const unknown = await login('nobody', 'not the password');
  expect([wrong.status, unknown.status]).toEqual([401, 401]);
  expect(wrong.headers.get('set-cookie')).toBeNull();
  const text = await wrong.text();
  expect(JSON.parse(text)).toMatchObject({ code: 'LOGIN_FAILED' });
  expect(await unknown.text()).toBe(text);
  await quickUser('gone');
  const before = await session('gone');
  await user(['disable', 'gone']);
  expect(await (await login('gone')).text()).toBe(text);
  await expect.poll(() => me(one, before.cookie), IN_FORCE).toBeNull();
  await user(['enable', 'gone']);
  expect((await login('gone')).status).toBe(200);
  expect(await me(one, before.cookie)).toBeNull();
  await user(['rm', 'gone']);
  expect(await codeOf(login('gone'))).toEqual([401, 'LOGIN_FAILED']);
});

test('bodies that are none are refused, and nothing of a password is said back', async () => {
  const plain = { 'content-type': 'text/plain', ...anew() };
  expect((await call(one, 'POST', '/api/login', JSON.stringify({ user: 'a', password: 'b' }), plain)).status).toBe(400);
  for (const body of ['{', '[]', 'null', { user: 'a' }, { user: 1, password: 'x' }, { user: '', password: 'x' }])
    expect((await call(one, 'POST', '/api/login', body, anew())).status, JSON.stringify(body)).toBe(400);
  const long = await call(one, 'POST', '/api/login', { user: 'a', password: 'secret'.repeat(1000) }, anew());
  expect(long.status).toBe(400);
  expect(await long.text()).not.toContain('secret');
});

test('a page of another origin can neither log somebody in nor change anything', async () => {
  const { host } = new URL(one.url);
  const owner = await session('ada@example.com');
  await link.query("INSERT INTO sites (site_id) VALUES ('csrf') ON CONFLICT DO NOTHING");
  const path = '/api/sites/csrf/shares';
  for (const foreign of [
    { origin: 'https://evil.example' } as Headers,
    { origin: 'null' },
    { origin: `http://${host}.evil.example` },
    { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', origin: `http://${host}` },
    { 'sec-fetch-site': 'none' },
  ]) {
    const name = JSON.stringify(foreign);
    expect(await codeOf(call(one, 'POST', path, {}, { ...asOwner(owner), ...foreign })), name).toEqual([
      403,
      'FORGED_REQUEST',
    ]);
    expect(await codeOf(login('ada@example.com', PASSWORD, { ...anew(), ...foreign })), name).toEqual([
      403,
      'FORGED_REQUEST',
    ]);
    const logout = await call(one, 'POST', '/api/logout', undefined, { ...asOwner(owner), ...foreign });
    expect(logout.status, name).toBe(403);
  }
  expect(await me(one, owner.cookie)).not.toBeNull();
  // The cookie alone does nothing: the token must stand in the header.
  for (const csrf of [undefined, 'x', (await session('ada@example.com')).csrf]) {
    const headers = { cookie: owner.cookie, ...(csrf === undefined ? {} : { 'x-csrf-token': csrf }) };
    expect(await codeOf(call(one, 'POST', path, {}, headers))).toEqual([403, 'FORGED_REQUEST']);
  }
  expect((await link.query('SELECT FROM site_shares')).rowCount).toBe(0);
  for (const ours of [{ origin: `http://${host}` }, { 'sec-fetch-site': 'same-origin' }, {}] as readonly Headers[])
    expect((await call(one, 'POST', path, {}, { ...asOwner(owner), ...ours })).status).toBe(201);
  const preflight = await call(one, 'OPTIONS', path, undefined, {
    origin: 'https://evil.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'x-csrf-token',
  });
  expect(preflight.headers.get('access-control-allow-origin')).toBeNull();
});

test('sessions end: by logout, expiry, idleness, a new password, a removed user, in both processes', async () => {
  const ends = async (end: (digestOf: Session) => Promise<unknown>, name = 'ada@example.com') => {
    const held = await session(name);
    expect(await me(other, held.cookie)).not.toBeNull();
    await end(held);
    for (const at of [one, other]) await expect.poll(() => me(at, held.cookie), IN_FORCE).toBeNull();
    return held;
  };
  const newest = `digest = (SELECT digest FROM user_sessions ORDER BY created_at DESC LIMIT 1)`;
  const out = await ends(async ({ cookie }) => {
    const answer = await call(one, 'POST', '/api/logout', undefined, { cookie });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('set-cookie')).toMatch(/^ringmain_session=; Path=\/; Max-Age=0; HttpOnly/);
    expect(await me(one, cookie)).toBeNull();
  });
  expect((await call(one, 'POST', '/api/logout', undefined, { cookie: out.cookie })).status).toBe(204);
  await ends(() => link.query(`UPDATE user_sessions SET expires_at = now() WHERE ${newest}`));
  await ends(() => link.query(`UPDATE user_sessions SET seen_at = now() - interval '73 hours' WHERE ${newest}`));
  await ends(() => user(['password', 'ada@example.com'], 'another good password'));
  expect((await login('ada@example.com')).status).toBe(401);
  await quickUser('leaves');
  await ends(() => user(['rm', 'leaves']), 'leaves');
  // One that was used within LOGIN_IDLE stays.
  const used = await session('ada@example.com');
  await link.query(`UPDATE user_sessions SET seen_at = now() - interval '71 hours' WHERE ${newest}`);
  expect(await me(other, used.cookie)).not.toBeNull();
  const { rows } = await link.query<{ fresh: boolean }>(
    `SELECT seen_at > now() - interval '1 minute' AS fresh FROM user_sessions WHERE ${newest}`,
  );
  expect(rows).toEqual([{ fresh: true }]);
});

test('a live view ends when its session does', async () => {
  const held = await session('ada@example.com');
  const live = await call(other, 'GET', '/api/sites/csrf/live', undefined, { cookie: held.cookie });
  expect([live.status, live.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  expect((await call(other, 'GET', '/api/sites/csrf/live')).status).toBe(401);
  await call(one, 'POST', '/api/logout', undefined, { cookie: held.cookie });
  expect(await live.text()).toMatch(/event: live\n[\s\S]*event: end\ndata: "this view is not permitted any more"\n\n$/);
});

test('a viewer looks and changes nothing; a change of role holds in sessions that last', async () => {
  const viewer = await session('<script>alert(1)</script>');
  const answer = await call(other, 'GET', '/api/me', undefined, { cookie: viewer.cookie });
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(await answer.json()).toMatchObject({ me: { user: '<script>alert(1)</script>', role: 'viewer' } });
  const change = () => codeOf(call(other, 'POST', '/api/sites/csrf/shares', {}, asOwner(viewer)));
  expect(await change()).toEqual([403, 'ROLE_FORBIDDEN']);
  expect(await codeOf(call(other, 'GET', '/api/sites/csrf/shares', undefined, asOwner(viewer)))).toEqual([
    403,
    'ROLE_FORBIDDEN',
  ]);
  await user(['role', '<script>alert(1)</script>', '--role=owner']);
  await expect.poll(async () => (await change())[0], IN_FORCE).toBe(201);
  await user(['role', '<script>alert(1)</script>', '--role=viewer']);
  await expect.poll(change, IN_FORCE).toEqual([403, 'ROLE_FORBIDDEN']);
});

test('share links: made by owners, listed, locked by a password, ended', async () => {
  const owner = await session('ada@example.com');
  await site(['add', 'shop']);
  await site(['rename', 'shop', 'shop.example']);
  const path = '/api/sites/shop.example/shares';
  const headers = asOwner(owner);
  const label = '<img src=x onerror=alert(1)>';
  const made = await call(
    one,
    'POST',
    path,
    { label, password: PASSWORD, expires_at: '2099-01-01T00:00:00Z' },
    headers,
  );
  expect(made.status).toBe(201);
  const share = (await made.json()) as { id: string; token: string };
  expect(share).toMatchObject({ label, locked: true, expires_at: '2099-01-01T00:00:00.000Z' });
  const listed = await (await call(other, 'GET', path, undefined, { cookie: owner.cookie })).text();
  expect(JSON.parse(listed)).toMatchObject({ shares: [{ id: share.id, label, locked: true }] });
  expect(listed).not.toContain(share.token);
  for (const wrong of [{ label: 'x'.repeat(101) }, { password: 'short' }, { expires_at: 'tomorrow' }, { label: 1 }])
    expect(await codeOf(call(one, 'POST', path, wrong, headers)), JSON.stringify(wrong)).toEqual([
      400,
      'BAD_PARAMETER',
    ]);
  expect((await call(one, 'GET', '/api/sites/nowhere/shares', undefined, headers)).status).toBe(404);

  const unlock = (password: string, token = share.token, at = one) =>
    call(at, 'POST', '/api/share/unlock', { share: token, password }, anew());
  const look = (cookie = '', at = one) =>
    codeOf(call(at, 'GET', `/api/me?share=${share.token}`, undefined, { cookie }));
  expect(await look()).toEqual([401, 'SHARE_LOCKED']);
  expect(await look(owner.cookie)).toEqual([401, 'SHARE_LOCKED']);
  expect(await codeOf(unlock('wrong password'))).toEqual([401, 'SHARE_PASSWORD']);
  expect(await codeOf(unlock(PASSWORD, 'A'.repeat(43)))).toEqual([401, 'SHARE_INVALID']);
  const unlocked = await unlock(PASSWORD);
  expect([unlocked.status, unlocked.headers.get('set-cookie')]).toEqual([
    204,
    expect.stringMatching(
      /^ringmain_share_[0-9a-f]{16}=\d+\.[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Lax$/,
    ),
  ]);
  for (const at of [one, other]) expect((await look(cookieOf(unlocked), at))[0]).toBe(200);
  // The cookie of one link opens no other, and none that was changed opens any.
  const second = (await (await call(one, 'POST', path, {}, headers)).json()) as { id: string; token: string };
  const digest = await new Passwords({ ln: 4, r: 8, p: 1 }).hash(PASSWORD);
  await link.query('UPDATE site_shares SET password = $1 WHERE share_id = $2', [digest, second.id]);
  const secondName = cookieOf(await unlock(PASSWORD, second.token)).split('=')[0]!;
  const [, value] = cookieOf(unlocked).split('=') as [string, string];
  expect(
    await codeOf(call(one, 'GET', `/api/me?share=${second.token}`, undefined, { cookie: `${secondName}=${value}` })),
  ).toEqual([401, 'SHARE_LOCKED']);
  const [until, mac] = value.split('.') as [string, string];
  expect(await look(`${cookieOf(unlocked).split('=')[0]}=${Number(until) + 1}.${mac}`)).toEqual([401, 'SHARE_LOCKED']);

  // Twelve hours after the password was given it is asked for again, whatever a browser keeps.
  const { rows: kept } = await link.query<{ id: string; password: string; now: number }>(
    `SELECT share_id AS id, password, extract(epoch FROM now())::int AS now FROM site_shares WHERE share_id = $1`,
    [share.id],
  );
  const { id: shareId, password: shareDigest, now } = kept[0]!;
  const givenBefore = (seconds: number) =>
    unlockedValue({ id: shareId, password: shareDigest, nowS: now - seconds, site: 0, names: [] });
  const unlockedName = cookieOf(unlocked).split('=')[0]!;
  expect((await look(`${unlockedName}=${givenBefore(11 * 3600)}`))[0]).toBe(200);
  // What a process knows of a link, the time among it, it believes for a second.
  expect(await look(`${unlockedName}=${givenBefore(12 * 3600 + 10)}`)).toEqual([401, 'SHARE_LOCKED']);

  const bare = (await site(['share', 'shop', '--label=board'])).trim().split('=').at(-1)!;
  expect((await call(other, 'GET', `/api/me?share=${bare}`)).status).toBe(200);
  const id = (await link.query<{ share_id: string }>("SELECT share_id FROM site_shares WHERE label = 'board'")).rows[0]!
    .share_id;
  await site(['unshare', id]);
  await expect
    .poll(() => codeOf(call(other, 'GET', `/api/me?share=${bare}`)), IN_FORCE)
    .toEqual([401, 'SHARE_INVALID']);
  // A new password ends what the old one opened.
  await link.query('UPDATE site_shares SET password = $1 WHERE share_id = $2', [digest, share.id]);
  await expect.poll(() => look(cookieOf(unlocked)), IN_FORCE).toEqual([401, 'SHARE_LOCKED']);
  await link.query('UPDATE site_shares SET password = $1 WHERE share_id = $2', [shareDigest, share.id]);
  await expect.poll(async () => (await look(cookieOf(unlocked)))[0], IN_FORCE).toBe(200);
  await link.query('UPDATE site_shares SET expires_at = now() WHERE share_id = $1', [share.id]);
  await expect.poll(() => look(cookieOf(unlocked)), IN_FORCE).toEqual([401, 'SHARE_INVALID']);
  expect((await call(one, 'DELETE', `${path}/${share.id}`, undefined, { cookie: owner.cookie })).status).toBe(403);
  expect((await call(one, 'DELETE', `/api/sites/csrf/shares/${share.id}`, undefined, headers)).status).toBe(404);
  expect((await call(one, 'DELETE', `${path}/${share.id}`, undefined, headers)).status).toBe(204);
  expect((await call(one, 'DELETE', `${path}/${share.id}`, undefined, headers)).status).toBe(404);
});

// Goal: no route of a site is open to who may not see it. Method: all that the document has, also those to come.
test('each route of a site is for those whom the README names, and for nobody else', async () => {
  await quickUser('table', 'owner');
  await quickUser('looks', 'viewer');
  const owner = await session('table');
  const viewer = await session('looks');
  const bearing = async (name: string) => {
    await site(['add', name]);
    const key = (await site(['key', name, '--scope=read'])).trim().split('\n').at(-1)!;
    const made = await call(one, 'POST', `/api/sites/${name}/shares`, {}, asOwner(owner));
    return { key: { authorization: `Bearer ${key}` }, share: ((await made.json()) as { token: string }).token };
  };
  const [own, foreign] = [await bearing('first.example'), await bearing('second.example')];
  await expect.poll(async () => (await call(one, 'GET', '/api/me', undefined, foreign.key)).status, IN_FORCE).toBe(200);
  const people = {
    nobody: [{}, ''],
    'key of the site': [own.key, ''],
    'key of another': [foreign.key, ''],
    'link of the site': [{}, `&share=${own.share}`],
    'link of another': [{}, `&share=${foreign.share}`],
    viewer: [asOwner(viewer), ''],
    owner: [asOwner(owner), ''],
    'owner without token': [{ cookie: owner.cookie }, ''],
  } as const satisfies Record<string, readonly [Headers, string]>;
  type Who = keyof typeof people;
  const anybody: Record<Who, string> = {
    nobody: '401 LOGIN_REQUIRED',
    'key of the site': '200',
    'key of another': '403 KEY_FORBIDDEN',
    'link of the site': '200',
    'link of another': '401 SHARE_INVALID',
    viewer: '200',
    owner: '200',
    'owner without token': '200',
  };
  const owners: Record<Who, string> = {
    nobody: '401 LOGIN_REQUIRED',
    'key of the site': '401 LOGIN_REQUIRED',
    'key of another': '401 LOGIN_REQUIRED',
    'link of the site': '401 LOGIN_REQUIRED',
    'link of another': '401 LOGIN_REQUIRED',
    viewer: '403 ROLE_FORBIDDEN',
    owner: '200',
    'owner without token': '200',
  };
  // With a body that is refused, and the number of a goal that there is not, an owner changes nothing either.
  const changes = { ...owners, owner: 'passed', 'owner without token': '403 FORGED_REQUEST' };
  const question = { site_id: 'first.example', metrics: ['visitors'], date_range: '7d' };
  const operations = new HeldDocument(openApiText(givenPaths)).operations.filter(
    ({ path }) => path.startsWith('/api/sites/{') || path === '/api/v2/query',
  );
  expect(operations.length).toBeGreaterThan(12);
  for (const { path, method } of operations) {
    const asks = path === '/api/v2/query';
    const reads = method === 'GET' || method === 'HEAD';
    const target = path.replace(/\{\w+\}/, 'first.example').replace(/\{\w+\}/, '999');
    const expected = asks || (reads && !path.endsWith('/shares')) ? anybody : reads ? owners : changes;
    for (const [who, [headers, share]] of Object.entries(people)) {
      const body = reads ? undefined : asks ? question : [];
      const answer = await call(one, method, `${target}?dimension=path&format=csv${share}`, body, headers);
      const wanted = expected[who as Who];
      const what = `${method} ${path} by ${who}`;
      if (wanted === 'passed') expect([400, 404], what).toContain(answer.status);
      else if (answer.ok || method === 'HEAD') expect(String(answer.status), what).toBe(wanted.slice(0, 3));
      else expect((await codeOf(answer)).join(' '), what).toBe(wanted);
      // A live view goes on until somebody leaves.
      await answer.body?.cancel().catch(() => undefined);
    }
  }
  // The list is cut down to what may be seen.
  const listed = async (headers: Headers, query = '') => {
    const { sites } = (await (await call(one, 'GET', `/api/sites${query}`, undefined, headers)).json()) as {
      sites: readonly { site_id: string }[];
    };
    return sites.map(({ site_id }) => site_id);
  };
  expect(await listed(own.key)).toEqual(['first.example']);
  expect(await listed({}, `?share=${foreign.share}`)).toEqual(['second.example']);
  expect(await listed({ cookie: viewer.cookie })).toEqual(expect.arrayContaining(['first.example', 'second.example']));
});

test('a read key still works, and one that is wrong is refused', async () => {
  const key = (await site(['key', 'shop.example', '--scope=read'])).trim().split('\n').at(-1)!;
  const bearing = (text: string) => ({ authorization: `Bearer ${text}` });
  await expect
    .poll(async () => (await call(one, 'GET', '/api/me', undefined, bearing(key))).status, IN_FORCE)
    .toBe(200);
  const stats = `/stats?site_id=shop&date=2025-11-15`;
  expect((await call(one, 'GET', stats, undefined, bearing(key))).status).toBe(200);
  expect(await codeOf(call(one, 'GET', '/api/me', undefined, bearing(`${key}x`)))).toEqual([401, 'KEY_INVALID']);
  const ingest = (await site(['key', 'shop.example', '--scope=ingest'])).trim().split('\n').at(-1)!;
  await expect
    .poll(() => codeOf(call(one, 'GET', '/api/me', undefined, bearing(ingest))), IN_FORCE)
    .toEqual([403, 'KEY_FORBIDDEN']);
});

test('who may see nothing and asks for it wrongly is refused, and the process lives', async () => {
  const held = new HeldDocument(openApiText(givenPaths));
  await held.checkWrongAndRefused(one.url);
  // The page's own list is refused behind all that was begun above, by the same worker.
  expect(await codeOf(call(one, 'GET', '/api/sites'))).toEqual([401, 'LOGIN_REQUIRED']);
  expect(await codeOf(call(one, 'GET', '/api/sites/csrf/summary?period=wrong!'))).toEqual([401, 'LOGIN_REQUIRED']);
  expect(one.process.log).not.toContain('cannot continue');
});

test('attempts are limited by account over all acceptors, and by network; the answer says when to come back', async () => {
  await quickUser('victim');
  // Node opens a connection for each request under way: the kernel spreads them over the three acceptors.
  const tries = await Promise.all(Array.from({ length: 14 }, () => login('victim', 'wrong password', {}, other)));
  const statuses = tries.map(({ status }) => status).sort();
  expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), ...Array.from({ length: 4 }, () => 429)]);
  const refused = tries.find(({ status }) => status === 429)!;
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20);
  expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(30);
  expect(await refused.json()).toMatchObject({ code: 'TOO_MANY_ATTEMPTS' });
  expect((await login('VICTIM', PASSWORD, {}, other)).status).toBe(429);
  // Another process has limits of its own; another network, here of IPv6, is counted apart.
  expect((await login('victim', PASSWORD)).status).toBe(200);
  const codes: number[] = [];
  for (let i = 0; i < 21; i += 1) {
    await quickUser(`guess${i}`);
    codes.push((await login(`guess${i}`, 'wrong password', { 'x-forwarded-for': `2001:db8:7:7::${i + 1}` })).status);
  }
  expect(codes).toEqual([...Array.from({ length: 20 }, () => 401), 429]);
  expect((await login('guess1', 'wrong password', { 'x-forwarded-for': '2001:db8:7:8::1' })).status).toBe(401);
});

test('attempts on a link are limited as those on an account; what succeeds is no attempt', async () => {
  const digest = await new Passwords({ ln: 4, r: 8, p: 1 }).hash(PASSWORD);
  const owner = await session('ada@example.com');
  await site(['add', 'guessed.example']);
  const made = await call(one, 'POST', '/api/sites/guessed.example/shares', {}, asOwner(owner));
  const { id, token } = (await made.json()) as { id: string; token: string };
  await link.query('UPDATE site_shares SET password = $1 WHERE share_id = $2', [digest, id]);
  const unlock = (password: string, share = token, headers = anew()) =>
    call(one, 'POST', '/api/share/unlock', { share, password }, headers);
  const codes = [];
  for (let i = 0; i < 11; i += 1) codes.push((await unlock('wrong password')).status);
  expect(codes).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
  // Nor may one network go through tokens.
  const network = anew();
  const tokens = [];
  for (let i = 0; i < 21; i += 1) tokens.push((await unlock(PASSWORD, 'A'.repeat(43), network)).status);
  expect(tokens).toEqual([...Array.from({ length: 20 }, () => 401), 429]);

  await quickUser('often');
  const desk = anew();
  for (let i = 0; i < 22; i += 1) expect((await login('often', PASSWORD, desk)).status, `login ${i}`).toBe(200);
  // The digest that was quick to check has been made anew by the parameters of today.
  const { rows } = await link.query<{ password: string }>("SELECT password FROM users WHERE name = 'often'");
  expect(new Passwords().needsRehash(rows[0]!.password)).toBe(false);
});

test('every login and change left its line, without secrets and addresses', async () => {
  const said = JSON.parse(await user(['audit', '--json', '--lines=1000'])) as {
    action: string;
    actor: string | null;
    subject: string | null;
    network: string | null;
  }[];
  const seen = new Set(said.map(({ action }) => action));
  for (const action of [
    'login',
    'login_failed',
    'logout',
    'user_added',
    'user_removed',
    'user_disabled',
    'user_enabled',
  ])
    expect(seen, action).toContain(action);
  for (const action of [
    'user_role',
    'user_password',
    'site_key_added',
    'share_added',
    'share_removed',
    'share_unlocked',
  ])
    expect(seen, action).toContain(action);
  expect(seen).toContain('share_unlock_failed');
  expect(said.find(({ action }) => action === 'share_added')).toMatchObject({ network: null });
  expect(
    said.filter(({ action, actor }) => action === 'share_added' && actor === 'Ada@example.com').length,
  ).toBeGreaterThan(2);
  expect(said.some(({ network }) => network === '2001:db8:7::/48')).toBe(true);
  const all = JSON.stringify(said) + one.process.log + other.process.log;
  expect(all).not.toMatch(/nobody|not the password|2001:db8:7:7::1\b|198\.51\.\d+\.7/);
  expect(one.process.log).toContain('a login failed');
});
