/**
 * What `ringmain doctor --service=gateway` finds out, beside what it asks every service: who may come in, whether the
 * limits hold over several hosts, whether backends answer and read the uploads. It changes nothing; a picture of one
 * pixel comes and goes in UPLOAD_DIR.
 */

import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pepperProblems } from '../access/pepper.ts';
import type { Naming } from '../kernel/config.ts';
import { error, type Finding, note, ok, warning } from '../kernel/finding.ts';
import type { PostgresLink } from '../store/postgres/connection.ts';
import { askingDatabase, examineJobs, examineSchema } from '../store/postgres/examine.ts';
import { examineRedirects } from './examine-redirects.ts';
import type { GatewayValues } from './gateway.ts';
import { type ImgproxySecrets, imgproxySecrets, signedPath } from './images/signature.ts';
import { redisOptions } from './limits/redis-options.ts';

const ASK_MS_MAX = 3000;
const KEY_DAYS_MIN = 14;
/** No more backends are asked than a table can have; with the time of each, that bounds the whole. */
const BACKENDS_MAX = 100;
const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
  'base64',
);

/** What the options alone tell. */
export function* examineGateway({ gateway }: GatewayValues): Generator<Finding> {
  if (gateway.imgproxyKey === undefined)
    yield warning(
      'IMGPROXY_KEY and IMGPROXY_SALT are not set: whoever reaches imgproxy gets any picture from it without a key',
      'Set both here and in imgproxy (openssl rand -hex 32 for each), and keep imgproxy on a network of its own.',
    );
  else yield ok('paths for imgproxy are signed');
  if (gateway.adminKey === undefined)
    yield note('ADMIN_KEY is not set: the routes of administrators and /admin are off, the command line is not');
  if (gateway.redisAddr === undefined)
    yield note('REDIS_ADDR is not set: with several gateways, each has limits of its own');
}

/** What servers tell. */
export async function* inquireGateway(values: GatewayValues, named: Naming): AsyncGenerator<Finding> {
  const { access, gateway, postgres } = values;
  let backends: readonly string[] = gateway.backends.map(({ url }) => url);
  yield* askingDatabase(postgres.pgDsn, async function* (link) {
    if (!(yield* examineSchema(link, 'request_logs', named('PG_DSN')))) return;
    yield* examineKeys(link);
    for (const text of await pepperProblems({ pepper: access.keyPepper, dsn: postgres.pgDsn, service: 'gateway' }))
      yield error(text, 'Set KEY_PEPPER to the secret that the keys were made with.');
    yield* examineJobs(link, 'gateway');
    const { rows } = await link.query<{ url: string }>(
      `SELECT url FROM backends WHERE weight > 0 AND NOT draining ORDER BY id LIMIT ${BACKENDS_MAX}`,
    );
    if (rows.length > 0) backends = rows.map(({ url }) => url);
  });
  if (gateway.redisAddr !== undefined) yield await redisFinding(gateway);
  yield* examineBackends(backends, gateway);
}

async function* examineKeys(link: PostgresLink): AsyncGenerator<Finding> {
  const { rows } = await link.query<{ users: number; keys: number; ending: string[] }>(
    `SELECT (SELECT count(*)::int FROM users WHERE is_active) AS users,
            (SELECT count(*)::int FROM api_keys WHERE is_active AND (expires_at IS NULL OR expires_at > now())) AS keys,
            ARRAY(SELECT id FROM api_keys WHERE is_active AND expires_at BETWEEN now() AND now() + $1 * interval '1 day'
                   ORDER BY expires_at LIMIT 20) AS ending`,
    [KEY_DAYS_MIN],
  );
  const { users, keys, ending } = rows[0]!;
  if (keys === 0)
    yield warning(
      'there is no valid key: every request for a picture is refused',
      'ringmain gateway user add, then ringmain gateway key add.',
    );
  else yield ok(`${users} users are active, ${keys} keys are valid`);
  if (ending.length > 0)
    yield warning(
      `keys that expire within ${KEY_DAYS_MIN} days: ${ending.join(', ')}`,
      'Rotate them (ringmain gateway key rotate), and put the new ones where the old ones are used.',
    );
}

/** Nodes that have slots of its cluster; 1 where there is no cluster, or nobody may ask. */
async function nodesOf(redis: Redis): Promise<number> {
  const info = await redis.cluster('INFO').catch(() => '');
  return Number(/^cluster_size:(\d+)/m.exec(String(info))?.[1] ?? 1);
}

async function redisFinding(gateway: GatewayValues['gateway']): Promise<Finding> {
  const { redisAddr: address = '' } = gateway;
  const redis = new Redis({
    ...redisOptions(gateway),
    connectTimeout: ASK_MS_MAX,
    commandTimeout: ASK_MS_MAX,
    retryStrategy: () => null,
  });
  let reason = '';
  // ioredis tells the cause in this event alone.
  redis.on('error', (cause: Error) => {
    reason ||= cause.message;
  });
  try {
    await redis.connect();
    await redis.ping();
    const nodes = await nodesOf(redis);
    if (nodes > 1)
      return warning(
        `Redis at ${address} is one of ${nodes} nodes of a cluster: it has the slots of some users alone`,
        'Give a Redis that decides for all: one without cluster mode, a cluster of one node, or a proxy before it.',
      );
    return ok(`Redis at ${address} answers: limits are exact over all gateways that ask it`);
  } catch (cause) {
    return warning(
      `Redis at ${address} cannot be used: ${reason || (cause as Error).message}`,
      'Until it can, each gateway limits by itself: with n gateways up to n times as much passes.',
    );
  } finally {
    redis.disconnect();
  }
}

async function* examineBackends(urls: readonly string[], gateway: GatewayValues['gateway']): AsyncGenerator<Finding> {
  if (urls.length === 0) {
    yield error(
      'there is no backend that takes requests: every picture is answered 503',
      'ringmain gateway backend add',
    );
    return;
  }
  const name = `.doctor-${randomUUID()}.png`;
  const file = join(gateway.uploadDir, name);
  let written = false;
  try {
    writeFileSync(file, PIXEL, { flag: 'wx' });
    written = true;
  } catch {
    yield note(`UPLOAD_DIR is not there yet, so no backend is asked for a picture of it: path=${gateway.uploadDir}`);
  }
  const secrets = imgproxySecrets(gateway.imgproxyKey, gateway.imgproxySalt);
  try {
    for (const url of urls) yield* examineBackend(url, written ? name : undefined, secrets, gateway);
  } finally {
    if (written) rmSync(file, { force: true });
  }
}

async function* examineBackend(
  url: string,
  picture: string | undefined,
  secrets: ImgproxySecrets | undefined,
  { imgproxySecret, allowedSources }: GatewayValues['gateway'],
): AsyncGenerator<Finding> {
  const ask = (source: string): Promise<number | string> =>
    statusOf(`${url}${signedPath(`/rs:fit:1:1/plain/${source}`, secrets)}`, imgproxySecret);
  const health = await statusOf(`${url}/health`);
  if (health !== 200) {
    yield error(`backend ${url} is not well: /health ${said(health)}`, 'Start it, or correct its URL.');
    return;
  }
  yield ok(`backend ${url} answers`);
  if (allowedSources.some((prefix) => /^https?:/i.test(prefix)))
    yield* examineRedirects({ url, picture: PIXEL, ask: async (source) => said(await ask(source)) });
  if (picture === undefined) return;
  const status = await ask(`local:///${picture}`);
  if (status === 200) yield ok(`backend ${url} reads the uploads`);
  else if (status === 403)
    yield error(
      `backend ${url} does not take our signature: it ${said(status)}`,
      'IMGPROXY_KEY, IMGPROXY_SALT and IMGPROXY_SECRET must be those of imgproxy; one that has none takes none.',
    );
  else
    yield error(
      `backend ${url} does not read the uploads: it ${said(status)}`,
      'UPLOAD_DIR must be the folder that IMGPROXY_LOCAL_FILESYSTEM_ROOT is in imgproxy: one volume, mounted in both.',
    );
}

/** A status, or why there is none. */
async function statusOf(url: string, secret?: string): Promise<number | string> {
  const headers: Record<string, string> = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ASK_MS_MAX), redirect: 'manual', headers });
    await answer.body?.cancel();
    return answer.status;
  } catch (cause) {
    const { message, cause: inner } = cause as Error;
    return inner instanceof Error ? inner.message : message;
  }
}

const said = (status: number | string): string =>
  typeof status === 'number' ? `answers ${status}` : `cannot be asked (${status})`;
