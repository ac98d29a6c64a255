/** The files of a front end, on a real server of the addon. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { onTestFinished, test } from 'vitest';
import { type AssetOptions, Assets, strictCsp } from '../../src/http/assets.ts';
import { exchange, freePort, request } from './raw.ts';
import { startRoutes } from './routes.ts';

const port = await freePort(21330);
const script = 'console.log("a front end");\n'.repeat(200);

function folderOf(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-assets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}
const serve = (files: Readonly<Record<string, string | Buffer>>, options?: AssetOptions) =>
  startRoutes(port, [new Assets(folderOf(files), options).route('web')]);

test('files have their type, pages and folders their index.html, and nothing else is there', async () => {
  const { count } = serve({
    'index.html': '<!doctype html>',
    'app.js': 'x',
    'docs/index.html': 'docs',
    'img/a b.svg': '<svg/>',
    'data.bin': 'x',
    '.env': 'SECRET=1',
    'docs/.hidden/x.txt': 'x',
  });
  const rows: readonly (readonly [path: string, type: string])[] = [
    ['/', 'text/html; charset=utf-8'],
    ['/index.html', 'text/html; charset=utf-8'],
    ['/app.js?v=1', 'text/javascript; charset=utf-8'],
    ['/docs/', 'text/html; charset=utf-8'],
    ['/img/a%20b.svg', 'image/svg+xml'],
    ['/data.bin', 'application/octet-stream'],
  ];
  for (const [path, type] of rows) {
    const answer = await request(port, path);
    assert.equal(answer.status, 200, path);
    assert.equal(answer.headers['content-type'], type);
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
  }
  for (const path of ['/docs', '/app', '/.env', '/docs/.hidden/x.txt', '/%ff', '/app.js/', '//app.js', '/APP.JS'])
    assert.equal((await request(port, path)).status, 404, path);
  assert.equal(count('web 2xx'), rows.length);
  assert.equal(count('web 4xx'), 8);
});

// Goal: no request reads a file outside of the folder.
// Method: spellings of a parent folder that other servers fell for, and a link that leads out; a secret lies beside the folder.
test('no spelling of a path leaves the folder', async () => {
  const folder = folderOf({ 'secret.txt': 'secret', 'web/index.html': 'page' });
  symlinkSync(join(folder, 'secret.txt'), join(folder, 'web', 'link.txt'));
  symlinkSync(folder, join(folder, 'web', 'up'));
  const assets = new Assets(pathToFileURL(join(folder, 'web')), { fallback: 'index.html' });
  assert.deepEqual([...assets.paths].sort(), ['/', '/index.html']);
  startRoutes(port, [assets.route('web')]);
  const paths = [
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/%2e%2e%2fsecret.txt',
    '/..%5csecret.txt',
    '/a/../../secret.txt',
    '/%252e%252e/secret.txt',
    '/link.txt',
    '/up/secret.txt',
    '/secret.txt%00.html',
    '//etc/passwd',
  ];
  for (const path of paths) {
    const answer = await exchange(port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.equal(answer?.status, 404, path);
    assert.doesNotMatch(answer.text(), /^secret|root:/);
  }
});

test('a name with a hash is kept for a year, everything else is asked for again and answered 304 by its tag', async () => {
  serve({
    'index.html': 'page',
    'app-3f9c01ab.js': 'x',
    'style.3F9C01AB.css': 'x',
    'chunk-ABCD2345.js': 'x',
    'app-QWERTYUI.css': 'x',
    'app-QWERTYUI.js.map': 'x',
    'plan-ORIGINAL.pdf': 'x',
    'app-settings.js': 'x',
    'app-facade.js': 'x',
    'VERSIONS.md': 'x',
  });
  const cached = async (path: string) => (await request(port, path)).headers['cache-control'];
  for (const path of ['/app-3f9c01ab.js', '/chunk-ABCD2345.js', '/app-QWERTYUI.css', '/app-QWERTYUI.js.map'])
    assert.equal(await cached(path), 'public, max-age=31536000, immutable', path);
  for (const path of ['/', '/index.html', '/app-settings.js', '/app-facade.js', '/VERSIONS.md', '/plan-ORIGINAL.pdf'])
    assert.equal(await cached(path), 'no-cache', path);
  const etag = (await request(port, '/')).headers['etag']!;
  assert.match(etag, /^"[\w-]{22}"$/);
  const ask = (tags: string, method = 'GET') => request(port, '/', { method, headers: [`If-None-Match: ${tags}`] });
  for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const answer = await ask(tags);
    assert.equal(answer.status, 304, tags);
    assert.equal(answer.body.length, 0);
    assert.equal(answer.headers['etag'], etag);
    assert.equal(answer.headers['cache-control'], 'no-cache');
  }
  assert.equal((await ask(etag, 'HEAD')).status, 304);
  for (const tags of ['"other"', etag.slice(1, -1), `${etag}x`]) assert.equal((await ask(tags)).status, 200, tags);
});

test('the smallest encoding that the client takes is sent, with Vary, its own tag, and the same content', async () => {
  serve({ 'app.js': script, 'small.js': 'x', 'photo.png': Buffer.alloc(5000) });
  const ask = (accepted: string) =>
    request(port, '/app.js', { headers: accepted === '' ? [] : [`Accept-Encoding: ${accepted}`] });
  const rows: readonly (readonly [accepted: string, encoding: string | undefined])[] = [
    ['', undefined],
    ['gzip, deflate, br', 'br'],
    ['BR', 'br'],
    ['gzip', 'gzip'],
    ['br;q=0, gzip', 'gzip'],
    ['br; q=0.000, *', 'gzip'],
    ['*;q=0', undefined],
    ['identity', undefined],
    ['zstd', undefined],
  ];
  const tags = new Set<string>();
  for (const [accepted, encoding] of rows) {
    const answer = await ask(accepted);
    assert.equal(answer.headers['content-encoding'], encoding, accepted);
    assert.equal(answer.headers['vary'], 'Accept-Encoding');
    const { body } = answer;
    const plain = encoding === 'br' ? brotliDecompressSync(body) : encoding === 'gzip' ? gunzipSync(body) : body;
    assert.equal(plain.toString(), script);
    tags.add(`${encoding} ${answer.headers['etag']}`);
  }
  assert.equal(tags.size, 3, 'each encoding has one tag of its own');
  const plainTag = (await ask('')).headers['etag']!;
  const cross = await request(port, '/app.js', { headers: ['Accept-Encoding: br', `If-None-Match: ${plainTag}`] });
  assert.equal(cross.status, 200, 'the tag of one encoding is not the tag of another');
  for (const path of ['/small.js', '/photo.png']) {
    const answer = await request(port, path, { headers: ['Accept-Encoding: gzip, br'] });
    assert.equal(answer.headers['content-encoding'], undefined, path);
    assert.equal(answer.headers['vary'], undefined);
  }
});

test('precompressed files beside a file are sent in its place and are no files of their own', async () => {
  const br = brotliCompressSync(script);
  const gz = gzipSync(script, { level: 1 });
  serve({ 'app.js': script, 'app.js.br': br, 'app.js.gz': gz, 'only.gz': gz });
  const ask = async (encoding: string) =>
    (await request(port, '/app.js', { headers: [`Accept-Encoding: ${encoding}`] })).body;
  assert.deepEqual(await ask('br'), br);
  assert.deepEqual(await ask('gzip'), gz);
  assert.equal((await request(port, '/app.js.br')).status, 404);
  assert.equal((await request(port, '/only.gz')).status, 200);
});

test('HEAD has the headers of GET, POST is refused with Allow', async () => {
  serve({ 'index.html': script });
  for (const headers of [[], ['Accept-Encoding: br']]) {
    const { headers: got, body } = await request(port, '/', { headers });
    const { headers: head } = await request(port, '/', { method: 'HEAD', headers });
    assert.equal(head['content-length'], String(body.length));
    for (const name of ['etag', 'content-type', 'content-encoding', 'cache-control', 'vary', 'content-security-policy'])
      assert.equal(head[name], got[name], name);
  }
  const post = await request(port, '/', { method: 'POST' });
  assert.equal(post.status, 405);
  assert.equal(post.headers['allow'], 'GET, HEAD');
});

test('a page view of a path that is no file gets the fallback, a script that is missing 404', async () => {
  serve({ 'index.html': 'page', 'a.js': 'x' }, { fallback: 'index.html' });
  const view = await request(port, '/sites/7', { headers: ['Accept: text/html,*/*;q=0.8'] });
  assert.equal(view.text(), 'page');
  assert.equal(view.headers['cache-control'], 'no-cache');
  assert.equal((await request(port, '/old.js', { headers: ['Accept: */*'] })).status, 404);
});

test('pages carry the policy, other files do not; it may be another one or none', async () => {
  const files = { 'index.html': 'page', 'a.js': 'x' };
  startRoutes(port, [
    new Assets(folderOf(files)).route('web'),
    new Assets(folderOf(files), { csp: "default-src 'none'" }).route('other', '/other/*'),
  ]);
  const policy = async (path: string) => (await request(port, path)).headers['content-security-policy'];
  assert.equal(await policy('/'), strictCsp);
  assert.equal(await policy('/a.js'), undefined);
});

test('a folder that is empty, missing, too large or without its fallback is refused at start', () => {
  assert.throws(() => new Assets(folderOf({})), /must have files: folder=/);
  assert.throws(() => new Assets(join(folderOf({}), 'none')), { code: 'ENOENT' });
  const folder = folderOf({ 'a.js': 'x'.repeat(100) });
  assert.throws(() => new Assets(folder, { bytesMax: 99 }), /bytes=100, limit=99/);
  assert.throws(() => new Assets(folder, { fallback: 'index.html' }), /must hold its fallback/);
});
