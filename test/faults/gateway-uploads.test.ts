/**
 * Goal: a 200 for an upload says that it is there, whole and readable by its owner; every other upload is whole or
 * absent, and storage is counted to the byte. Method: the built process, a real Postgres and files on a real disk;
 * gateway and Postgres killed under uploads and deletions of many sizes, and at the moments between two steps. SEED repeats
 * the choices of a run, LONG=1 makes more rounds.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, type TestContext, test } from 'vitest';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { randomFrom } from '../analytics/rollup/events.ts';
import { emptyTables, openLink, startDatabase } from '../gateway/database.ts';
import { type RunningGateway, startGateway } from '../gateway/running.ts';
import {
  addOwner,
  ask,
  collectAll,
  digestOf,
  filesIn,
  formOf,
  isWhole,
  mustBeAtRest,
  type Owner,
  PICTURE_BYTES_MIN,
  pictureOf,
  receiving,
  setStorage,
  storedBytes,
  type Uploaded,
  uploadedBy,
} from '../gateway/upload/owner.ts';
import { startImgproxy } from '../servers/imgproxy.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { temporaryFolder } from '../servers/process.ts';
import { fileScope } from '../servers/scope.ts';

const POSTGRES_PORT = 24_740;
const PORT = 24_741;
const IMGPROXY_PORT = 24_742;
const ROUNDS = process.env['LONG'] ? Number(process.env['ROUNDS'] ?? 20) : 1;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const MANY = '1000000';

const scope = fileScope();
let server: PostgresServer;
beforeAll(async () => {
  server = await startDatabase(scope, POSTGRES_PORT);
});
beforeEach(() => withLink(emptyTables));

/** A session for one errand: the server dies between two. */
async function withLink<T>(use: (link: PostgresLink) => Promise<T>): Promise<T> {
  const link = await openLink(server.dsn);
  try {
    return await use(link);
  } finally {
    await link.close();
  }
}

const env = { ACCEPTORS: '2', IP_REQUESTS_PER_MINUTE: MANY, USER_REQUESTS_PER_MINUTE: MANY, UPLOAD_MAX_BYTES: '4MiB' };

function agentOf(t: TestContext): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  t.onTestFinished(() => agent.destroy());
  return agent;
}

/** What a client knows of one of its uploads. */
interface Known {
  readonly owner: Owner;
  readonly sha256: string;
  readonly upload: Uploaded | undefined;
  readonly state: 'kept' | 'removed' | 'unknown';
}

test('gateway and Postgres are killed under uploads: what got its 200 is there, everything else is whole or absent', async (t) => {
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const CLIENTS = 12;
  const [ada, bob] = await withLink(
    async (link) => [await addOwner(link, 'ada'), await addOwner(link, 'bob')] as const,
  );
  const root = temporaryFolder('ringmain-uploads-').folder;
  const folder = join(root, 'uploads');
  mkdirSync(folder);
  const imgproxy = await startImgproxy(t, { port: IMGPROXY_PORT, root: folder });
  const wishes = {
    port: PORT,
    dsn: server.dsn,
    folder: root,
    env: { ...env, BACKENDS: `[{"url":"${imgproxy.url}"}]` },
  };
  let gateway: RunningGateway = await startGateway(t, wishes);
  const agent = agentOf(t);
  // Some pictures are those of both.
  const shared = Array.from({ length: 6 }, () => pictureOf(PICTURE_BYTES_MIN + 50_000));

  const found: Known[] = [];
  const wrong: string[] = [];
  let ended = false;
  const sizeNow = () => PICTURE_BYTES_MIN + Math.floor(random() ** 4 * 2_000_000);
  const remove = async (owner: Owner, upload: Uploaded): Promise<Known> => {
    const { status } = await ask(agent, {
      port: PORT,
      key: owner.key,
      method: 'DELETE',
      path: `/api/v1/upload/${upload.id}`,
    });
    if (status !== 204 && status !== 0 && status < 500) wrong.push(`a deletion got ${status}`);
    return { owner, sha256: upload.sha256, upload, state: status === 204 ? 'removed' : 'unknown' };
  };
  const client = async (owner: Owner) => {
    while (!ended) {
      const common = random() < 0.15;
      const bytes = common ? shared[Math.floor(random() * shared.length)]! : pictureOf(sizeNow());
      const { body, headers = {} } = random() < 0.3 ? formOf(bytes) : { body: bytes };
      const answer = await ask(agent, { port: PORT, key: owner.key, body, headers });
      const upload = uploadedBy(answer);
      const sha256 = digestOf(bytes);
      if (upload !== undefined && (upload.sha256 !== sha256 || upload.bytes !== bytes.length))
        wrong.push(`another upload was answered: ${JSON.stringify(upload)}`);
      if (upload === undefined && answer.status !== 0 && answer.status !== 503)
        wrong.push(`an upload got ${answer.status}: ${answer.body.toString()}`);
      if (upload === undefined) await sleep(20);
      if (upload !== undefined && !common && random() < 0.3) found.push(await remove(owner, upload));
      else found.push({ owner, sha256, upload, state: upload === undefined ? 'unknown' : 'kept' });
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i % 2 === 0 ? ada : bob)));
  const killGateway = async () => {
    await gateway.process.end('SIGKILL');
    gateway = await startGateway(t, wishes);
  };
  const killPostgres = async () => {
    await server.kill9();
    await sleep(100 + random() * 300);
    await server.restart();
  };
  const count = (state: Known['state']) => found.filter((known) => known.state === state).length;
  // However slow the machine is, uploads were kept between two faults.
  const keptSome = async () => {
    const before = count('kept');
    await expect.poll(() => count('kept'), { timeout: 60_000 }).toBeGreaterThan(before + 5);
  };
  for (let round = 0; round < ROUNDS; round += 1)
    for (const fault of random() < 0.5
      ? [killGateway, killPostgres, killGateway]
      : [killPostgres, killGateway, killGateway]) {
      await keptSome();
      await sleep(random() * 700);
      await fault();
    }
  await keptSome();
  ended = true;
  await clients;
  assert.deepEqual(wrong.slice(0, 5), []);
  console.log(`kept ${count('kept')}, removed ${count('removed')}, unknown ${count('unknown')}`);
  assert.ok(count('kept') > 20 && count('unknown') > 0);

  await expect.poll(() => ask(agent, { port: PORT, key: ada.key, method: 'GET' })).toMatchObject({ status: 200 });
  await withLink(async (link) => {
    await collectAll(link, folder);
    await mustBeAtRest(link, folder);
  });
  const get = (owner: Owner, path: string) => ask(agent, { port: PORT, key: owner.key, method: 'GET', path });
  for (const { owner, sha256, upload, state } of found) {
    if (upload === undefined) continue;
    const { status, body } = await get(owner, `/api/v1/upload/${upload.id}`);
    if (state === 'kept') assert.deepEqual([status, (JSON.parse(body.toString()) as Uploaded).sha256], [200, sha256]);
    else if (state === 'removed') assert.equal(status, 404);
    if (status === 200) assert.ok(isWhole(folder, sha256));
  }
  for (const { owner, upload } of found.filter(({ state }) => state === 'kept').slice(-20))
    assert.equal((await get(owner, `/rs:fit:4:4${upload!.url}`)).status, 200, 'its owner sees the picture');

  // To the byte: what fits exactly is taken, one byte more is not.
  for (const { userId, key } of [ada, bob]) {
    const stored = await withLink((link) => storedBytes(link, userId));
    await withLink((link) => setStorage(link, userId, stored + 1000));
    assert.equal((await ask(agent, { port: PORT, key, body: pictureOf(1001) })).status, 413);
    assert.equal((await ask(agent, { port: PORT, key, body: pictureOf(1000) })).status, 200);
    assert.equal((await ask(agent, { port: PORT, key, body: pictureOf(PICTURE_BYTES_MIN) })).status, 413);
  }
});

// Each moment between two steps that a kill may find: the session of the test holds what the next step needs.
test.each([
  [
    'before the file has its place',
    (sha256: string) => `SELECT pg_advisory_lock(x'${sha256.slice(0, 16)}'::bit(64)::bigint)`,
    false,
  ],
  ['between the file and its rows', () => 'BEGIN; LOCK TABLE upload_owners IN EXCLUSIVE MODE', true],
] as const)('the gateway is killed %s: nothing is kept, and the job leaves nothing behind', async (_, hold, placed) => {
  const t = { onTestFinished: scope.onTestFinished };
  const ada = await withLink((link) => addOwner(link, 'ada'));
  const gateway = await startGateway(t, { port: PORT, dsn: server.dsn, env });
  const folder = join(gateway.folder, 'uploads');
  const agent = new Agent();
  const bytes = pictureOf(300_000);
  const sha256 = digestOf(bytes);
  await withLink(async (holder) => {
    await holder.query(hold(sha256));
    const answer = ask(agent, { port: PORT, key: ada.key, body: bytes });
    await withLink(async (link) => {
      await expect
        .poll(async () => (await link.query('SELECT FROM pg_locks WHERE NOT granted')).rows.length)
        .toBeGreaterThan(0);
      assert.deepEqual(filesIn(folder), placed ? [sha256] : []);
    });
    await gateway.process.end('SIGKILL');
    assert.equal((await answer).status, 0);
  });
  await withLink(async (link) => {
    // The session of the dead process ends by itself.
    await expect
      .poll(async () => (await link.query("SELECT FROM pg_locks WHERE locktype = 'advisory'")).rows.length)
      .toBe(0);
    assert.equal(receiving(folder).length, placed ? 0 : 1);
    assert.equal(await collectAll(link, folder), 1);
    assert.deepEqual(await mustBeAtRest(link, folder), []);
  });
  const again = await startGateway(t, { port: PORT, dsn: server.dsn, folder: gateway.folder, env });
  assert.equal((await ask(agent, { port: PORT, key: ada.key, body: bytes })).status, 200);
  assert.ok(isWhole(folder, sha256));
  await again.end();
});

test('Postgres dies while it holds the rows of an upload: 503, and the same upload passes as soon as it is back', async (t) => {
  const ada = await withLink((link) => addOwner(link, 'ada'));
  const gateway = await startGateway(t, { port: PORT, dsn: server.dsn, env });
  const folder = join(gateway.folder, 'uploads');
  const agent = agentOf(t);
  const bytes = pictureOf(200_000);
  const holder = await openLink(server.dsn);
  await holder.query('BEGIN; LOCK TABLE upload_owners IN EXCLUSIVE MODE');
  const answer = ask(agent, { port: PORT, key: ada.key, body: bytes });
  await expect.poll(() => filesIn(folder)).toEqual([digestOf(bytes)]);
  await server.kill9();
  const { status, body } = await answer;
  assert.deepEqual([status, (JSON.parse(body.toString()) as { code: string }).code], [503, 'DATABASE_UNAVAILABLE']);
  assert.equal((await ask(agent, { port: PORT, key: ada.key, body: bytes })).status, 503);
  await holder.close();
  await server.restart();
  await expect.poll(() => ask(agent, { port: PORT, key: ada.key, body: bytes })).toMatchObject({ status: 200 });
  await withLink(async (link) => assert.deepEqual(await mustBeAtRest(link, folder), [digestOf(bytes)]));
});
