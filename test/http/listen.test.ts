import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { ConnectionRoom } from '../../src/http/connection-room.ts';
import { parseEndpoint, probeEndpoint } from '../../src/http/endpoint.ts';
import { Listener } from '../../src/http/listen.ts';
import { Renewal } from '../../src/http/renewal.ts';
import { ManualClock } from '../../src/kernel/clock.ts';
import { freePort, RawConnection, request } from './raw.ts';
import { startServer } from './server.ts';

const port = await freePort(21300 - 20);

test('the probe finds a port that a server of ours has, though the addon would share it', async (t) => {
  const { listener } = startServer(t, port);
  await assert.rejects(probeEndpoint({ host: '', port }), { code: 'PORT_IN_USE', exit: 75 });
  await assert.rejects(probeEndpoint({ host: '127.0.0.1', port }), { code: 'PORT_IN_USE' });
  listener.close();
  await probeEndpoint({ host: '', port });
});

test('the probe finds a foreign server, and an address that is not ours is one clear line', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.onTestFinished(() => void server.close());
  await assert.rejects(probeEndpoint(parseEndpoint(`127.0.0.1:${port}`)!), { code: 'PORT_IN_USE' });
  await assert.rejects(probeEndpoint({ host: '203.0.113.1', port }), {
    code: 'CONFIG',
    exit: 78,
    message: /203\.0\.113\.1/,
  });
});

test('without a host both IPv4 and IPv6 are served', async (t) => {
  startServer(t, port, { endpoint: { host: '', port } });
  for (const host of ['127.0.0.1', '::1']) {
    const connection = await RawConnection.open(port, host);
    connection.send('GET /get HTTP/1.1\r\nHost: t\r\n\r\n');
    assert.equal((await connection.answer())?.status, 200, host);
    connection.close();
  }
});

test('stop() takes no more connections and lets open ones go on; close() ends them', async (t) => {
  const { listener } = startServer(t, port);
  const connection = await RawConnection.open(port);
  t.onTestFinished(() => connection.close());
  const ask = async () => {
    connection.send('GET /get HTTP/1.1\r\nHost: t\r\n\r\n');
    return (await connection.answer())?.status;
  };
  assert.equal(await ask(), 200);
  listener.stop();
  await assert.rejects(RawConnection.open(port), { code: 'ECONNREFUSED' });
  assert.equal(await ask(), 200);
  assert.equal(listener.connections, 1);
  listener.close();
  await connection.closed();
  assert.equal(listener.connections, 0);
});

test('connections over the limit are closed at once and counted, the others go on', async (t) => {
  let shed = 0;
  const { listener } = startServer(t, port, { room: new ConnectionRoom({ max: 3 }), onShed: () => (shed += 1) });
  const open: RawConnection[] = [];
  for (let i = 0; i < 5; i++) {
    open.push(await RawConnection.open(port));
    await sleep(10);
  }
  assert.deepEqual(
    open.map((connection) => connection.ended),
    [false, false, false, true, true],
  );
  assert.equal(shed, 2);
  assert.equal(listener.connections, 3);
  open[0]!.send('GET /get HTTP/1.1\r\nHost: t\r\n\r\n');
  assert.equal((await open[0]!.answer())?.status, 200);
  for (const connection of open) connection.close();
  while (listener.connections > 0) await sleep(5);
  assert.equal((await request(port, '/get')).status, 200);
});

test('renewed certificates are served without a restart; open connections go on; a bad pair changes nothing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-tls-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = (name: string) => join(folder, name);
  const make = (name: string) => {
    const args = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    ];
    execFileSync('openssl', [...args, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)], {
      stdio: 'ignore',
    });
  };
  const use = (name: string) => {
    copyFileSync(file(`${name}.crt`), file('cert.pem'));
    copyFileSync(file(`${name}.key`), file('key.pem'));
  };
  make('one');
  make('two');
  use('one');
  const { listener } = startServer(t, port, { tls: { cert: file('cert.pem'), key: file('key.pem') } });
  assert.equal(listener.secure, true);
  const nameOf = async () => {
    const connection = await RawConnection.open(port, '127.0.0.1', { rejectUnauthorized: false });
    connection.send('GET /get HTTP/1.1\r\nHost: t\r\n\r\n');
    assert.equal((await connection.answer())?.status, 200);
    const { subject } = (connection.socket as TLSSocket).getPeerCertificate();
    connection.close();
    return subject.CN;
  };
  assert.equal(await nameOf(), 'one');
  const kept = await RawConnection.open(port, '127.0.0.1', { rejectUnauthorized: false });
  t.onTestFinished(() => kept.close());

  copyFileSync(file('two.crt'), file('cert.pem'));
  assert.throws(() => listener.renew(), { code: 'CONFIG', message: /TLS_CERT/ }, 'a key of another certificate');
  assert.equal(await nameOf(), 'one');
  use('two');
  // The first socket listens for two more turns of the loop.
  const turns = async () => {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  listener.renew();
  await turns();
  for (let i = 0; i < 5; i++) assert.equal(await nameOf(), 'two');
  kept.send('GET /get HTTP/1.1\r\nHost: t\r\n\r\n');
  assert.equal((await kept.answer())?.status, 200, 'a connection of before the renewal goes on');
  assert.ok(listener.connections >= 1);
  kept.close();
  while (listener.connections > 0) await sleep(5);
  use('one');
  listener.renew();
  await turns();
  assert.equal(await nameOf(), 'one');
  await assert.rejects(plainHandshake(port), 'plain HTTP is not answered on a TLS port');
  assert.throws(
    () =>
      new Listener({
        endpoint: { host: '', port },
        room: new ConnectionRoom({ max: 1 }),
        routes: () => {},
        tls: { cert: file('none'), key: file('none') },
      }),
    {
      code: 'CONFIG',
    },
  );
  writeFileSync(file('cert.pem'), 'garbage');
  assert.throws(() => listener.renew(), { code: 'CONFIG' });
  assert.equal(await nameOf(), 'one');
});

test('renewed files are noticed when they have stood still; a bad pair is reported once', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-tls-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const make = (name: string) => {
    execFileSync(
      'openssl',
      [
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
      ],
      { stdio: 'ignore' },
    );
  };
  make('one');
  const { listener } = startServer(t, port, { tls: { cert, key } });
  let renewed = 0;
  const problems: unknown[] = [];
  const renewal = new Renewal(
    listener,
    { cert, key },
    {
      renewed: () => {
        renewed += 1;
      },
      problem: (error) => void problems.push(error),
    },
    30,
  );
  t.onTestFinished(() => renewal.close());
  await sleep(150);
  assert.deepEqual([renewed, problems.length], [0, 0], 'files that did not change are not read again');
  make('two');
  while (renewed === 0) await sleep(10);
  writeFileSync(cert, 'garbage');
  while (problems.length === 0) await sleep(10);
  await sleep(150);
  assert.deepEqual([renewed, problems.length], [1, 1]);
  renewal.renew();
  assert.equal(problems.length, 2, 'asked for, it is read and reported again');
  make('three');
  while (renewed === 1) await sleep(10);
});

async function plainHandshake(to: number): Promise<void> {
  const connection = await RawConnection.open(to);
  connection.send('GET /get HTTP/1.1\r\nHost: t\r\n\r\n');
  const answer = await connection.answer();
  if (answer === undefined) throw new Error('closed');
}

test('TLS 1.2 and 1.3 are spoken, older ones are not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-tls-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=x', '-keyout', key, '-out', cert],
    { stdio: 'ignore' },
  );
  startServer(t, port, { tls: { cert, key } });
  const spoken = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
    new Promise<string | null>((resolve) => {
      const options = {
        port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        minVersion: version,
        maxVersion: version,
        ciphers: 'DEFAULT@SECLEVEL=0',
      };
      const socket = connect(options, () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.once('error', () => resolve(null));
    });
  assert.equal(await spoken('TLSv1.2'), 'TLSv1.2');
  assert.equal(await spoken('TLSv1.3'), 'TLSv1.3');
  assert.equal(await spoken('TLSv1.1'), null);
});

// Goal: silent connections of one address do not keep a probe of another one out. Method: room for two, a reserve of three.
test('beyond the room each address has one seat of the reserve a second, and answers close while it is in use', async (t) => {
  const clock = new ManualClock();
  const crowded: boolean[] = [];
  const room = new ConnectionRoom({ max: 2, reserve: 3, onCrowd: (now) => crowded.push(now) }, clock);
  let shed = 0;
  startServer(t, port, { room, onShed: () => (shed += 1) });
  const open = async (localAddress: string) => {
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress });
    t.onTestFinished(() => void socket.destroy());
    socket.on('error', () => undefined).write('GET /get HTTP/1.1\r\nHost: a\r\n\r\n');
    const answered = await Promise.race([
      once(socket, 'data').then(() => true),
      once(socket, 'close').then(() => false),
    ]);
    return { socket, answered };
  };
  const first = await open('127.0.0.1');
  await open('127.0.0.1');
  assert.deepEqual([crowded, shed], [[], 0]);
  assert.equal((await open('127.0.0.1')).answered, true, 'the first seat of the reserve');
  assert.deepEqual(crowded, [true]);
  assert.equal((await open('127.0.0.1')).answered, false, 'no second seat in this second');
  assert.equal((await open('127.0.0.2')).answered, true, 'another address');
  clock.advance(1001);
  const last = await open('127.0.0.1');
  assert.equal(last.answered, true);
  assert.equal((await open('127.0.0.3')).answered, false, 'the reserve is full');
  assert.equal(shed, 2);
  first.socket.destroy();
  last.socket.destroy();
  await expect.poll(async () => (await open('127.0.0.3')).answered).toBe(true);
});
