/**
 * Goal: `ringmain gateway --config=config.yaml` starts with the file of the seed, its backends fill an empty table once, and
 * what stands in the way of a start, or of a command, is said. Method: the built process, a real Postgres, no Redis.
 */
import { connect, createServer } from 'node:net';
import { resolve } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { main } from '../servers/collector.ts';
import { ServerProcess, temporaryFolder } from '../servers/process.ts';
import { fileScope } from '../servers/scope.ts';
import { openLink, PEPPER, startDatabase } from './database.ts';
import { startGateway } from './running.ts';

const POSTGRES_PORT = 24_700;
const PORT = 24_701;
const scope = fileScope();
let dsn: string;
beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, POSTGRES_PORT));
});

test('the file of the seed starts a gateway; its backends fill an empty table, and then the table counts', async (t) => {
  const words = [`--config=${resolve('test/fixtures/gateway-seed/config.yaml')}`];
  const first = await startGateway(t, {
    port: PORT,
    dsn,
    words,
    env: { SERVER_ADDR: '127.0.0.1:1', SERVER_PORT: `${PORT}` },
  });
  const link = await openLink(dsn);
  t.onTestFinished(() => link.close());
  const backends = async () => (await link.query('SELECT url, weight FROM backends ORDER BY id')).rows;
  const ofTheFile = [
    { url: 'http://127.0.0.1:48080', weight: 70 },
    { url: 'http://127.0.0.1:48081', weight: 30 },
  ];
  await expect.poll(backends).toEqual(ofTheFile);
  expect(await (await fetch(`${first.url}/metrics`)).text()).toContain('ringmain_gateway_requests_total');
  await first.end();

  const env = { BACKENDS: '[{"url":"http://127.0.0.1:9"}]', METRICS_ENABLED: 'false' };
  const second = await startGateway(t, { port: PORT, dsn, folder: first.folder, env });
  expect(await backends()).toEqual(ofTheFile);
  const metrics = await fetch(`${second.url}/metrics`);
  expect(await metrics.text()).not.toContain('ringmain_gateway_requests_total');
  await second.end();
});

/** `ringmain` with these words until it ends: its exit code, and what it said. */
async function ringmain(words: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const { folder } = temporaryFolder('ringmain-start-');
  const env = { PATH: process.env['PATH'], DB_DSN: dsn, KEY_PEPPER: PEPPER, SERVER_ADDR: `127.0.0.1:${PORT}`, ...more };
  const child = new ServerProcess(process.execPath, [main, ...words], { cwd: folder, env }, folder);
  const code = await child.exited;
  return { code, log: child.log };
}

// The database takes the migrations and is gone when the start asks it for the pepper.
test('a database that is lost just after migrating ends the start with 75: it may be started again', async (t) => {
  const proxy = createServer((client) => {
    client
      .on('error', () => undefined)
      .once('data', (startup: Buffer) => {
        if (startup.includes('ringmain-gateway-start')) {
          client.destroy();
          return;
        }
        const server = connect(POSTGRES_PORT, '127.0.0.1');
        server.on('error', () => client.destroy()).write(startup);
        client.pipe(server).pipe(client);
      });
  }).listen(PORT + 1, '127.0.0.1');
  t.onTestFinished(() => void proxy.close());
  const { code, log } = await ringmain(['gateway'], { DB_DSN: dsn.replace(`:${POSTGRES_PORT}`, `:${PORT + 1}`) });
  expect([code, log]).toEqual(['75', expect.stringContaining(`127.0.0.1:${PORT + 1}`)]);
});

test('TRUST_PROXY=true is said at the start: clients could forge their address', async (t) => {
  for (const [trust, warned] of [
    ['true', true],
    ['1', false],
  ] as const) {
    const gateway = await startGateway(t, { port: PORT, dsn, env: { TRUST_PROXY: trust } });
    expect(gateway.process.log.includes('clients can forge their address')).toBe(warned);
    await gateway.end();
  }
});

test('a replay of the log of requests is refused: it would count them twice', async () => {
  const { code, log } = await ringmain(['journal', 'replay', '--service=gateway', '--sink=logs']);
  expect([code, log]).toEqual(['64', expect.stringContaining('this one would count it again: found=logs')]);
});
