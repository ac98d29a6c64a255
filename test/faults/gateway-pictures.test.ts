/**
 * Goal: bytes of the month are the bytes that clients received, also of pictures out of the cache, in parts, unchanged, and
 * too large to keep; and what one process purges no other one serves. Method: built gateways, a real Postgres, the
 * stand-in for imgproxy; clients that never rest, and SIGKILL. SEED repeats the choices of a run, LONG=1 makes more rounds.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, type TestContext, test } from 'vitest';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { randomFrom } from '../analytics/rollup/events.ts';
import { emptyTables, openLink, startDatabase } from '../gateway/database.ts';
import { type RunningGateway, startGateway } from '../gateway/running.ts';
import { addOwner, ask, type Uploaded, uploadedBy } from '../gateway/upload/owner.ts';
import { noisePicture, startImgproxy } from '../servers/imgproxy.ts';
import { temporaryFolder } from '../servers/process.ts';
import { fileScope } from '../servers/scope.ts';

const POSTGRES_PORT = 24_750;
const PORT = 24_751;
const IMGPROXY_PORT = 24_753;
const ROUNDS = process.env['LONG'] ? Number(process.env['ROUNDS'] ?? 20) : 3;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const MANY = '1000000';

const scope = fileScope();
let dsn: string;
let link: PostgresLink;
beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, POSTGRES_PORT));
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(() => emptyTables(link));

/** Gateways in front of one stand-in, whose uploads are in one folder. */
async function stand(t: TestContext) {
  const root = temporaryFolder('ringmain-pictures-').folder;
  const uploads = join(root, 'uploads');
  mkdirSync(uploads);
  const imgproxy = await startImgproxy(t, { port: IMGPROXY_PORT, root: uploads });
  const env = {
    ACCEPTORS: '2',
    PG_FLUSH_MS: '50ms',
    UPLOAD_DIR: uploads,
    IP_REQUESTS_PER_MINUTE: MANY,
    USER_REQUESTS_PER_MINUTE: MANY,
    CACHE_ENTRY_MAX_BYTES: '64KiB',
    BACKENDS: `[{"url":"${imgproxy.url}"}]`,
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  t.onTestFinished(() => agent.destroy());
  return { imgproxy, env, agent };
}

interface Got {
  /** 0: the connection broke; -1: there was nobody. */
  readonly status: number;
  readonly bytes: number;
  readonly headers: IncomingHttpHeaders;
}

interface Wish {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function get(agent: Agent, port: number, key: string, { path, method = 'GET', headers = {} }: Wish): Promise<Got> {
  return new Promise((resolve) => {
    const sent = request({ agent, port, path, method, headers: { 'x-api-key': key, ...headers } });
    const broken = (error?: NodeJS.ErrnoException) =>
      resolve({ status: error?.code === 'ECONNREFUSED' ? -1 : 0, bytes: 0, headers: {} });
    sent.once('error', broken).once('response', (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      // A body that breaks off ends, too.
      answer.once('end', () =>
        answer.complete ? resolve({ status: answer.statusCode!, bytes, headers: answer.headers }) : broken(),
      );
      answer.once('error', broken).once('close', () => broken());
    });
    sent.end();
  });
}

test('the gateway is killed under pictures from cache and backend: bytes of the month are those that clients received', async (t) => {
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const CLIENTS = 12;
  const { env, agent } = await stand(t);
  const ada = await addOwner(link, 'ada');
  const bob = await addOwner(link, 'bob');
  let gateway: RunningGateway = await startGateway(t, { port: PORT, dsn, env });
  // Uploads are those of bob, whose usage nobody looks at; ada has the same pictures, so that her usage begins at zero.
  const pictures: Uploaded[] = [];
  for (const side of [60, 150, 600]) {
    const body = await noisePicture(side, side);
    const upload = uploadedBy(await ask(agent, { port: PORT, key: bob.key, body }))!;
    pictures.push(upload);
  }
  await link.query(
    `INSERT INTO upload_owners (id, user_id, sha256) SELECT gen_random_uuid(), $1, sha256 FROM upload_owners
      WHERE user_id = $2`,
    [ada.userId, bob.userId],
  );
  // The last one is larger than what is kept.
  const wishes: { readonly wish: Wish; readonly status: number; readonly bytes: number }[] = [];
  for (const { url } of pictures) {
    const path = `${url}@jpg`;
    const { status, bytes, headers } = await get(agent, PORT, bob.key, { path });
    assert.equal(status, 200);
    wishes.push({ wish: { path }, status: 200, bytes });
    wishes.push({ wish: { path, method: 'HEAD' }, status: 200, bytes: 0 });
    if (url === pictures.at(-1)!.url) {
      assert.ok(bytes > 64 * 1024);
      continue;
    }
    wishes.push({ wish: { path, headers: { range: 'bytes=100-1099' } }, status: 206, bytes: 1000 });
    wishes.push({ wish: { path, headers: { 'if-none-match': headers.etag! } }, status: 304, bytes: 0 });
  }

  const received = { requests: 0, bytes: 0 };
  // What nobody can know: an answer whose record died with the process, a request whose answer did.
  const unsure = { lost: 0, lostBytes: 0, broken: 0, brokenBytes: 0 };
  const last = new Map<number, number>();
  const states = new Set<string>();
  const wrong: string[] = [];
  let ended = false;
  const client = async (id: number) => {
    while (!ended) {
      const { wish, status, bytes } = wishes[Math.floor(random() * wishes.length)]!;
      const got = await get(agent, PORT, ada.key, wish);
      if (got.status <= 0) {
        unsure.broken += got.status + 1;
        unsure.brokenBytes += (got.status + 1) * bytes;
        await sleep(20);
        continue;
      }
      // While it starts, it knows no backend for a moment. Nobody pays for it.
      if (got.status === 503) continue;
      if (got.status !== status || got.bytes !== bytes)
        wrong.push(`${JSON.stringify(wish)}: ${got.status}, ${got.bytes} bytes; must be ${status}, ${bytes}`);
      states.add(String(got.headers['x-cache']));
      received.requests += 1;
      received.bytes += got.bytes;
      last.set(id, got.bytes);
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
  for (let round = 0; round < ROUNDS; round += 1) {
    await sleep(400 + random() * 600);
    await gateway.process.end('SIGKILL');
    unsure.lost += last.size;
    for (const bytes of last.values()) unsure.lostBytes += bytes;
    last.clear();
    gateway = await startGateway(t, { port: PORT, dsn, folder: gateway.folder, env });
  }
  await sleep(500);
  ended = true;
  await clients;
  await gateway.end();
  assert.deepEqual(wrong.slice(0, 5), []);
  assert.ok(received.requests > 200 && states.has('HIT') && states.has('MISS'), `${received.requests}, ${[...states]}`);
  const { rows } = await link.query<{ requests: string; bytes: string; logged: string; rows: string }>(
    `SELECT sum(requests) AS requests, sum(bytes) AS bytes,
       (SELECT sum(response_size_bytes) FROM request_logs WHERE user_id = $1 AND response_status IN (200, 206, 304)) AS logged,
       (SELECT count(*) FROM request_logs WHERE user_id = $1 AND response_status IN (200, 206, 304)) AS rows
       FROM usage_months WHERE user_id = $1`,
    [ada.userId],
  );
  const counted = { requests: Number(rows[0]!.requests), bytes: Number(rows[0]!.bytes) };
  const said = JSON.stringify({ counted, received, unsure });
  console.log(said);
  assert.ok(counted.requests >= received.requests - unsure.lost, said);
  assert.ok(counted.requests <= received.requests + unsure.broken, said);
  assert.ok(counted.bytes >= received.bytes - unsure.lostBytes, said);
  assert.ok(counted.bytes <= received.bytes + unsure.brokenBytes, said);
  assert.deepEqual(
    counted,
    { requests: Number(rows[0]!.rows), bytes: Number(rows[0]!.logged) },
    'usage and log change in one transaction',
  );
  const { rows: kinds } = await link.query<{ kind: string }>(
    `SELECT DISTINCT concat_ws(' ', method, response_status, request_path, response_size_bytes) AS kind FROM request_logs
      WHERE user_id = $1 AND response_status IN (200, 206, 304)`,
    [ada.userId],
  );
  const asked = wishes.map(
    ({ wish: { method = 'GET', path }, status, bytes }) => `${method} ${status} ${path} ${bytes}`,
  );
  assert.deepEqual(new Set(kinds.map(({ kind }) => kind)), new Set(asked), 'each answer counts with its own bytes');
});

test('a purge by the API of one process is in force in another one within a second, also for what is deleted', async (t) => {
  const { env, agent, imgproxy } = await stand(t);
  const ada = await addOwner(link, 'ada');
  for (const port of [PORT, PORT + 1]) await startGateway(t, { port, dsn, env });
  const body = await noisePicture(50, 50);
  const upload = uploadedBy(await ask(agent, { port: PORT, key: ada.key, body }))!;
  const path = `/w:20${upload.url}@png`;
  const stateAt = async (port: number) => {
    const { status, headers } = await get(agent, port, ada.key, { path });
    return [status, headers['x-cache']];
  };
  for (const port of [PORT, PORT + 1]) {
    await expect.poll(() => stateAt(port)).toEqual([200, 'MISS']);
    await expect.poll(() => stateAt(port)).toEqual([200, 'HIT']);
  }
  const before = (await imgproxy.counts()).requests;
  const purged = await ask(agent, {
    port: PORT,
    key: ada.key,
    path: '/api/v1/purge',
    body: Buffer.from(JSON.stringify({ path })),
    headers: { 'content-type': 'application/json' },
  });
  assert.equal(purged.status, 202);
  let since = performance.now();
  await expect.poll(() => stateAt(PORT + 1), { interval: 5 }).toEqual([200, 'MISS']);
  assert.ok(performance.now() - since < 1000, `after ${performance.now() - since} ms`);
  await expect.poll(() => stateAt(PORT), { interval: 5 }).toEqual([200, 'MISS']);
  await expect.poll(() => stateAt(PORT)).toEqual([200, 'HIT']);
  assert.equal((await imgproxy.counts()).requests, before + 2);

  const id = `/api/v1/upload/${upload.id}`;
  assert.equal((await ask(agent, { port: PORT, key: ada.key, method: 'DELETE', path: id })).status, 204);
  since = performance.now();
  await expect.poll(() => stateAt(PORT + 1), { interval: 5 }).toEqual([403, undefined]);
  assert.ok(performance.now() - since < 1000, `after ${performance.now() - since} ms`);
});
