/** Owners of uploads, for tests: users with keys, files of any size that pass as pictures, and what holds when all is at rest. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { type Agent, request } from 'node:http';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect } from 'vitest';
import { addKey } from '../../../src/gateway/database/admin/keys.ts';
import { setQuota } from '../../../src/gateway/database/admin/limits.ts';
import { addUser } from '../../../src/gateway/database/admin/users.ts';
import { collect, TEMPORARY } from '../../../src/gateway/upload/store.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { PEPPER } from '../database.ts';

export const actor = { name: 'test' };

export interface Owner {
  readonly userId: number;
  readonly key: string;
}

export async function addOwner(link: PostgresLink, name: string, storageBytes: number | null = null): Promise<Owner> {
  const { id } = await addUser(link, actor, { username: name, email: `${name}@example.com` });
  await setStorage(link, id, storageBytes);
  const { key } = await addKey(link, actor, PEPPER, id, {});
  return { userId: id, key };
}

export const setStorage = (link: PostgresLink, userId: number, bytes: number | null) =>
  setQuota(link, actor, userId, { monthly_requests: null, monthly_bytes: null, storage_bytes: bytes });

const head = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#369' } })
  .jpeg()
  .toBuffer();
/** No two of this length are alike. */
export const PICTURE_BYTES_MIN = head.length + 16;

/** A JPEG with so many bytes, unlike every other. */
export const pictureOf = (bytes: number): Buffer => Buffer.concat([head, randomBytes(bytes - head.length)]);
export const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** The same in a form. */
export function formOf(bytes: Buffer): { readonly body: Buffer; readonly headers: Readonly<Record<string, string>> } {
  const part = '--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n';
  const body = Buffer.concat([Buffer.from(part), bytes, Buffer.from('\r\n--edge--\r\n')]);
  return { body, headers: { 'content-type': 'multipart/form-data; boundary=edge' } };
}

export interface Uploaded {
  readonly id: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly url: string;
}

export interface Answer {
  /** 0: the connection broke. */
  readonly status: number;
  readonly body: Buffer;
}
export const uploadedBy = ({ status, body }: Answer): Uploaded | undefined =>
  status === 200 ? (JSON.parse(body.toString()) as Uploaded) : undefined;

export interface Question {
  readonly port: number;
  readonly key: string;
  readonly method?: string;
  readonly path?: string;
  readonly body?: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request; by default an upload. Never rejects. */
export function ask(agent: Agent, { port, key, method = 'POST', path, body, headers = {} }: Question): Promise<Answer> {
  return new Promise((resolve) => {
    const length = body === undefined ? {} : { 'content-length': body.length };
    const sent = request({
      agent,
      port,
      path: path ?? '/api/v1/upload',
      method,
      headers: { 'x-api-key': key, ...length, ...headers },
    });
    let status = 0;
    const chunks: Buffer[] = [];
    const broken = () => resolve({ status: 0, body: Buffer.alloc(0) });
    sent.once('error', broken).once('response', (answer) => {
      status = answer.statusCode!;
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.once('end', () => resolve({ status, body: Buffer.concat(chunks) }));
      answer.once('error', broken).once('close', broken);
    });
    sent.end(body);
  });
}

/** Names of files that are being received. */
export function receiving(folder: string): readonly string[] {
  try {
    return readdirSync(join(folder, TEMPORARY));
  } catch {
    return [];
  }
}

export const fileOf = (folder: string, sha256: string): string => join(folder, sha256.slice(0, 2), `${sha256}.jpg`);
export const isWhole = (folder: string, sha256: string): boolean =>
  digestOf(readFileSync(fileOf(folder, sha256))) === sha256;

/** The job, for files older than `ageMs`. By default of any age: nothing may be under way. */
export const collectAll = (link: PostgresLink, folder: string, ageMs = -1000): Promise<number> =>
  collect(link, folder, { nowMs: Date.now(), ageMs, signal: new AbortController().signal });

/** Digests with a file, all of them whole. */
export function filesIn(folder: string): readonly string[] {
  const digests = readdirSync(folder)
    .filter((shelf) => shelf !== TEMPORARY)
    .flatMap((shelf) => readdirSync(join(folder, shelf)).map((name) => name.slice(0, 64)));
  for (const sha256 of digests) assert.ok(isWhole(folder, sha256), `a file must be whole: sha256=${sha256}`);
  return digests.sort();
}

/**
 * When nothing is under way and the job has run: files and rows name the same digests, each file is whole and has its
 * length in its row, somebody owns each, and nothing is left of what was never finished. Returns the digests.
 */
export async function mustBeAtRest(link: PostgresLink, folder: string): Promise<readonly string[]> {
  const { rows } = await link.query<{ sha256: string; bytes: string; owners: number }>(
    `SELECT encode(sha256, 'hex') AS sha256, bytes::text,
       (SELECT count(*)::int FROM upload_owners o WHERE o.sha256 = u.sha256) AS owners FROM uploads u ORDER BY 1`,
  );
  const digests = rows.map(({ sha256 }) => sha256);
  expect(filesIn(folder)).toEqual(digests);
  for (const { sha256, bytes } of rows) expect(readFileSync(fileOf(folder, sha256)).length).toBe(Number(bytes));
  expect(rows.filter(({ owners }) => owners === 0)).toEqual([]);
  expect(receiving(folder)).toEqual([]);
  return digests;
}

/** Bytes that a user has stored, by its rows. */
export async function storedBytes(link: PostgresLink, userId: number): Promise<number> {
  const { rows } = await link.query<{ bytes: string }>(
    'SELECT coalesce(sum(bytes), 0)::text AS bytes FROM upload_owners JOIN uploads USING (sha256) WHERE user_id = $1',
    [userId],
  );
  return Number(rows[0]!.bytes);
}
