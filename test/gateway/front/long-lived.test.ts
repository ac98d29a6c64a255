/**
 * Goal: a gateway answers on when the time-outs of its first requests are over, whichever way their decisions and bodies
 * came. Method: the built process with short time-outs, with limits in memory and in Redis; answers that come later, bodies
 * that are read, one that is not finished.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { startRedis } from '../../servers/redis.ts';
import { fileScope } from '../../servers/scope.ts';
import { emptyTables, openLink, startDatabase } from '../database.ts';
import { ADMIN_KEY, startGateway } from '../running.ts';
import { addOwner, pictureOf } from '../upload/owner.ts';

const PORT = 24_551;
const TIMEOUT_MS = 3000;
const scope = fileScope();
let dsn: string;
let link: PostgresLink;
beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, PORT - 1));
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
});

test.each(['memory', 'Redis'])(
  'answers go on after the time-outs of those before, with limits in %s',
  async (where) => {
    const t = { onTestFinished: scope.onTestFinished };
    await emptyTables(link);
    const { key } = await addOwner(link, 'ada');
    const redis = where === 'Redis' ? await startRedis(t, { port: PORT + 1 }) : undefined;
    const gateway = await startGateway(t, {
      port: PORT,
      dsn,
      env: {
        SERVER_READ_TIMEOUT: `${TIMEOUT_MS}ms`,
        SERVER_WRITE_TIMEOUT: `${TIMEOUT_MS}ms`,
        ...(redis === undefined ? {} : { REDIS_ADDR: redis.address, REDIS_TIMEOUT_MS: '5s' }),
      },
    });
    const ask = async (path: string, init: RequestInit = {}) =>
      (
        await fetch(`${gateway.url}${path}`, {
          headers: { 'x-api-key': key },
          signal: AbortSignal.timeout(10_000),
          ...init,
        })
      ).status;
    const all = () =>
      Promise.all([
        ask('/api/v1/users', { headers: { authorization: `Bearer ${ADMIN_KEY}` } }),
        ask('/api/v1/upload'),
        ask('/api/v1/upload', { method: 'POST', body: new Uint8Array(pictureOf(50_000)) }),
        ask('/health'),
      ]);
    await expect.poll(() => ask('/api/v1/upload')).toBe(200);
    let cut = '';
    const slow = connect(PORT, '127.0.0.1').on('data', (chunk: Buffer) => (cut += chunk.toString()));
    slow.write(`POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nX-API-Key: ${key}\r\nContent-Length: 9\r\n\r\n\xff\xd8\xff`);
    assert.deepEqual(await all(), [200, 200, 200, 200]);
    await expect.poll(() => cut).toMatch(/^HTTP\/1\.1 (408|415) /);
    slow.destroy();
    await sleep(TIMEOUT_MS);
    assert.deepEqual(await all(), [200, 200, 200, 200]);
    await gateway.end();
    assert.doesNotMatch(gateway.process.log, /"level":"?(error|50)/);
  },
);
