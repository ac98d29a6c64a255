/**
 * Goal: whoever has the 200 of an upload has the file, whoever else keeps, deletes or collects the same content at that
 * moment, in whichever process; and storage never goes beyond its quota. Method: two built gateways with one database and
 * one folder, owners who race, and the order of two that wait for one lock set by the test.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { removeUser } from '../../../src/gateway/database/admin/users.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { openLink, startDatabase } from '../database.ts';
import { startGateway } from '../running.ts';
import {
  actor,
  addOwner,
  ask,
  collectAll,
  digestOf,
  fileOf,
  isWhole,
  mustBeAtRest,
  type Owner,
  pictureOf,
  setStorage,
  storedBytes,
  uploadedBy,
} from './owner.ts';

const PORTS = [24_521, 24_522] as const;
const HOUR_MS = 3_600_000;
const MANY = '1000000';
const scope = fileScope();
const root = temporaryFolder('ringmain-races-').folder;
const folder = join(root, 'uploads');
// No connection is used again: one that stands idle may end just then.
const agent = new Agent({ maxSockets: 64 });
scope.onTestFinished(() => agent.destroy());
let dsn: string;
let link: PostgresLink;

beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, 24_520));
  link = await session();
  const env = {
    UPLOAD_DIR: folder,
    IP_REQUESTS_PER_MINUTE: MANY,
    USER_REQUESTS_PER_MINUTE: MANY,
    DB_MAX_CONNECTIONS: '12',
  };
  for (const port of PORTS) await startGateway(scope, { port, dsn, env });
});
// The gateways live on and follow the tables, which must not be emptied behind their backs.
beforeEach(async () => {
  await link.query('DELETE FROM users');
  await collectAll(link, folder);
});

async function session(): Promise<PostgresLink> {
  const opened = await openLink(dsn);
  scope.onTestFinished(() => opened.close());
  return opened;
}

/** An owner whom both gateways know. */
async function known(name: string, storageBytes: number | null = null): Promise<Owner> {
  const owner = await addOwner(link, name, storageBytes);
  for (const port of PORTS) await expect.poll(() => list(owner, port)).toBe(200);
  return owner;
}
const list = async ({ key }: Owner, port: number) => (await ask(agent, { port, key, method: 'GET' })).status;
const upload = (port: number, { key }: Owner, body: Buffer) => ask(agent, { port, key, body });
const remove = (port: number, { key }: Owner, id: string) =>
  ask(agent, { port, key, method: 'DELETE', path: `/api/v1/upload/${id}` });

test('two owners keep and delete the same content in two processes: the file is there as long as one of them has it', async () => {
  const owners = [await known('ada'), await known('bob')];
  const contents = Array.from({ length: 3 }, () => pictureOf(20_000));
  const race = async (owner: Owner, bytes: Buffer, at: number): Promise<void> => {
    const sha256 = digestOf(bytes);
    for (let i = 0; i < 40; i += 1) {
      const port = PORTS[(i + at) % 2]!;
      const answer = await upload(port, owner, bytes);
      const kept = uploadedBy(answer);
      assert.ok(kept, `status=${answer.status}, body=${answer.body.toString()}`);
      // Nobody else can take it away.
      assert.ok(isWhole(folder, sha256));
      await sleep(Math.random() * 3);
      assert.ok(existsSync(fileOf(folder, sha256)), 'the file of an owner is gone');
      if (i < 39 || at % 2 === 0) assert.equal((await remove(port, owner, kept.id)).status, 204);
    }
  };
  await Promise.all(owners.flatMap((owner, o) => contents.map((bytes, c) => race(owner, bytes, 2 * o + c))));
  await mustBeAtRest(link, folder);
});

test('storage never goes beyond its quota, however many uploads come at once to both processes', async () => {
  const SIZE = 30_000;
  const FIT = 7;
  const ada = await known('ada', FIT * SIZE + SIZE - 1);
  const tries = Array.from({ length: 60 }, (_, i) => upload(PORTS[i % 2]!, ada, pictureOf(SIZE)));
  let most = 0;
  let ended = false;
  const watched = (async () => {
    while (!ended) most = Math.max(most, await storedBytes(link, ada.userId));
  })();
  const answers = await Promise.all(tries);
  ended = true;
  await watched;
  const kept = answers.flatMap((answer) => uploadedBy(answer) ?? []);
  assert.deepEqual([...new Set(answers.map(({ status }) => status))].sort(), [200, 413]);
  assert.equal(kept.length, FIT);
  assert.equal(most, FIT * SIZE);
  // The same again costs nothing, and what goes makes room for as much.
  const [first, ...others] = kept;
  assert.equal((await mustBeAtRest(link, folder)).length, FIT);
  assert.equal((await remove(PORTS[0], ada, first!.id)).status, 204);
  const more = await Promise.all(Array.from({ length: 10 }, (_, i) => upload(PORTS[i % 2]!, ada, pictureOf(SIZE))));
  assert.equal(more.filter(({ status }) => status === 200).length, 1);
  await setStorage(link, ada.userId, 0);
  assert.equal((await remove(PORTS[1], ada, others[0]!.id)).status, 204);
  assert.equal((await upload(PORTS[1], ada, pictureOf(SIZE))).status, 413);
  assert.equal((await mustBeAtRest(link, folder)).length, FIT - 1);
});

test('a user is deleted under its own uploads: it has nothing afterwards, and others lose nothing', async () => {
  const [ada, bob] = [await known('ada'), await known('bob')];
  const contents = Array.from({ length: 12 }, () => pictureOf(40_000));
  const both = contents.slice(0, 4);
  for (const bytes of both) assert.equal((await upload(PORTS[0], bob, bytes)).status, 200);
  const tries = Array.from({ length: 6 }, async (_, i) => {
    const statuses: number[] = [];
    for (let n = 0; n < 60; n += 1) {
      const { status } = await upload(PORTS[i % 2]!, ada, contents[(n + i) % contents.length]!);
      statuses.push(status);
      if (status === 401) break;
    }
    return statuses;
  });
  await sleep(150);
  await removeUser(await session(), actor, ada.userId);
  const statuses = new Set((await Promise.all(tries)).flat());
  // Between the deletion and the news of it, the rows refuse.
  for (const status of statuses) assert.ok([200, 401, 403].includes(status), `status=${status}`);
  assert.ok(statuses.has(200) && statuses.has(401));
  assert.equal(await storedBytes(link, ada.userId), 0);
  await collectAll(link, folder);
  assert.deepEqual(await mustBeAtRest(link, folder), both.map(digestOf).sort());
});

/** Statements that wait for the lock of a digest. */
const waiting = async () =>
  (await link.query("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).rows.length;
const lockOf = (sha256: string) => `SELECT pg_advisory_lock(x'${sha256.slice(0, 16)}'::bit(64)::bigint)`;

/** An old file that no row names: what a process leaves that was killed. */
function leave(bytes: Buffer): string {
  const sha256 = digestOf(bytes);
  const file = fileOf(folder, sha256);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  utimesSync(file, 1, 1);
  return sha256;
}

test.each([
  ['the job', 'the upload'],
  ['the upload', 'the job'],
] as const)(
  'a file that is left over is kept by an upload while the job looks at it: %s has the lock before %s',
  async (...order) => {
    const ada = await known('ada');
    const bytes = pictureOf(25_000);
    const sha256 = leave(bytes);
    const [holder, collector] = [await session(), await session()];
    await holder.query(lockOf(sha256));
    const starts = {
      'the job': () => collectAll(collector, folder, HOUR_MS),
      'the upload': async () => assert.equal((await upload(PORTS[0], ada, bytes)).status, 200),
    };
    const done: Promise<unknown>[] = [];
    for (const who of order) {
      done.push(starts[who]());
      await expect.poll(waiting).toBe(done.length);
    }
    await holder.query('SELECT pg_advisory_unlock_all()');
    await Promise.all(done);
    assert.deepEqual(await mustBeAtRest(link, folder), [sha256]);
  },
);

test('the job waits for an upload whose file has its place and whose rows are not committed yet', async () => {
  const ada = await known('ada');
  const bytes = pictureOf(25_000);
  const sha256 = leave(bytes);
  const [holder, collector] = [await session(), await session()];
  await holder.query('BEGIN; LOCK TABLE upload_owners IN EXCLUSIVE MODE');
  const answer = upload(PORTS[0], ada, bytes);
  const atRows = "SELECT FROM pg_locks WHERE relation = 'upload_owners'::regclass AND NOT granted";
  await expect.poll(async () => (await link.query(atRows)).rows.length).toBe(1);
  const collected = collectAll(collector, folder);
  await expect.poll(waiting).toBe(1);
  await holder.query('COMMIT');
  assert.equal(await collected, 0);
  assert.equal((await answer).status, 200);
  assert.deepEqual(await mustBeAtRest(link, folder), [sha256]);
});

test('the last owner deletes while another one uploads the same: whichever is first, the file is that of the other one', async () => {
  const [ada, bob] = [await known('ada'), await known('bob')];
  for (const uploadFirst of [true, false]) {
    const bytes = pictureOf(25_000);
    const sha256 = digestOf(bytes);
    const kept = uploadedBy(await upload(PORTS[0], ada, bytes))!;
    const holder = await session();
    await holder.query(lockOf(sha256));
    const steps = [() => upload(PORTS[1], bob, bytes), () => remove(PORTS[0], ada, kept.id)];
    const answers: ReturnType<typeof upload>[] = [];
    for (const [i, step] of (uploadFirst ? steps : steps.toReversed()).entries()) {
      answers.push(step());
      await expect.poll(waiting).toBe(i + 1);
    }
    await holder.query('SELECT pg_advisory_unlock_all()');
    assert.deepEqual((await Promise.all(answers)).map(({ status }) => status).sort(), [200, 204]);
    assert.ok(isWhole(folder, sha256));
  }
  await mustBeAtRest(link, folder);
});
