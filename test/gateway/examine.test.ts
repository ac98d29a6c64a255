/**
 * Goal: `ringmain doctor` finds what keeps a gateway from serving pictures. Method: its findings over a real Postgres, no
 * Redis, and backends that are right, wrong in their key, wrong in their folder, and away.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { examineGateway, inquireGateway } from '../../src/gateway/examine.ts';
import gateway, { type GatewayValues } from '../../src/gateway/gateway.ts';
import { configure } from '../../src/service/configured.ts';
import { startImgproxy } from '../servers/imgproxy.ts';
import { temporaryFolder } from '../servers/process.ts';
import { startRedisCluster } from '../servers/redis.ts';
import { fileScope } from '../servers/scope.ts';
import { openLink, PEPPER, startDatabase } from './database.ts';

const PORT = 24_710;
const [RIGHT, AWAY] = [PORT + 1, PORT + 2];
const KEY = 'aa'.repeat(32);
const SALT = 'bb'.repeat(32);
const scope = fileScope();
const { folder, remove } = temporaryFolder('ringmain-examine-');
scope.onTestFinished(remove);
const uploads = join(folder, 'uploads');
let dsn: string;

beforeAll(async () => {
  mkdirSync(uploads);
  await startImgproxy(scope, { port: RIGHT, root: uploads, key: KEY, salt: SALT });
  ({ dsn } = await startDatabase(scope, PORT));
});

async function complaints(env: Readonly<Record<string, string>> = {}): Promise<readonly string[]> {
  const given = {
    KEY_PEPPER: PEPPER,
    DB_DSN: dsn,
    UPLOAD_DIR: uploads,
    IMGPROXY_KEY: KEY,
    IMGPROXY_SALT: SALT,
    BACKENDS: `[{"url":"http://127.0.0.1:${RIGHT}"}]`,
    ...env,
  };
  const configured = configure(gateway, ['all'], { env: given });
  const values = configured.values as GatewayValues;
  const found: string[] = [];
  for (const { severity, text } of examineGateway(values)) if (severity !== 'ok') found.push(`${severity}: ${text}`);
  for await (const { severity, text, advice } of inquireGateway(values, configured.loaded.named)) {
    if (severity === 'warning' || severity === 'error') expect(advice, text).toBeTruthy();
    if (severity !== 'ok') found.push(`${severity}: ${text}`);
  }
  return found.filter((text) => !/ADMIN_KEY is not set|REDIS_ADDR is not set|there is no valid key/.test(text));
}

test('a gateway whose database, backends and uploads are right gets no complaint, and nothing stays of the look', async () => {
  expect(await complaints()).toEqual([]);
  expect(readdirSync(uploads)).toEqual([]);
});

test('a missing key of imgproxy, another one, another folder and a backend that is away are named', async () => {
  expect(await complaints({ IMGPROXY_KEY: '', IMGPROXY_SALT: '' })).toEqual([
    expect.stringMatching(/^warning: IMGPROXY_KEY and IMGPROXY_SALT are not set/),
    expect.stringMatching(/^error: backend .* does not take our signature: it answers 403$/),
  ]);
  expect(await complaints({ IMGPROXY_SALT: 'cc' })).toEqual([expect.stringContaining('does not take our signature')]);
  const other = join(folder, 'other');
  mkdirSync(other);
  expect(await complaints({ UPLOAD_DIR: other })).toEqual([
    expect.stringMatching(/^error: backend .* does not read the uploads: it answers 404$/),
  ]);
  expect(await complaints({ BACKENDS: `[{"url":"http://127.0.0.1:${AWAY}"}]` })).toEqual([
    expect.stringMatching(/^error: backend http:\/\/127\.0\.0\.1:24712 is not well: .health cannot be asked/),
  ]);
  expect(await complaints({ BACKENDS: '' })).toEqual([expect.stringContaining('error: there is no backend')]);
});

test('a backend that follows redirects is named, where sources of servers are allowed', async (t) => {
  const env = { ALLOWED_SOURCES: 'https://pics.example.com/' };
  const about = async (redirects: number | undefined, i: number, more: Readonly<Record<string, string>> = env) => {
    const port = PORT + 30 + i;
    const common = { port, root: uploads, key: KEY, salt: SALT, secret: 'open' };
    await startImgproxy(t, redirects === undefined ? common : { ...common, redirects });
    const BACKENDS = `[{"url":"http://127.0.0.1:${port}"}]`;
    const found = await complaints({ ...more, BACKENDS, IMGPROXY_SECRET: 'open' });
    // Of a machine with a private address this is said as well.
    return found.filter((text) => !text.includes('fetches from private addresses'));
  };
  expect(await about(10, 0)).toEqual([expect.stringMatching(/^warning: backend \S+:24740 follows redirects: /)]);
  expect(await about(0, 1)).toEqual([]);
  expect(await about(undefined, 2)).toEqual([
    expect.stringMatching(/^note: backend \S+ did not come for a redirect to \S+ \(it answers 404\)/),
  ]);
  expect(await about(10, 3, {})).toEqual([]);
});

test('Redis that is away is a warning, because each process goes on by itself', async () => {
  expect(await complaints({ REDIS_ADDR: `127.0.0.1:${AWAY}` })).toEqual([
    expect.stringMatching(/^warning: Redis at 127\.0\.0\.1:24712 cannot be used: .*ECONNREFUSED/),
  ]);
});

test('Redis that is one node of several is named: it decides for some users alone', async (t) => {
  const [node] = await startRedisCluster(t, [PORT + 6, PORT + 7]);
  expect(await complaints({ REDIS_ADDR: node!.address })).toEqual([
    expect.stringMatching(/^warning: Redis at 127\.0\.0\.1:24716 is one of 2 nodes of a cluster/),
  ]);
});

test('keys that expire soon are named, and the table of backends counts before the option', async (t) => {
  const link = await openLink(dsn);
  t.onTestFinished(() => link.close());
  await link.query("INSERT INTO users (username, email) VALUES ('ada', 'ada@example.com')");
  await link.query(
    `INSERT INTO api_keys (id, user_id, key_hash, expires_at)
      SELECT 'abcdefghijkl', id, '\\x00', now() + interval '3 days' FROM users`,
  );
  await link.query('INSERT INTO backends (name, url, weight) VALUES ($1, $2, 1)', ['a', `http://127.0.0.1:${AWAY}`]);
  expect(await complaints()).toEqual([
    'warning: keys that expire within 14 days: abcdefghijkl',
    expect.stringMatching(/^error: backend http:\/\/127\.0\.0\.1:24712 is not well/),
  ]);
});

test('a folder of uploads that cannot be used keeps the gateway from starting', () => {
  const env = { KEY_PEPPER: PEPPER, DB_DSN: dsn, UPLOAD_DIR: '/proc/uploads' };
  const { values } = configure(gateway, ['all'], { env });
  expect(gateway.roles['all']!.problems!(values as GatewayValues, ['all'])).toEqual([
    expect.stringContaining('UPLOAD_DIR must be a writable directory'),
  ]);
});
