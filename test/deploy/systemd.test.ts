/** The systemd unit: systemd's own check, its judgement of the hardening, and the time it gives to the drain. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { ensureCommand } from '../servers/apt.ts';
import { runProgram, temporaryFolder } from '../servers/process.ts';
import { collectorEnv, collectorFolder, main } from './collector.ts';
import { deployFolder } from './local-postgres.ts';

const unit = join(deployFolder, 'systemd', 'ringmain.service');
const text = readFileSync(unit, 'utf8');
const setting = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';

test('systemd finds nothing wrong with the unit, the credentials example switched on', async (t) => {
  await ensureCommand('systemd-analyze', 'systemd');
  const { folder, remove } = temporaryFolder('ringmain-unit-');
  t.after(remove);
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
