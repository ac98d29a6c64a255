/** The gateway, its users, and what it is asked. What it is compared with is in gateway-peers.ts. */
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pepperIdOf } from '../../src/access/pepper.ts';
import { addKey } from '../../src/gateway/database/admin/keys.ts';
import { setLimits } from '../../src/gateway/database/admin/limits.ts';
import { addUser } from '../../src/gateway/database/admin/users.ts';
import { pathOf } from '../../src/gateway/upload/store.ts';
import type { PostgresLink } from '../../src/store/postgres/connection.ts';
import { type Place, startPeer } from './peers.ts';
import type { HttpRequest } from './request.ts';
import type { Subject } from './subject.ts';

const READY_MS_MAX = 30_000;
export const PEPPER = randomBytes(32).toString('hex');

/** Ringmain's gateway with one acceptor; ready when it knows users and keys. */
export async function startGateway(
  name: string,
  tree: string,
  place: Place,
  env: Readonly<Record<string, string>>,
): Promise<Subject> {
  const how = {
    command: process.execPath,
    args: [join(tree, 'dist/main.js'), 'gateway'],
    env: {
      SERVER_ADDR: `127.0.0.1:${place.port}`,
      KEY_PEPPER: PEPPER,
      ACCEPTORS: '1',
      JOURNAL_DIR: join(place.dir, 'journal'),
      UPLOAD_DIR: join(place.dir, 'uploads'),
      ...env,
    },
    cwd: place.dir,
  };
  const subject = await startPeer(name, place, how, []);
  const ready = async () => (await fetch(`${subject.url}/readyz`).catch(() => undefined))?.ok ?? false;
  for (const deadline = performance.now() + READY_MS_MAX; !(await ready()); await sleep(20))
    if (performance.now() > deadline) throw new Error(`${name} must be ready within ${READY_MS_MAX} ms`);
  return subject;
}

/** Pictures of one source in so many sizes, as a browser or an app asks for them. */
export function pictureRequests(
  headers: Readonly<Record<string, string>> = {},
  { source = 'ab/cd.jpg', sizes = 1 }: { readonly source?: string; readonly sizes?: number } = {},
): HttpRequest[] {
  return Array.from({ length: sizes }, (_, i) => ({
    method: 'GET' as const,
    path: `/rs:fit:${300 + i}:200/plain/local:///${source}@webp`,
    headers: {
      Host: 'pics.example.com',
      'User-Agent':
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
      Accept: 'image/avif,image/webp,image/apng,image/*,*/*;q=0.8',
      'Accept-Encoding': 'gzip, deflate, br',
      ...headers,
    },
  }));
}

/** Asks a server for each of them once: all must be pictures of so many bytes. */
export async function askAll(url: string, requests: readonly HttpRequest[], bytes: number): Promise<void> {
  for (const { path, headers } of requests) {
    const answer = await fetch(`${url}${path}`, { headers });
    const body = await answer.arrayBuffer();
    if (answer.status !== 200 || body.byteLength !== bytes)
      throw new Error(
        `a picture must come with ${bytes} bytes: url=${url}, status=${answer.status}, bytes=${body.byteLength}`,
      );
  }
}

/** Users, each with a key that nobody knows, a limit and a quota. */
export async function fillUsers(link: PostgresLink, users: number): Promise<void> {
  await link.query(
    `INSERT INTO users (username, email) SELECT 'user-' || n, 'user-' || n || '@example.com' FROM generate_series(1, $1) n`,
    [users],
  );
  await link.query(
    `INSERT INTO api_keys (id, user_id, key_hash, pepper_id)
      SELECT lpad(id::text, 12, '0'), id, sha256(id::text::bytea), $1 FROM users`,
    [pepperIdOf(PEPPER)],
  );
  await link.query('INSERT INTO rate_limits (user_id, requests_per_minute) SELECT id, 1000 FROM users');
  await link.query('INSERT INTO quotas (user_id, monthly_requests) SELECT id, 100000 FROM users');
}

export interface Customer {
  readonly key: string;
  /** The path of an upload that is the customer's own. */
  readonly source: string;
}

/** A user who is let through: with a key, an upload, and limits that are counted but never reached. */
export async function addCustomer(link: PostgresLink): Promise<Customer> {
  const actor = { name: 'bench' };
  const { id } = await addUser(link, actor, { username: 'customer', email: 'customer@example.com' });
  const limits = { requests_per_minute: 1_000_000_000, requests_per_hour: 10_000_000_000, burst: null };
  await setLimits(link, actor, id, limits);
  const { key } = await addKey(link, actor, PEPPER, id, { name: 'bench' });
  const sha256 = randomBytes(32);
  const source = pathOf(sha256.toString('hex'), 'jpeg');
  await link.query(
    `INSERT INTO uploads (sha256, path, bytes, format, width, height) VALUES (decode($1, 'hex'), $2, 400000, 'jpeg', 1200, 800)`,
    [sha256.toString('hex'), source],
  );
  await link.query(`INSERT INTO upload_owners (id, user_id, sha256) VALUES ($1, $2, decode($3, 'hex'))`, [
    randomUUID(),
    id,
    sha256.toString('hex'),
  ]);
  return { key, source };
}
