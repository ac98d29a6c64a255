/**
 * Goal: neither a disk that is full nor clients that vanish cost an upload that was kept, or leave anything behind. Method:
 * the built gateway and a real Postgres; file systems of a few megabytes or names, sockets that end or stand still at
 * every part of an upload.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, type TestContext, test } from 'vitest';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, startDatabase } from '../database.ts';
import { startGateway } from '../running.ts';
import {
  addOwner,
  ask,
  digestOf,
  formOf,
  mustBeAtRest,
  pictureOf,
  receiving,
  type Uploaded,
  uploadedBy,
} from './owner.ts';

const PORT = 24_531;
const MANY = '1000000';
const env = { ACCEPTORS: '2', IP_REQUESTS_PER_MINUTE: MANY, USER_REQUESTS_PER_MINUTE: MANY };
const scope = fileScope();
let dsn: string;
let link: PostgresLink;
beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, 24_530));
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
});
beforeEach(() => emptyTables(link));

function agentOf(t: TestContext): Agent {
  // No connection is used again: one that stands idle may end just then.
  const agent = new Agent({ maxSockets: 64 });
  t.onTestFinished(() => agent.destroy());
  return agent;
}

const asRoot = { skip: process.getuid?.() !== 0 };

/** A file system of its own that is soon full. */
function smallDisk(t: TestContext, options: string): string {
  const { folder, remove } = temporaryFolder('ringmain-disk-');
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]);
  t.onTestFinished(() => {
    execFileSync('umount', ['-l', folder]);
    remove();
  });
  return folder;
}

test.for([
  ['bytes', 'size=3m', 200_000],
  ['files', 'size=64m,nr_inodes=60', 2000],
] as const)(
  'a disk without room for more %s: 507, what was kept stays whole, and room that comes back is used',
  asRoot,
  async ([, options, size], t) => {
    const ada = await addOwner(link, 'ada');
    const folder = smallDisk(t, options);
    await startGateway(t, { port: PORT, dsn, env: { ...env, UPLOAD_DIR: folder } });
    const agent = agentOf(t);
    const kept: Uploaded[] = [];
    const statuses = new Set<number>();
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let i = 0; i < 12; i += 1) {
          const bytes = pictureOf(size + Math.floor(Math.random() * size));
          const answer = await ask(agent, { port: PORT, key: ada.key, body: bytes });
          statuses.add(answer.status);
          const upload = uploadedBy(answer);
          if (upload !== undefined) kept.push(upload);
        }
      }),
    );
    assert.deepEqual([...statuses].sort(), [200, 507]);
    assert.ok(kept.length >= 5);
    assert.deepEqual(await mustBeAtRest(link, folder), kept.map(({ sha256 }) => sha256).sort());
    for (const { id } of kept.slice(1))
      assert.equal(
        (await ask(agent, { port: PORT, key: ada.key, method: 'DELETE', path: `/api/v1/upload/${id}` })).status,
        204,
      );
    const bytes = pictureOf(2 * size);
    assert.equal((await ask(agent, { port: PORT, key: ada.key, body: bytes })).status, 200);
    assert.deepEqual(await mustBeAtRest(link, folder), [kept[0]!.sha256, digestOf(bytes)].sort());
  },
);

test('clients that vanish, stand still or are slow leave nothing behind and hold up nobody', async (t) => {
  const ada = await addOwner(link, 'ada');
  const gateway = await startGateway(t, { port: PORT, dsn, env: { ...env, SERVER_READ_TIMEOUT: '3s' } });
  const folder = join(gateway.folder, 'uploads');
  const agent = agentOf(t);
  let begun = 0;
  /** Sends a part of an upload, in pieces; then it goes away or stands still. Resolves with what was answered. */
  const begin = async (bytes: Buffer, share: number, ends: 'vanishes' | 'stands still'): Promise<string> => {
    begun += 1;
    const { body, headers } = begun % 2 === 0 ? formOf(bytes) : { body: bytes, headers: {} };
    const socket = connect(PORT, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString())).on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const lines = Object.entries({ host: 'x', 'x-api-key': ada.key, 'content-length': body.length, ...headers });
    socket.write(
      `POST /api/v1/upload HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    );
    const until = Math.floor(body.length * share);
    for (let at = 0; at < until; at += 65_536) {
      socket.write(body.subarray(at, Math.min(until, at + 65_536)));
      await sleep(2);
    }
    if (ends === 'vanishes') socket.destroy();
    await closed;
    return text;
  };
  const shares = [0, 0.001, 0.3, 0.7, 0.999];
  const gone = Array.from({ length: 30 }, (_, i) => begin(pictureOf(400_000), shares[i % 5]!, 'vanishes'));
  const still = shares.map((share) => begin(pictureOf(400_000), share, 'stands still'));
  // Whoever has sent all of it and vanishes has an upload, or has none.
  const complete = Array.from({ length: 8 }, () => begin(pictureOf(400_000), 1, 'vanishes'));
  const others = Array.from({ length: 10 }, () => pictureOf(300_000));
  let first = '';
  for (const text of still) void text.then(() => (first ||= 'who stands still'));
  const answers = await Promise.all(others.map((body) => ask(agent, { port: PORT, key: ada.key, body })));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(first, '', 'others need not wait for them');
  await Promise.all([...gone, ...complete]);
  for (const text of await Promise.all(still)) assert.match(text, /^HTTP\/1\.1 408 /);
  await expect.poll(() => receiving(folder)).toEqual([]);
  const digests = await mustBeAtRest(link, folder);
  for (const body of others) assert.ok(digests.includes(digestOf(body)));
  assert.ok(digests.length <= others.length + complete.length);
});
