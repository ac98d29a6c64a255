/** Pictures through the built gateway: real Postgres, the stand-in for imgproxy, two acceptors. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { picturePaths } from '../../../src/gateway/admin/openapi/paths-pictures.ts';
import { hashOf } from '../../../src/gateway/cache/disk.ts';
import { RawConnection } from '../../http/raw.ts';
import { type Imgproxy, noisePicture, startImgproxy } from '../../servers/imgproxy.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { startDatabase } from '../database.ts';
import { ADMIN_KEY, type RunningGateway, startGateway } from '../running.ts';

const scope = fileScope();
const [key, salt] = ['00112233445566778899', 'aabbccddeeff'];
const folder = temporaryFolder('ringmain-pictures-').folder;
const uploads = join(folder, 'uploads');
let gateway: RunningGateway;
let imgproxy: Imgproxy;
let client: pg.Client;
let dsn: string;
/** An upload that was purged before anything of it was cached. */
let purged: string;
const users: { id: number; key: string }[] = [];
const env = {
  ACCEPTORS: '2',
  IP_REQUESTS_PER_MINUTE: '1000000',
  USER_REQUESTS_PER_MINUTE: '1000000',
  IMGPROXY_KEY: key,
  IMGPROXY_SALT: salt,
  IMGPROXY_SECRET: 'between us',
  BACKENDS: JSON.stringify([{ url: 'http://127.0.0.1:24440', weight: 1 }]),
  ALLOWED_SOURCES: 'local:///shared/',
  CACHE_ENTRY_MAX_BYTES: '256KiB',
};
const start = () => startGateway(scope, { port: 24441, dsn, folder, env });

beforeAll(async () => {
  mkdirSync(uploads, { recursive: true });
  const server = await startDatabase(scope, 24442);
  dsn = server.dsn;
  imgproxy = await startImgproxy(scope, { port: 24440, root: uploads, key, salt, secret: 'between us', auto: true });
  client = new pg.Client({ connectionString: dsn });
  client.on('error', () => undefined);
  await client.connect();
  scope.onTestFinished(() => client.end());
  purged = await place(200);
  await client.query('INSERT INTO cache_purges (source, prefix) VALUES ($1, false)', [`local:///${purged}`]);
  gateway = await start();
  for (const name of ['ada', 'bob']) {
    const { id } = (await admin('/api/v1/users', { username: name, email: `${name}@example.com` })) as { id: number };
    const made = (await admin(`/api/v1/users/${id}/keys`, { name, scopes: ['read', 'upload'] })) as { key: string };
    users.push({ id, key: made.key });
  }
  await own(0, purged);
  // Keys and backends are known a moment after they are made.
  for (const user of [0, 1])
    await gateway.process.until(
      async () => (await get('/rs:fit:1:1/plain/local:///shared/none', user)).status === 404,
      10_000,
    );
});

// A test that failed midway leaves its faults to nobody.
beforeEach(() => imgproxy.faults({}));

async function admin(path: string, body: object): Promise<unknown> {
  const headers = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' };
  const answer = await fetch(gateway.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  return answer.json();
}

const { get: operation } = picturePaths['/{path}'] as { readonly get: { readonly responses: object } };
const documented = Object.keys(operation.responses).map(Number);
/** Each status is one of the document. */
async function get(path: string, user = 0, headers: Readonly<Record<string, string>> = {}, method = 'GET') {
  const answer = await fetch(gateway.url + path, { method, headers: { 'x-api-key': users[user]!.key, ...headers } });
  expect(documented).toContain(answer.status);
  return answer;
}
const state = async (path: string, user = 0, headers = {}) => {
  const answer = await get(path, user, headers);
  await answer.arrayBuffer();
  return [answer.status, answer.headers.get('x-cache')];
};

/** Puts a picture where an upload would be. */
async function place(width: number): Promise<string> {
  const bytes = await noisePicture(width, width);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const path = `${sha256.slice(0, 2)}/${sha256}.jpg`;
  mkdirSync(join(uploads, sha256.slice(0, 2)), { recursive: true });
  writeFileSync(join(uploads, path), bytes);
  return path;
}

/** Gives it its owner. */
async function own(owner: number, path: string): Promise<void> {
  const sha = Buffer.from(path.slice(3, 67), 'hex');
  await client.query("INSERT INTO uploads VALUES ($1, $2, 1, 'jpeg', 1, 1)", [sha, path]);
  await client.query('INSERT INTO upload_owners VALUES (gen_random_uuid(), $1, $2)', [users[owner]!.id, sha]);
}

async function upload(owner: number, width = 200): Promise<string> {
  const path = await place(width);
  await own(owner, path);
  return path;
}

test('own uploads are resized, signed and kept; those of others and foreign sources never reach the backend', async () => {
  const path = await upload(0);
  const picture = `/rs:fit:100:100/plain/local:///${path}@png`;
  const first = await get(picture);
  const body = Buffer.from(await first.arrayBuffer());
  expect([first.status, first.headers.get('x-cache'), first.headers.get('content-type')]).toEqual([
    200,
    'MISS',
    'image/png',
  ]);
  const etag = first.headers.get('etag')!;
  expect(first.headers.get('cache-control')).toBe('private, max-age=2592000');
  // Another spelling is the same picture. Two acceptors: memory of one, or the disk that both share.
  expect(await state(`/unsafe/rs:fit:100:100/${Buffer.from(`local:///${path}`).toString('base64url')}.png`)).toEqual([
    200,
    'HIT',
  ]);
  const before = await imgproxy.counts();
  for (const [source, user] of [
    [`local:///${path}`, 1],
    ['local:///../secret', 0],
    ['local:///%252e%252e/secret', 0],
    ['http://127.0.0.1:24440/health', 0],
    ['local:///other/a.jpg', 0],
  ] as const) {
    const answer = await get(`/w:10/plain/${source}`, user);
    expect([source, answer.status, await answer.json()]).toMatchObject([source, 403, { code: 'SOURCE_FORBIDDEN' }]);
  }
  expect((await get(`/wmu:aHR0cDovL2V2aWw/plain/local:///${path}`)).status).toBe(403);
  expect((await imgproxy.counts()).requests).toBe(before.requests);
  expect((await fetch(gateway.url + picture)).status).toBe(401);
  // Conditions and ranges of what is kept.
  const same = await get(picture, 0, { 'if-none-match': `"x", W/${etag}` });
  expect([same.status, same.headers.get('etag'), same.headers.get('content-type')]).toEqual([304, etag, null]);
  for (const [range, status, from, to] of [
    ['bytes=0-99', 206, 0, 100],
    ['bytes=-50', 206, body.length - 50, body.length],
    ['bytes=100-', 206, 100, body.length],
    ['bytes=0-1,5-6', 200, 0, body.length],
    [`bytes=${body.length}-`, 416, 0, 0],
  ] as const) {
    const part = await get(picture, 0, { range });
    expect([range, part.status]).toEqual([range, status]);
    const bytes = Buffer.from(await part.arrayBuffer());
    expect(part.statusText).toBe({ 200: 'OK', 206: 'Partial Content', 416: 'Range Not Satisfiable' }[status]);
    if (status !== 416) expect(bytes.equals(body.subarray(from, to))).toBe(true);
    else expect(part.headers.get('content-range')).toBe(`bytes */${body.length}`);
  }
  expect((await get(picture, 0, { range: 'bytes=0-9', 'if-range': '"old"' })).status).toBe(200);
  // Range is for GET alone.
  const part = await get(picture, 0, { range: 'bytes=0-9' }, 'HEAD');
  expect([part.status, part.headers.get('content-length')]).toEqual([200, String(body.length)]);
  const head = await get(picture, 0, {}, 'HEAD');
  expect([head.status, head.headers.get('content-length'), head.headers.get('x-cache')]).toEqual([
    200,
    String(body.length),
    'HIT',
  ]);
});

test('a browser takes a picture for nothing else and runs no script of it, whichever way it comes', async () => {
  const kept = `/w:75/plain/local:///${await upload(0)}@png`;
  const passed = `/w:76/plain/local:///${await upload(0)}@png`;
  const looked = async (picture: string, method = 'GET') => {
    const answer = await get(picture, 0, {}, method);
    await answer.arrayBuffer();
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'none';.*; sandbox$/);
    return answer.headers.get('x-cache');
  };
  expect([await looked(kept), await looked(kept), await looked(kept, 'HEAD')]).toEqual(['MISS', 'HIT', 'HIT']);
  // Those that are not kept come as the backend sends them, from the second one on.
  await imgproxy.faults({ headers: { 'Cache-Control': 'no-store' } });
  expect([await looked(passed), await looked(passed), await looked(passed)]).toEqual(['MISS', 'MISS', 'MISS']);
});

test('the first answer to an owner is that of a first request, whoever else has the picture', async () => {
  const path = await upload(0);
  const picture = `/w:70/plain/local:///${path}@png`;
  await imgproxy.faults({ headers: { 'Last-Modified': 'Sun, 29 Nov 2026 10:00:00 GMT' } });
  expect(await state(picture)).toEqual([200, 'MISS']);
  await expect.poll(() => state(picture)).toEqual([200, 'HIT']);
  const { requests } = await imgproxy.counts();
  const sha = Buffer.from(path.slice(3, 67), 'hex');
  await client.query('INSERT INTO upload_owners VALUES (gen_random_uuid(), $1, $2)', [users[1]!.id, sha]);
  const first = await get(picture, 1);
  await first.arrayBuffer();
  // The backend makes it again, so neither does the time of the answer tell.
  expect([first.status, first.headers.get('x-cache'), first.headers.get('age')]).toEqual([200, 'MISS', '0']);
  expect((await imgproxy.counts()).requests).toBe(requests + 1);
  for (const user of [0, 1]) expect((await get(picture, user)).headers.get('last-modified')).toBeNull();
});

test('Accept chooses the format, and is part of what is kept', async () => {
  const path = `/w:50/plain/local:///${await upload(0)}`;
  for (const [accept, type] of [
    ['image/avif,image/webp,*/*', 'image/avif'],
    ['image/webp', 'image/webp'],
    ['*/*', 'image/jpeg'],
    ['text/html, image/webp;q=0.9', 'image/webp'],
  ] as const) {
    const answer = await get(path, 0, { accept });
    await answer.arrayBuffer();
    expect([accept, answer.headers.get('content-type'), answer.headers.get('vary')]).toEqual([
      accept,
      type,
      expect.stringContaining('Accept'),
    ]);
  }
});

test('a thousand requests for one cold picture, over two acceptors, reach the backend once', async () => {
  const path = `/w:60/plain/local:///${await upload(0)}@png`;
  await imgproxy.faults({ delayMs: 300 });
  const before = (await imgproxy.counts()).requests;
  const states = await Promise.all(Array.from({ length: 1000 }, () => state(path)));
  expect(states.filter(([status]) => status !== 200)).toEqual([]);
  expect((await imgproxy.counts()).requests - before).toBe(1);
});

test('a request that hides behind two framing headers of a picture is refused: 400, and the connection is closed', async () => {
  const path = `/w:71/plain/local:///${await upload(0)}@png`;
  await expect.poll(() => state(path)).toEqual([200, 'HIT']);
  const lines = `Host: a\r\nX-API-Key: ${users[0]!.key}`;
  const hidden = `GET ${path} HTTP/1.1\r\n${lines}\r\n\r\n`;
  const { requests } = await imgproxy.counts();
  for (const method of ['GET', 'HEAD'])
    for (const framing of [
      `Content-Length:\r\nContent-Length: ${hidden.length}`,
      'Transfer-Encoding:\r\nTransfer-Encoding: chunked',
      `Content-Length: 0\r\nContent-Length: ${hidden.length}`,
    ]) {
      const connection = await RawConnection.open(24441);
      // A cold one: nothing of it may be asked for.
      connection.send(`${method} ${path.replace('w:71', 'w:72')} HTTP/1.1\r\n${lines}\r\n${framing}\r\n\r\n`);
      expect([framing, (await connection.answer(5000, method === 'HEAD'))?.status]).toEqual([framing, 400]);
      connection.send(hidden);
      await connection.closed();
      expect(connection.rest).toBe('');
      connection.close();
    }
  expect((await imgproxy.counts()).requests).toBe(requests);
});

test('stale pictures are served while they are asked for again, and when the backend fails', async () => {
  const path = `/w:61/plain/local:///${await upload(0)}@png`;
  await imgproxy.faults({ headers: { 'Cache-Control': 'max-age=0' } });
  expect(await state(path)).toEqual([200, 'MISS']);
  await expect.poll(() => state(path)).toEqual([200, 'STALE']);
  await imgproxy.faults({ status: 500 });
  expect(await state(path)).toEqual([200, 'STALE']);
  const other = await get(`/w:62/plain/local:///${await upload(0)}@png`);
  expect([other.status, await other.json()]).toMatchObject([502, { code: 'BACKEND_FAILED' }]);
  // The queue of imgproxy is full: what is stale is served, everything else is to be tried again.
  for (const [status, headers, after] of [
    [429, { 'Retry-After': '7' }, '7'],
    [503, {}, '1'],
  ] as const) {
    await imgproxy.faults({ status, headers });
    expect(await state(path)).toEqual([200, 'STALE']);
    const busy = await get(`/w:62/plain/local:///${await upload(0)}@png`);
    expect([busy.status, busy.headers.get('retry-after'), await busy.json()]).toMatchObject([
      503,
      after,
      { code: 'BACKENDS_BUSY' },
    ]);
  }
  await imgproxy.faults({ status: 422 });
  const unfit = await get(`/w:62/plain/local:///${await upload(0)}@png`);
  expect([unfit.status, await unfit.json()]).toMatchObject([422, { code: 'PICTURE_UNFIT' }]);
  await imgproxy.faults({ way: 'short' });
  expect((await get(`/w:63/plain/local:///${await upload(0)}@png`)).status).toBe(502);
  await imgproxy.faults({});
  // What is too large to keep is asked for once by an acceptor, for all who wait for it.
  await imgproxy.faults({ bytes: 3_000_000, delayMs: 300 });
  const large = `/w:64/plain/local:///${await upload(0)}@png`;
  const { requests } = await imgproxy.counts();
  const whole = await Promise.all(Array.from({ length: 50 }, async () => (await get(large)).arrayBuffer()));
  expect(whole.filter(({ byteLength }) => byteLength !== 3_000_000)).toEqual([]);
  expect((await imgproxy.counts()).requests - requests).toBeLessThanOrEqual(2);
});

test('a backend is asked whether a picture has changed, and only its failures bring back what is stale', async () => {
  const picture = `/w:66/plain/local:///${await upload(0)}@png`;
  const asks = 'max-age=0, stale-while-revalidate=0, stale-if-error=100';
  await imgproxy.faults({ headers: { 'Cache-Control': asks, ETag: '"first"' } });
  const first = Buffer.from(await (await get(picture)).arrayBuffer());
  await imgproxy.faults({ status: 500 });
  expect(await state(picture)).toEqual([200, 'STALE']);
  await imgproxy.faults({ status: 422 });
  expect(await state(picture)).toEqual([422, null]);
  await imgproxy.faults({ status: 304, headers: { 'Cache-Control': asks } });
  const same = await get(picture);
  expect([same.status, Buffer.from(await same.arrayBuffer()).equals(first)]).toEqual([200, true]);
  expect((await imgproxy.counts()).lastHeaders['if-none-match']).toBe('"first"');
});

test('a backend hears the id of the request, of the client or made, whichever way a picture comes', async () => {
  const picture = `/w:67/plain/local:///${await upload(0)}@png`;
  const heard = async () => (await imgproxy.counts()).lastHeaders['x-request-id'];
  await imgproxy.faults({ headers: { 'Cache-Control': 'no-store' } });
  for (const id of ['first', 'passed-on'])
    expect([(await get(picture, 0, { 'x-request-id': id })).headers.get('x-request-id'), await heard()]).toEqual([
      id,
      id,
    ]);
  const made = (await get(picture)).headers.get('x-request-id');
  expect(await heard()).toBe(made);
});

test('a purge, and the end of an ownership, are in force within a second', async () => {
  const upload0 = await upload(0);
  const path = `/w:65/plain/local:///${upload0}@png`;
  expect(await state(path)).toEqual([200, 'MISS']);
  await expect.poll(() => state(path)).toEqual([200, 'HIT']);
  const purge = (body: object, token: string, header = 'x-api-key') =>
    fetch(`${gateway.url}/api/v1/purge`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', [header]: token },
      body: JSON.stringify(body),
    });
  const [ada, bob] = users as [{ key: string; id: number }, { key: string; id: number }];
  expect((await purge({ path }, bob.key)).status).toBe(403);
  expect((await purge({ prefix: 'local:///' }, ada.key)).status).toBe(403);
  for (const asks of [
    () => purge({ path }, ada.key),
    () => purge({ path: `local:///${upload0}` }, `Bearer ${ADMIN_KEY}`, 'authorization'),
    () => purge({ prefix: `local:///${upload0.slice(0, 6)}` }, `Bearer ${ADMIN_KEY}`, 'authorization'),
  ]) {
    const before = (await imgproxy.counts()).requests;
    expect((await asks()).status).toBe(202);
    await expect
      .poll(async () => {
        await state(path);
        return (await imgproxy.counts()).requests > before;
      })
      .toBe(true);
  }
  await client.query('DELETE FROM upload_owners WHERE user_id = $1 AND sha256 = $2', [
    ada.id,
    Buffer.from(upload0.slice(3, 67), 'hex'),
  ]);
  await expect.poll(() => state(path)).toEqual([403, null]);
  // The file goes with its last owner, and its variants go with it.
  await expect.poll(() => variantsOf(upload0)).not.toEqual([]);
  await client.query('DELETE FROM uploads WHERE path = $1', [upload0]);
  await expect.poll(() => variantsOf(upload0)).toEqual([]);
});

test('a picture whose upload is deleted while a backend makes it reaches who asked, and is kept nowhere', async () => {
  const headers = { 'x-api-key': users[0]!.key };
  const body = await noisePicture(210, 210);
  const keep = async () =>
    (await (await fetch(`${gateway.url}/api/v1/upload`, { method: 'POST', headers, body })).json()) as {
      readonly id: string;
      readonly sha256: string;
    };
  const { id, sha256 } = await keep();
  const path = `${sha256.slice(0, 2)}/${sha256}.jpg`;
  expect(await state(`/w:80/plain/local:///${path}@png`)).toEqual([200, 'MISS']);
  await expect.poll(() => variantsOf(path).length).toBe(1);
  await imgproxy.faults({ held: true });
  const picture = `/w:81/plain/local:///${path}@png`;
  const asked = state(picture);
  await expect.poll(async () => (await imgproxy.counts()).held).toBe(1);
  expect((await fetch(`${gateway.url}/api/v1/upload/${id}`, { method: 'DELETE', headers })).status).toBe(204);
  await expect.poll(() => variantsOf(path)).toEqual([]);
  // Both acceptors know it: they ask for its owner anew.
  for (let i = 0; i < 20; i++) await expect.poll(() => state(picture, 0, { connection: 'close' })).toEqual([403, null]);
  await imgproxy.faults({});
  expect(await asked).toEqual([200, 'MISS']);
  const { requests } = await imgproxy.counts();
  expect((await keep()).sha256).toBe(sha256);
  expect(await state(picture)).toEqual([200, 'MISS']);
  expect((await imgproxy.counts()).requests).toBe(requests + 1);
});

test('questions about the log that take long hold up no picture, and only a few of them wait', async () => {
  const path = await upload(0);
  const other = new pg.Client({ connectionString: dsn });
  await other.connect();
  await other.query('BEGIN');
  await other.query('LOCK TABLE request_logs IN ACCESS EXCLUSIVE MODE');
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const answered: number[] = [];
  const questions = Array.from({ length: 20 }, async () => {
    answered.push((await fetch(`${gateway.url}/api/v1/logs?limit=1`, { headers })).status);
  });
  // Two are asked, eight wait, the others are sent away at once.
  await expect.poll(() => answered).toEqual(Array.from({ length: 10 }, () => 503));
  expect(await state(`/w:67/plain/local:///${path}@png`)).toEqual([200, 'MISS']);
  await other.query('ROLLBACK');
  await other.end();
  await Promise.all(questions);
  expect(answered.slice(10)).toEqual(Array.from({ length: 10 }, () => 200));
});

/** Files of its variants in the disk tier. */
function variantsOf(path: string): readonly string[] {
  const part = hashOf(`local:///${path}`).toString('hex');
  const shard = join(folder, 'cache', part.slice(0, 2));
  return existsSync(shard) ? readdirSync(shard).filter((name) => name.startsWith(part)) : [];
}

test('what is kept on the disk outlasts kill -9, also what was made after a purge', async () => {
  const path = `/w:66/plain/local:///${purged}@png`;
  await expect.poll(async () => (await get(path)).status).toBe(200);
  const bytes = await (await get(path)).arrayBuffer();
  // Written behind the answer.
  await expect.poll(() => variantsOf(purged).length).toBe(1);
  await gateway.process.end('SIGKILL');
  gateway = await start();
  // Until it knows keys, nobody is served; the first answer tells.
  const answers: (string | number | null)[][] = [];
  await expect.poll(async () => answers[answers.push(await state(path)) - 1]?.[0]).toBe(200);
  expect(answers.at(-1)).toEqual([200, 'HIT']);
  expect(Buffer.from(await (await get(path)).arrayBuffer()).equals(Buffer.from(bytes))).toBe(true);
});
