/** The built collector at its limits of connections and open files. */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { requestBytes } from '../http/raw.ts';
import { Collector } from '../servers/collector.ts';

/** Opens connections and keeps them; each that is closed is opened again until the test ends. */
function crowd(port: number, count: number): void {
  const sockets = new Set<Socket>();
  let over = false;
  const open = () => {
    if (over) return;
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        sockets.delete(socket);
        setTimeout(open, 100);
      })
      .resume();
  };
  for (let i = 0; i < count; i++) open();
  onTestFinished(() => {
    over = true;
    for (const socket of sockets) socket.destroy();
  });
}

/** Addresses of this machine that nothing has come from yet. */
let hosts = 1;
const another = () => `127.0.1.${++hosts}`;

/** Status of a GET from another address; 0: closed without an answer. */
function ask(port: number, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    get({ port, path, host: '127.0.0.1', localAddress: another(), agent: false, timeout: 5000 }, (answer) => {
      let text = '';
      answer
        .on('data', (bytes) => (text += bytes))
        .once('close', () => resolve({ status: answer.statusCode ?? 0, text }));
    }).once('error', () => resolve({ status: 0, text: '' }));
  });
}

// Goal: a flood of connections takes no file of our own, and liveness does not kill a busy pod. Method: a limit of 400
// files, 600 silent connections that come again and again; events go on over a connection that was there before, segments
// of 1 MiB turn over meanwhile, and probes come from another address.
test('at the limit of open files the keeper lives, events are stored and probes are answered', async (t) => {
  const collector = await Collector.start(t, {
    port: 21241,
    under: ['prlimit', '--nofile=400:400'],
    env: { SEGMENT_BYTES: '1MiB', RING_BYTES: '1MiB', MAX_BODY_BYTES: '256KiB' },
  });
  const said =
    /the limit of open files \(400\) leaves room for (\d+) connections, fewer than MAX_CONNECTIONS \(100000\)/;
  const room = Number(said.exec(collector.log)?.[1]);
  assert.ok(room >= 64 && room < 400, collector.log);
  crowd(collector.port, 600);
  const shed = async () =>
    Number(/^ringmain_http_connections_shed_total (\d+)/m.exec((await ask(collector.port, '/metrics')).text)?.[1]);
  await expect.poll(shed).toBeGreaterThan(100);
  let sent = 0;
  const filler = 'x'.repeat(500);
  for (let i = 0; i < 20; i++) {
    const body = JSON.stringify(Array.from({ length: 250 }, () => ({ e: 'flood', props: { filler } })));
    const status = await new Promise<number>((resolve) => {
      const socket = connect({ port: collector.port, host: '127.0.0.1', localAddress: another() });
      socket.on('connect', () => socket.write(requestBytes('/collect', { method: 'POST', body })));
      socket.on('data', (bytes) => {
        resolve(Number(bytes.toString('latin1', 9, 12)));
        socket.destroy();
      });
      socket.on('error', () => undefined).on('close', () => resolve(0));
    });
    if (status === 202) sent += 250;
  }
  assert.ok(sent >= 2500, `sent=${sent}`);
  assert.ok(collector.running);
  assert.doesNotMatch(collector.log, /EMFILE|has ended|died/);
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    await expect.poll(async () => (await ask(collector.port, path)).status).toBe(200);
  }
  await expect.poll(() => collector.lines().filter((line) => line.includes('"flood"')).length).toBe(sent);
});

test('too few open files for any connection refuse the start and say how many it needs', async (t) => {
  const collector = new Collector(t, { port: 21242, under: ['prlimit', '--nofile=160:160'] });
  await assert.rejects(collector.start());
  assert.match(collector.log, /the limit of open files must be at least \d+: found=160/);
});

// A default that a machine does not reach is no news; a wish that it does not grant is.
test('a MAX_CONNECTIONS that somebody has set and the limit of open files does not grant is warned of', async (t) => {
  const under = ['prlimit', '--nofile=12000:12000'];
  const levelIn = (log: string) => /"level":"(\w+)"[^\n]*the limit of open files \(12000\) leaves room/.exec(log)?.[1];
  const byDefault = await Collector.start(t, { port: 21242, under });
  assert.equal(levelIn(byDefault.log), 'info', byDefault.log);
  await byDefault.kill();
  const set = await Collector.start(t, { port: 21242, under, env: { MAX_CONNECTIONS: '20000' } });
  assert.equal(levelIn(set.log), 'warn', set.log);
});
