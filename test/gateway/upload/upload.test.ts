/**
 * Goal: a 200 for an upload says that it is kept, whole and for its owner alone. Method: the built gateway with Postgres;
 * pictures made by sharp, sent raw and in forms.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { RawConnection } from '../../http/raw.ts';
import { fileScope } from '../../servers/scope.ts';
import { startDatabase } from '../database.ts';
import { ADMIN_KEY, type RunningGateway, startGateway } from '../running.ts';

const scope = fileScope();
let gateway: RunningGateway;
const keys: string[] = [];
const users: number[] = [];

const picture = (width: number, height: number, colour = '#336699') =>
  sharp({ create: { width, height, channels: 3, background: colour } });
const admin = (method: string, path: string, body?: unknown) =>
  fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const ask = (key: string, method: string, path: string, body?: RequestInit['body'], headers = {}) =>
  fetch(`${gateway.url}${path}`, { method, headers: { 'x-api-key': key, ...headers }, ...(body ? { body } : {}) });

interface Uploaded {
  readonly id: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly format: string;
  readonly width: number;
  readonly height: number;
  readonly url: string;
  readonly urls: Readonly<Record<string, string>>;
}

beforeAll(async () => {
  const postgres = await startDatabase(scope, 24_500);
  gateway = await startGateway(scope, {
    port: 24_510,
    dsn: postgres.dsn,
    env: { UPLOAD_MAX_BYTES: '1MiB', UPLOAD_MAX_PIXELS: '1000000' },
  });
  for (const name of ['ada', 'bob']) {
    const user = (await (
      await admin('POST', '/api/v1/users', { username: name, email: `${name}@example.com` })
    ).json()) as { id: number };
    users.push(user.id);
    const key = (await (await admin('POST', `/api/v1/users/${user.id}/keys`, { name: 'test' })).json()) as {
      key: string;
    };
    keys.push(key.key);
    while ((await ask(key.key, 'GET', '/api/v1/upload')).status !== 200) await sleep(50);
  }
});

test('a picture is kept under its digest, for whoever has sent it', async () => {
  const bytes = await picture(120, 80).jpeg().toBuffer();
  const answer = await ask(keys[0]!, 'POST', '/api/v1/upload', bytes);
  const upload = (await answer.json()) as Uploaded;
  expect(answer.status, JSON.stringify(upload)).toBe(200);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  expect(upload).toMatchObject({ sha256, bytes: bytes.length, format: 'jpeg', width: 120, height: 80 });
  expect(upload.url).toBe(`/plain/local:///${sha256.slice(0, 2)}/${sha256}.jpg`);
  const file = join(gateway.folder, 'uploads', sha256.slice(0, 2), `${sha256}.jpg`);
  expect(readFileSync(file).equals(bytes)).toBe(true);
  expect(await (await ask(keys[0]!, 'GET', `/api/v1/upload/${upload.id}`)).json()).toMatchObject({ id: upload.id });
  expect((await ask(keys[1]!, 'GET', `/api/v1/upload/${upload.id}`)).status).toBe(404);
  expect((await ask(keys[1]!, 'DELETE', `/api/v1/upload/${upload.id}`)).status).toBe(404);

  // Again, in a form: the same upload. By somebody else: one of their own, of the same file.
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(bytes)]), 'a.jpg');
  const again = (await (await ask(keys[0]!, 'POST', '/api/v1/upload', form)).json()) as Uploaded;
  expect(again.id).toBe(upload.id);
  const other = (await (await ask(keys[1]!, 'POST', '/api/v1/upload', bytes)).json()) as Uploaded;
  expect(other.sha256).toBe(sha256);
  expect(other.id).not.toBe(upload.id);

  expect((await ask(keys[0]!, 'DELETE', `/api/v1/upload/${upload.id}`)).status).toBe(204);
  expect((await ask(keys[0]!, 'GET', `/api/v1/upload/${upload.id}`)).status).toBe(404);
  expect(readFileSync(file).length).toBe(bytes.length);
  // Who has used up the month may still tidy up.
  await admin('PUT', `/api/v1/users/${users[1]}/quota`, { monthly_requests: 1 });
  await expect.poll(async () => (await ask(keys[1]!, 'GET', `/api/v1/upload/${other.id}`)).status).toBe(429);
  expect((await ask(keys[1]!, 'DELETE', `/api/v1/upload/${other.id}`)).status).toBe(204);
  await admin('PUT', `/api/v1/users/${users[1]}/quota`, {});
  await expect.poll(async () => (await ask(keys[1]!, 'GET', '/api/v1/upload')).status).toBe(200);
  expect(() => readFileSync(file)).toThrow('ENOENT');
});

test.each(['png', 'gif', 'webp', 'avif'] as const)('%s is told by its bytes', async (format) => {
  const bytes = await picture(33, 21, format === 'gif' ? '#112233' : '#445566')
    .toFormat(format)
    .toBuffer();
  const answer = await ask(keys[0]!, 'POST', '/api/v1/upload', bytes, { 'content-type': 'image/jpeg' });
  expect(await answer.json()).toMatchObject({ format, width: 33, height: 21 });
});

test('what is no picture, too large or too much is refused, and nothing of it is kept', async () => {
  const noise = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>');
  const refused = async (body: RequestInit['body'], status: number, code: string) => {
    const answer = await ask(keys[0]!, 'POST', '/api/v1/upload', body);
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([status, code]);
  };
  await refused(noise, 415, 'UPLOAD_UNKNOWN');
  await refused(await picture(1001, 1000).png().toBuffer(), 413, 'UPLOAD_PIXELS');
  await refused(Buffer.concat([await picture(5, 5).jpeg().toBuffer(), Buffer.alloc(1 << 20)]), 413, 'BODY_TOO_LARGE');
  await refused((await picture(50, 50).jpeg().toBuffer()).subarray(0, 40), 415, 'UPLOAD_UNKNOWN');
  const two = new FormData();
  for (const name of ['a', 'b'])
    two.append(name, new Blob([new Uint8Array(await picture(9, 9).jpeg().toBuffer())]), name);
  await refused(two, 400, 'INPUT_REFUSED');
  await admin('PUT', `/api/v1/users/${users[1]}/quota`, { storage_bytes: 1500 });
  const [small, other] = [await picture(20, 20).jpeg().toBuffer(), await picture(21, 20).png().toBuffer()];
  expect((await ask(keys[1]!, 'POST', '/api/v1/upload', small)).status).toBe(200);
  const large = Buffer.concat([other, Buffer.alloc(1500)]);
  expect((await ask(keys[1]!, 'POST', '/api/v1/upload', large)).status).toBe(413);
  // What a user has takes no more room when it is sent again, whatever the quota is by now.
  await admin('PUT', `/api/v1/users/${users[1]}/quota`, { storage_bytes: 1 });
  expect((await ask(keys[1]!, 'POST', '/api/v1/upload', small)).status).toBe(200);
  expect(readdirSync(join(gateway.folder, 'uploads', '.receiving'))).toEqual([]);
  const digest = createHash('sha256').update(large).digest('hex');
  expect(() => readFileSync(join(gateway.folder, 'uploads', digest.slice(0, 2), `${digest}.png`))).toThrow('ENOENT');
});

test('a file in a form may have as many bytes as one alone, and not one more', async () => {
  const head = await picture(7, 7).jpeg().toBuffer();
  const send = (bytes: number, wrap: boolean) => {
    const body = new Uint8Array(Buffer.concat([head, Buffer.alloc(bytes - head.length)]));
    const form = new FormData();
    form.append('file', new Blob([body]), 'a.jpg');
    return ask(keys[0]!, 'POST', '/api/v1/upload', wrap ? form : body);
  };
  for (const wrap of [true, false]) {
    expect((await send(1 << 20, wrap)).status, `in a form: ${wrap}`).toBe(200);
    const more = await send((1 << 20) + 1, wrap);
    expect([more.status, ((await more.json()) as { code: string }).code]).toEqual([413, 'BODY_TOO_LARGE']);
  }
});

test('a file that grows too large while it comes is refused at once, and the rest passes by: no client loses the answer', async () => {
  const head = await picture(8, 8).jpeg().toBuffer();
  const file = Buffer.concat([head, Buffer.alloc((1 << 20) + 1 + 40_000 - head.length)]);
  const body = Buffer.concat([
    Buffer.from('--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'),
    ...[file, Buffer.from('\r\n--x--\r\n')],
  ]);
  const rest = 30_000;
  const connection = await RawConnection.open(24_510);
  onTestFinished(() => connection.close());
  const type = 'Content-Type: multipart/form-data; boundary=x';
  const lines = ['POST /api/v1/upload HTTP/1.1', 'Host: a', `X-API-Key: ${keys[0]}`, type];
  connection.send(`${lines.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n`);
  connection.send(body.subarray(0, body.length - rest));
  const answer = (await connection.answer())!;
  expect([answer.status, (answer.json() as { code: string }).code]).toEqual([413, 'BODY_TOO_LARGE']);
  // It stands where the rest ends, so the next request is read as one.
  connection.send(body.subarray(body.length - rest));
  connection.send(`GET /api/v1/upload?limit=1 HTTP/1.1\r\nHost: a\r\nX-API-Key: ${keys[0]}\r\n\r\n`);
  expect((await connection.answer())?.status).toBe(200);
  await expect.poll(() => readdirSync(join(gateway.folder, 'uploads', '.receiving'))).toEqual([]);
});

test('a form that is cut, has no boundary, no file or too many fields is refused, and leaves nothing', async () => {
  const type = 'multipart/form-data; boundary=x';
  const part = (name: string, file: string) => `--x\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`;
  const cut = Buffer.concat([Buffer.from(part('file', '; filename="a.jpg"')), await picture(9, 9).jpeg().toBuffer()]);
  const fields = Array.from({ length: 25 }, (_, i) => `${part(`f${i}`, '')}1\r\n`).join('');
  const bodies: readonly (readonly [string, Buffer])[] = [
    [type, cut],
    ['multipart/form-data', cut],
    [type, Buffer.from(`${part('strip', '')}location\r\n--x--\r\n`)],
    [type, Buffer.concat([Buffer.from(fields), cut, Buffer.from('\r\n--x--\r\n')])],
  ];
  for (const [contentType, body] of bodies) {
    const answer = await ask(keys[0]!, 'POST', '/api/v1/upload', new Uint8Array(body), { 'content-type': contentType });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([400, 'INPUT_REFUSED']);
  }
  await expect.poll(() => readdirSync(join(gateway.folder, 'uploads', '.receiving'))).toEqual([]);
});

test('the list has pages, the newest first', async () => {
  for (let i = 0; i < 5; i++) {
    const bytes = await picture(40 + i, 10)
      .png()
      .toBuffer();
    expect((await ask(keys[0]!, 'POST', '/api/v1/upload', bytes)).status).toBe(200);
  }
  const widths: number[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const path: string = `/api/v1/upload?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`;
    const page = (await (await ask(keys[0]!, 'GET', path)).json()) as { items: Uploaded[]; next: string | null };
    expect(page.items.length).toBeLessThanOrEqual(2);
    widths.push(...page.items.map(({ width }) => width));
    cursor = page.next;
  }
  expect(widths.slice(0, 5)).toEqual([44, 43, 42, 41, 40]);
  expect((await ask(keys[0]!, 'GET', '/api/v1/upload?cursor=xyz')).status).toBe(400);
});

test('strip=location takes the place out of a photo and nothing else', async () => {
  const exif = {
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 0/1', GPSLongitudeRef: 'E', GPSLongitude: '13/1 24/1 0/1' },
  };
  const photo = await picture(60, 40)
    .jpeg()
    .withExif({ IFD0: { Make: 'Camera' }, ...exif })
    .toBuffer();
  const has = (bytes: Buffer) => [
    bytes.includes('Camera'),
    bytes.includes(Buffer.from([0x34, 0, 0, 0, 1, 0, 0, 0, 0x1f])) ||
      bytes.includes(Buffer.from([0, 0, 0, 0x34, 0, 0, 0, 1])),
  ];
  expect(has(photo)).toEqual([true, true]);
  const upload = (await (await ask(keys[0]!, 'POST', '/api/v1/upload?strip=location', photo)).json()) as Uploaded;
  const kept = readFileSync(join(gateway.folder, 'uploads', upload.sha256.slice(0, 2), `${upload.sha256}.jpg`));
  expect(createHash('sha256').update(kept).digest('hex')).toBe(upload.sha256);
  expect(kept.length).toBe(photo.length);
  expect(has(kept)).toEqual([true, false]);
  const metadata = await sharp(kept).metadata();
  expect([metadata.width, metadata.height]).toEqual([60, 40]);
});
