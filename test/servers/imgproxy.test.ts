/** The stand-in for imgproxy: what tests of the gateway rest on. */
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { noisePicture, startImgproxy } from './imgproxy.ts';
import { temporaryFolder } from './process.ts';

const [key, salt] = ['00112233', '44556677'];
const signed = (path: string) =>
  `/${createHmac('sha256', Buffer.from(key, 'hex')).update(Buffer.from(salt, 'hex')).update(path).digest('base64url')}${path}`;

test('the stand-in for imgproxy checks signatures, resizes by its paths, and is wrong when it is told to', async (t) => {
  const { folder } = temporaryFolder('ringmain-imgproxy-root-');
  writeFileSync(join(folder, 'a b.jpg'), await noisePicture(400, 300));
  const server = await startImgproxy(t, { port: 24490, root: folder, key, salt });
  const get = (path: string) => fetch(server.url + path);
  const base64 = Buffer.from('local:///a b.jpg').toString('base64url');
  for (const path of [
    '/rs:fit:100:100/plain/local:///a%20b.jpg@webp',
    `/w:100/f:webp/${base64}`,
    `/w:100/${base64.slice(0, 9)}/${base64.slice(9)}.webp`,
  ]) {
    const answer = await get(signed(path));
    expect([path, answer.status, answer.headers.get('content-type')]).toEqual([path, 200, 'image/webp']);
    const { width, height } = await sharp(Buffer.from(await answer.arrayBuffer())).metadata();
    expect([width, height]).toEqual([100, 75]);
    expect((await get(`/unsafe${path}`)).status).toBe(403);
  }
  expect((await get(signed('/plain/local:///..%2f..%2fetc%2fhostname'))).status).toBe(404);
  expect((await get(signed('/plain/http://127.0.0.1:24490/health'))).status).toBe(404);
  const path = signed('/w:10/plain/local:///a%20b.jpg');
  await server.faults({ status: 503 });
  expect((await get(path)).status).toBe(503);
  await server.faults({ way: 'reset' });
  await expect(get(path)).rejects.toThrow();
  await server.faults({ way: 'short' });
  await expect(get(path).then((answer) => answer.arrayBuffer())).rejects.toThrow();
  await server.faults({ health: 500 });
  expect((await get('/health')).status).toBe(500);
  await server.faults({});
  expect((await get(path)).status).toBe(200);
  const { byPath, refused } = await server.counts();
  expect([byPath[path], refused]).toEqual([4, 3]);
});
