/** The systemd unit: systemd's own check, its judgement of the hardening, and the time it gives to the drain. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { ensureCommand } from '../servers/apt.ts';
import { answersOk, main } from '../servers/collector.ts';
import { runProgram, ServerProcess, temporaryFolder } from '../servers/process.ts';
import { collectorEnv, collectorFolder, READY } from './collector.ts';
import { deployFolder } from './local-postgres.ts';

const unit = join(deployFolder, 'systemd', 'ringmain.service');
const text = readFileSync(unit, 'utf8');
const setting = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';

test('systemd finds nothing wrong with the unit, the credentials example switched on', async (t) => {
  await ensureCommand('systemd-analyze', 'systemd');
  const { folder, remove } = temporaryFolder('ringmain-unit-');
  t.onTestFinished(remove);
  for (const [name, content] of [
    ['plain', text],
    ['credentials', text.replaceAll(/^#(LoadCredential|Environment)=/gm, '$1=')],
  ] as const) {
    // Where Node lies on this machine; the unit names Debian's place.
    writeFileSync(join(folder, `${name}.service`), content.replace('/usr/bin/node', process.execPath));
    const said = await runProgram('systemd-analyze', ['verify', '--man=no', join(folder, `${name}.service`)]);
    assert.doesNotMatch(said, new RegExp(`${name}\\.service`), said);
  }
});

test('systemd rates its exposure as low', async () => {
  await ensureCommand('systemd-analyze', 'systemd');
  await runProgram('systemd-analyze', ['security', '--offline=true', '--threshold=15', unit]);
});

test('the unit agrees with the collector: drain time, exit codes, open files, secrets as files', async () => {
  assert.ok(Number(setting('TimeoutStopSec')) * 1000 > 10_000 + 5000, 'longer than DRAIN_TIMEOUT_MS by default');
  assert.match(setting('RestartPreventExitStatus'), /\b78\b/);
  assert.ok(Number(setting('LimitNOFILE')) > 100_000 + 1000, 'more than MAX_CONNECTIONS by default');
  const home = collectorFolder();
  writeFileSync(join(home, 'pg_dsn'), 'postgres://ringmain:x@127.0.0.1/ringmain\n');
  const env = collectorEnv(home, 21970, { OUTPUTS: 'postgres', PG_DSN_FILE: join(home, 'pg_dsn') });
  const said = await runProgram('node', [main, 'pixel', '--check-config'], { cwd: home, env });
  assert.match(said, /valid/);
});

// Goal: the hardening takes nothing away that the collector needs. Method: every system call of a life, start to drain, seen by strace, is in the
// unit's filter; and that life runs on a /proc that shows processes only (ProcSubset=pid).
test('every system call of the collector passes the filter, and it needs nothing of /proc but processes', async (t) => {
  await ensureCommand('strace', 'strace');
  const home = collectorFolder();
  const calls = join(home, 'calls');
  const life = `mount -t proc -o subset=pid proc /proc && exec strace -f -c -U name -o ${calls} node ${main} pixel`;
  const env = collectorEnv(home, 21971, {
    OUTPUTS: 'log,http',
    HTTP_SINK_URL: 'http://127.0.0.1:21972/',
    LOG_ROTATE_MB: '1',
    LOG_COMPRESS: 'true',
  });
  const traced = new ServerProcess(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-ec', life],
    { cwd: home, env },
    home,
  );
  t.onTestFinished(() => traced.end('SIGKILL'));
  const url = 'http://127.0.0.1:21971';
  await traced.until(() => answersOk(`${url}${READY}`), 30_000);
  const body = JSON.stringify(Array.from({ length: 20 }, () => ({ e: 'large', props: { text: 'x'.repeat(5000) } })));
  for (let n = 0; n < 30; n += 1) {
    assert.equal((await fetch(`${url}/px.gif?e=traced`)).status, 200);
    await fetch(`${url}/collect`, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
  }
  await (await fetch(`${url}/metrics`)).text();
  // Strace ends with what it traces; its own signals would not reach the collector.
  process.kill(Number(/"pid":(\d+)/.exec(traced.log)?.[1]), 'SIGTERM');
  await traced.exited;

  // Between the heading and the sum.
  const used: string[] = readFileSync(calls, 'utf8').trim().split('\n').slice(2, -2);
  assert.ok(
    used.includes('fdatasync') && used.includes('accept4'),
    `strace saw no life of a collector: ${used.join(' ')}`,
  );
  const [allow, deny] = [...text.matchAll(/^SystemCallFilter=(.*)$/gm)].map(([, list]) => list!);
  const allowed = await expanded(allow!.split(' '));
  for (const call of await expanded(deny!.replace(/^~/, '').split(' '))) allowed.delete(call);
  assert.deepEqual(
    used.filter((call) => !allowed.has(call)),
    [],
  );
});

/** The system calls of systemd's groups. */
async function expanded(groups: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const group of groups) {
    const lines = (await runProgram('systemd-analyze', ['syscall-filter', group])).split('\n').slice(1);
    for (const line of lines.map((one) => one.trim())) {
      if (line.startsWith('@')) for (const call of await expanded([line])) found.add(call);
      else if (line !== '' && !line.startsWith('#')) found.add(line);
    }
  }
  return found;
}
