/** Options that only show in a whole process: TLS and its renewal, ADMIN_ADDR, a port in use, the salt of addresses, the warm-up. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import type { Readiness } from '../../src/service/schemas.ts';
import { Client } from '../collect/contract.ts';
import { freePort, RawConnection, request, requestBytes } from '../http/raw.ts';
import { temporaryFolder } from '../servers/process.ts';
import { startSmall } from './small-collector.ts';

const main = join(process.cwd(), 'dist/main.js');

test('TLS: served from files, cookies are Secure, SIGHUP takes a renewed certificate and a bad one changes nothing', async (t) => {
  const { folder, remove } = temporaryFolder('ringmain-tls-');
  t.onTestFinished(remove);
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const make = (name: string, extra: readonly string[] = []) => {
    const args = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      key,
      '-out',
      cert,
    ];
    execFileSync('openssl', [...args, ...extra], { stdio: 'ignore' });
  };
  make('one');
  const server = await startSmall(t, 21280, { TLS_CERT: cert, TLS_KEY: key, ACCEPTORS: '2' });
  const visit = async () => {
    const connection = await RawConnection.open(server.port, '127.0.0.1', { rejectUnauthorized: false });
    connection.send(requestBytes('/px.gif?e=tls'));
    const answer = await connection.answer();
    const { subject } = (connection.socket as TLSSocket).getPeerCertificate();
    connection.close();
    assert.equal(answer?.status, 200);
    return { name: subject.CN, cookie: answer.headers['set-cookie']! };
  };
  const { name, cookie } = await visit();
  assert.equal(name, 'one');
  assert.match(cookie, /; Secure$/);
  const healthcheck = () =>
    spawnSync(process.execPath, [main, '--healthcheck'], {
      env: { ...process.env, SERVER_ADDR: `:${server.port}`, TLS_CERT: cert, TLS_KEY: key },
    }).status;
  assert.equal(healthcheck(), 0);

  make('two');
  server.signal('SIGHUP');
  const until = performance.now() + 10_000;
  let resets = 0;
  for (let same = 0; same < 10; ) {
    assert.ok(performance.now() < until, 'both acceptors must take the renewed certificate');
    // A connection that falls into the instant in which the old socket closes may be reset (listen.ts): a client tries again.
    const seen = await visit().catch((error: { code?: string }) => {
      assert.equal(error.code, 'ECONNRESET');
      resets += 1;
      assert.ok(resets <= 2, 'two sockets were closed');
    });
    same = seen?.name === 'two' ? same + 1 : 0;
  }
  execFileSync('sh', ['-c', `echo garbage > ${cert}`]);
  server.signal('SIGHUP');
  await expect.poll(() => server.log).toContain('the renewed certificate cannot be loaded');
  assert.equal((await visit()).name, 'two');
  assert.ok(server.running);
});

test('ADMIN_ADDR takes /healthz, /readyz and /metrics away from the public port', async (t) => {
  const admin = await freePort(21285);
  const server = await startSmall(t, 21283, { ADMIN_ADDR: `127.0.0.1:${admin}` });
  // It listens before its sink has opened the file.
  await expect.poll(async () => (await request(admin, '/readyz')).status).toBe(200);
  for (const path of ['/healthz', '/readyz', '/readyz?sinks=ignore', '/metrics']) {
    assert.equal((await request(admin, path)).status, 200, path);
    const outside = await request(server.port, path);
    assert.equal(outside.status, 404, path);
    assert.doesNotMatch(outside.text(), /events\.ndjson|sink|keeper|acceptor/, 'nothing of the inside is told outside');
  }
  const { status, missing, parts } = (await request(admin, '/readyz')).json() as Readiness;
  assert.deepEqual([status, missing], ['ready', []]);
  assert.deepEqual(
    parts.map(({ part, kind, state, reason }) => `${kind} ${part}: ${state}${reason ?? ''}`),
    [
      'process process: up',
      'keeper keeper: up',
      'sink log: up',
      'acceptor acceptor-0: up',
      'journal journal, lane 0: up',
    ],
  );
  assert.equal((await request(admin, '/px.gif')).status, 404);
  assert.equal((await request(server.port, '/px.gif')).status, 200);
  assert.equal((await request(server.port, '/robots.txt')).status, 200);
  const env = { ...process.env, SERVER_ADDR: `:${server.port}`, ADMIN_ADDR: `127.0.0.1:${admin}` };
  assert.equal(spawnSync(process.execPath, [main, '--healthcheck'], { env }).status, 0);
});

test('bad certificates and options that contradict each other end the start with one line and 78, a port in use with 75', async (t) => {
  const server = await startSmall(t, 21288);
  const { folder, remove } = temporaryFolder('ringmain-bad-');
  t.onTestFinished(remove);
  const free = await freePort(21290);
  const rows: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ SERVER_ADDR: `:${server.port}` }, /port is in use/],
    [{ SERVER_ADDR: 'nonsense' }, /SERVER_ADDR must be host:port/],
    [{ TLS_CERT: join(folder, 'none') }, /TLS_CERT and TLS_KEY must be set together/],
    [{ TLS_CERT: join(folder, 'none'), TLS_KEY: join(folder, 'none') }, /TLS_CERT/],
    [{ ENABLE_HTTPS: 'true' }, /ENABLE_HTTPS requires TLS_CERT and TLS_KEY: neither is set/],
    [{ ENABLE_HTTPS: 'true', SSL_CERT_FILE: main, SSL_KEY_FILE: main }, /must be a PEM pair that fits together/],
    [{ CORS_ORIGINS: '*,https://a.example' }, /CORS_ORIGINS must be/],
    [{ CORS_ORIGINS: 'https://a.example/' }, /CORS_ORIGINS must be .*neither a path nor a trailing slash/],
    [{ TRUST_PROXY: '10.0.0.0/99' }, /TRUST_PROXY must be/],
    [{ CLIENT_IP_HEADER: 'CF-Connecting-IP' }, /CLIENT_IP_HEADER requires TRUST_PROXY/],
    [{ JOURNAL_DIR: 'off' }, /ACK must be memory when JOURNAL_DIR=off/],
    [{ IP_HASH_SECRET: 'short', IP_MODE: 'hash' }, /IP_HASH_SECRET must be/],
    [{ GEOIP_DB: join(folder, 'none.mmdb') }, /GEOIP_DB/],
    [{ PROXY_PROTOCOL: 'true', TLS_CERT: 'a', TLS_KEY: 'b' }, /PROXY_PROTOCOL must be false/],
    [{ BODY_TIMEOUT_MS: '60000' }, /BODY_TIMEOUT_MS must be/],
    [{ COOKIE_NAME: 'a b' }, /COOKIE_NAME must be/],
    [{ COOKIE_SAMESITE: 'None' }, /requires TLS_CERT and TLS_KEY, or TRUST_PROXY/],
    [{ LOG_PATH: folder }, /LOG_PATH must be a writable file: .*found=a directory/],
    [{ JOURNAL_DIR: join(main, 'below') }, /JOURNAL_DIR must be a writable directory: .*found=ENOTDIR/],
  ];
  for (const [options, message] of rows) {
    const env = { PATH: process.env['PATH'], SERVER_ADDR: `:${free}`, ...options };
    const { status, stderr } = spawnSync(process.execPath, [main, 'pixel'], {
      cwd: folder,
      env,
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(status, /port is in use/.test(stderr) ? 75 : 78, `${JSON.stringify(options)}: ${stderr}`);
    assert.match(stderr, message);
    assert.ok(stderr.trim().split('\n').length <= 2, `one clear line, not a trace: ${stderr}`);
  }
});

test('IP_MODE=hash without a secret: all acceptors agree, and a restart within the day goes on with the same salt', async (t) => {
  const { folder, remove } = temporaryFolder('ringmain-salt-');
  t.onTestFinished(remove);
  const hashes = new Set<unknown>();
  for (let life = 0; life < 2; life++) {
    const server = await startSmall(t, 21292, { IP_MODE: 'hash', TRUST_PROXY: 'true', ACCEPTORS: '2' }, folder);
    for (let i = 0; i < 20; i++) await request(server.port, '/px.gif', { headers: ['X-Forwarded-For: 203.0.113.9'] });
    assert.equal(await server.stop(), 0);
    for (const line of server.lines()) hashes.add((JSON.parse(line) as { ip: string }).ip);
  }
  assert.equal(hashes.size, 1);
  assert.match(String([...hashes][0]), /^[0-9a-f]{32}$/);
});

test('a fresh process has recorded and counted nothing, though it has warmed itself up', async (t) => {
  const server = await startSmall(t, 21294);
  assert.equal(await server.metric('ringmain_accepted_events_total'), 0);
  assert.equal(await server.metric('requests_total{route="px"'), 0);
  assert.equal(await server.metric('ringmain_lane_events_total'), 0);
  await new Client(server).none();
});

test('a drain under load fails no request: what was asked is answered, then the port is closed', async (t) => {
  const { folder, remove } = temporaryFolder('ringmain-drain-');
  t.onTestFinished(remove);
  const server = await startSmall(t, 21296, { DRAIN_DELAY_MS: '300', ACCEPTORS: '2' }, folder);
  let acknowledged = 0;
  let failed = 0;
  let stopping = false;
  const client = async () => {
    for (;;) {
      let connection: RawConnection;
      try {
        connection = await RawConnection.open(server.port);
      } catch {
        return;
      }
      for (;;) {
        connection.send(requestBytes('/px.gif'));
        const answer = await connection.answer().catch(() => undefined);
        if (answer?.status === 200) acknowledged += 1;
        // A connection that was idle in the kernel's queue when the port closed was never accepted.
        else if (!stopping) failed += 1;
        if (answer === undefined || answer.headers['connection'] === 'close') break;
      }
      connection.close();
      if (stopping && !server.running) return;
    }
  };
  const clients = Array.from({ length: 20 }, client);
  await sleep(300);
  stopping = true;
  const code = await server.stop();
  await Promise.all(clients);
  assert.equal(code, 0);
  assert.equal(failed, 0);
  assert.equal(server.lines().length, acknowledged);
});
