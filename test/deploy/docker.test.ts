/**
 * The container image without a docker engine: every step of the Dockerfile is run in a clean root, then the image's own command in it, as its
 * own user and with everything but /data read-only.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { answersOk, main } from '../servers/collector.ts';
import { leaveIdleConnections, runProgram, ServerProcess, temporaryFolder } from '../servers/process.ts';
import { READY } from './collector.ts';
import { buildImage, instructions } from './image-build.ts';
import { deployFolder } from './local-postgres.ts';

const root = join(deployFolder, '..');
const dockerfile = join(deployFolder, 'docker', 'Dockerfile');
const PORT = 21950;

test('the image builds from what .dockerignore lets through, and runs as its user on a read-only root', async (t) => {
  const { folder, remove } = temporaryFolder('ringmain-image-');
  t.onTestFinished(remove);
  const image = await buildImage(root, dockerfile, folder, { COMMIT: '0123456789ab' });

  const allowed = readFileSync(join(root, '.dockerignore'), 'utf8')
    .match(/^!.*$/gm)!
    .map((line) => line.slice(1));
  assert.deepEqual(
    [...image.copied].sort(),
    allowed.sort(),
    '.dockerignore lets through what COPY takes, no more, no less',
  );
  const { USER = '', STOPSIGNAL, LABEL = '', HEALTHCHECK = '', ENTRYPOINT = '', CMD = '' } = image.declared;
  const words = (text: string) => JSON.parse(text.replace(/^.*CMD /, '')) as string[];
  assert.match(USER, /^[1-9]\d*:[1-9]\d*$/, 'a numeric user that is not root: Kubernetes checks it');
  assert.equal(STOPSIGNAL, 'SIGTERM');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  assert.ok(LABEL.includes(`version="${version}"`));
  // The root is read-only in compose and chart: what a service writes by default lies in the volume.
  for (const name of [
    'JOURNAL_DIR',
    'DEAD_LETTER_DIR',
    'LOG_PATH',
    'CACHE_DIR',
    'UPLOAD_DIR',
    'CLICKHOUSE_DIR',
    'CHDB_DIR',
  ])
    assert.ok(image.env[name]?.startsWith(`${image.declared['VOLUME']}/`), name);

  const [user = '', group = ''] = USER.split(':');
  const as = `exec setpriv --reuid=${user} --regid=${group} --clear-groups --no-new-privs`;
  const enter = (command: readonly string[]) => image.enter(['cd /app', `${as} ${command.join(' ')}`]);
  const env = {
    ...process.env,
    ...image.env,
    SERVER_ADDR: `127.0.0.1:${PORT}`,
    JOURNAL_MAX_BYTES: '64MiB',
    SEGMENT_BYTES: '8MiB',
    MAX_CONNECTIONS: '1000',
  };
  const run = async (command: readonly string[], extra: Record<string, string> = {}) => {
    const [program = '', ...args] = enter(command);
    return runProgram(program, args, { env: { ...env, ...extra } });
  };

  assert.match(await run(['ringmain', '--version']), /^ringmain \d+\.\d+\.\d+ \(0123456789ab\)$/m);
  await assert.rejects(run(['touch', '/app/x']), /Read-only file system|Permission denied/);
  await assert.rejects(run(words(HEALTHCHECK)), 'healthy while nothing runs');
  const sbom = JSON.parse(await run(['cat', '/app/sbom.cdx.json'])) as {
    bomFormat: string;
    components: { name: string }[];
  };
  assert.equal(sbom.bomFormat, 'CycloneDX');
  const names = new Set(sbom.components.map(({ name }) => name));
  assert.ok(names.has('pino') && !names.has('typescript'), 'the SBOM lists what runs, not what builds');
  assert.match(await run(['ls', '/app/dist/analytics/migrations']), /^001_\w+\.sql$/m, 'the migrations of a service');
  await assert.rejects(run(['ls', '/app/node_modules/typescript']), 'development packages are in the image');

  const [program = '', ...args] = enter([...words(ENTRYPOINT), ...words(CMD)]);
  const server = new ServerProcess(program, args, { env }, '');
  t.onTestFinished(() => server.end('SIGTERM'));
  const url = `http://127.0.0.1:${PORT}`;
  await server.until(() => answersOk(`${url}${READY}`), 180_000);
  await run(words(HEALTHCHECK));
  assert.equal((await fetch(`${url}/px.gif?e=from-image`)).status, 200);
  leaveIdleConnections();
  server.signal('SIGTERM');
  const late = setTimeout(() => server.signal('SIGKILL'), 15_000);
  assert.equal(await server.exited, '0', `SIGTERM must end it in order:\n${server.log}`);
  clearTimeout(late);
  let file = '';
  await expect
    .poll(
      async () => {
        file = await run(['cat', image.env['LOG_PATH']!]);
        return file.includes('from-image');
      },
      { message: 'the event in the volume' },
    )
    .toBe(true);
});

// Goal: one HEALTHCHECK serves `docker run ringmain`, `... ringmain analytics` and flags behind it. Method: a process space of its own, as a
// container has it.
test('the health check asks what process 1 runs, where its flags let it listen', async (t) => {
  const { folder, remove } = temporaryFolder('ringmain-health-');
  const own = ['--pid', '--fork', '--kill-child', '--mount-proc'];
  const flags = [`--server-addr=127.0.0.1:${PORT + 1}`, '--journal-dir=off', '--ack=memory', '--outputs=log'];
  const env = { PATH: process.env['PATH'] };
  const server = new ServerProcess(
    'unshare',
    [...own, process.execPath, main, 'pixel', ...flags],
    { cwd: folder, env },
    '',
  );
  t.onTestFinished(async () => {
    await server.end('SIGKILL');
    remove();
  });
  await server.until(() => answersOk(`http://127.0.0.1:${PORT + 1}/healthz`), 180_000);
  const inside = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').trim();
  await runProgram('nsenter', ['-t', inside, '-p', '-m', process.execPath, main, '--healthcheck'], {
    cwd: folder,
    env,
  });
});

test('images are pinned, and the base is the Node that package.json asks for', () => {
  const bases = instructions(readFileSync(dockerfile, 'utf8')).flatMap(([word, rest]) =>
    word === 'FROM' ? [rest.split(' ')[0]!] : [],
  );
  for (const base of bases) assert.match(base, /^node:22\.\d+\.\d+-bookworm-slim$/);
  const compose = parse(readFileSync(join(deployFolder, 'local', 'docker-compose.yml'), 'utf8')) as {
    services: Record<string, { image: string }>;
  };
  for (const { image } of Object.values(compose.services))
    assert.match(image, /^[^:]+:v?\d+\.\d+/, `image is not pinned: ${image}`);
});
