/** PROXY_PROTOCOL at the gateway: one request for each connection, however its answer goes out. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import { noisePicture, startImgproxy } from '../../servers/imgproxy.ts';
import { temporaryFolder } from '../../servers/process.ts';
import { fileScope } from '../../servers/scope.ts';
import { startDatabase } from '../database.ts';
import { ADMIN_KEY, startGateway } from '../running.ts';

const scope = fileScope();
/** PROXY v2, TCP over IPv4, from 203.0.113.9. */
const HEADER = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb007109c0a80001c35001bb', 'hex');
/** Longer answers go out in pieces (front/open-exchange.ts). */
const PIECES_BYTES = 16 * 1024;
const PORT = 24801;
const administrator = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' };
const url = `http://127.0.0.1:${PORT}`;
let key: string;
/** Id of a key with so many networks that an answer that has them is a long one. */
let keyOfMany: string;

beforeAll(async () => {
  const { folder } = temporaryFolder('ringmain-single-');
  const root = join(folder, 'uploads');
  mkdirSync(join(root, 'shared'), { recursive: true });
  writeFileSync(join(root, 'shared', 'a.jpg'), await noisePicture(300, 300));
  const { dsn } = await startDatabase(scope, 24802);
  await startImgproxy(scope, { port: 24803, root });
  const env = {
    PROXY_PROTOCOL: 'true',
    BACKENDS: JSON.stringify([{ url: 'http://127.0.0.1:24803', weight: 1 }]),
    ALLOWED_SOURCES: 'local:///shared/',
  };
  const networks = Array.from({ length: 2000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`);
  const gateway = await startGateway(scope, { port: PORT, dsn, folder, env });
  for (let n = 0; n < 100; n++) await post('/api/v1/users', { username: `user-${n}`, email: `${n}@example.com` });
  ({ key } = (await post('/api/v1/users/1/keys', { name: 'one' })) as { key: string });
  ({ id: keyOfMany } = (await post('/api/v1/users/1/keys', { name: 'two', networks })) as { id: string });
  const picture = () => fetch(`${url}/w:200/plain/local:///shared/a.jpg@png`, { headers: { 'x-api-key': key } });
  await gateway.process.until(async () => (await picture()).status === 200, 180_000);
  await keepUploads(dsn);
});

/** Rows of uploads for the first user. */
async function keepUploads(connectionString: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(`WITH made AS (
    INSERT INTO uploads SELECT sha256(n::text::bytea), n::text, 1, 'jpeg', 1, 1 FROM generate_series(1, 100) n RETURNING *)
    INSERT INTO upload_owners SELECT gen_random_uuid(), 1, sha256 FROM made`);
  await client.end();
}

async function post(path: string, body: object): Promise<unknown> {
  const answer = await fetch(url + path, { method: 'POST', headers: administrator, body: JSON.stringify(body) });
  expect(answer.status).toBe(201);
  return answer.json();
}

/** All that comes until the server closes the connection, to a request and to a second one with a header of its own. */
async function answersTo(method: string, path: string, body = ''): Promise<string> {
  const socket = connect(PORT, '127.0.0.1');
  const request = [
    `${method} ${path.replace('KEY', keyOfMany)} HTTP/1.1\r\nHost: a\r\nX-API-Key: ${key}`,
    `Authorization: Bearer ${ADMIN_KEY}${body === '' ? '' : `\r\nContent-Length: ${body.length}`}\r\n\r\n${body}`,
  ].join('\r\n');
  let text = '';
  let asked = false;
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    if (asked || !text.endsWith('0\r\n\r\n')) return;
    asked = true;
    socket.write(Buffer.concat([HEADER, Buffer.from('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')]));
  });
  // A reset is an end, too: what was sent last had nobody to read it.
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('close', () => resolve());
    socket.setTimeout(4000, () => reject(new Error(`the connection must be closed: received=${text.length}`)));
  });
  socket.write(Buffer.concat([HEADER, Buffer.from(request)]));
  try {
    await closed;
  } finally {
    socket.destroy();
  }
  return text;
}

test.for([
  ['GET', '/api/v1/users?limit=1', false],
  ['GET', '/api/v1/users?limit=100', true],
  ['GET', '/api/v1/logs?limit=100', true],
  ['GET', '/api/v1/upload?limit=100', true],
  ['GET', '/w:200/plain/local:///shared/a.jpg@png', true],
  ['GET', '/w:250/plain/local:///shared/a.jpg@png', true],
  ['HEAD', '/w:200/plain/local:///shared/a.jpg@png', false],
  ['GET', '/w:200/plain/local:///nobody/a.jpg', false],
  ['PATCH', '/api/v1/keys/KEY', true, '{"name":"three"}'],
  ['POST', '/api/v1/keys/KEY/rotate', true, '{"overlap_s":0}'],
] as const)('%s %s is the only request of its connection', async ([method, path, pieces, sent]) => {
  const text = await answersTo(method, path, sent);
  const end = text.indexOf('\r\n\r\n');
  const [head, body] = [text.slice(0, end), text.slice(end)];
  expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  expect(head.match(/connection: close/gi)).toHaveLength(1);
  expect(body).not.toMatch(/connection: close/i);
  expect([/transfer-encoding: chunked/i.test(head), body.length > PIECES_BYTES]).toEqual([pieces, pieces]);
  if (pieces) expect(body.endsWith('\r\n0\r\n\r\n')).toBe(true);
});
