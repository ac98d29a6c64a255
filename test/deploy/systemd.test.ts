/** The systemd unit: systemd's own check, its judgement of the hardening, and the time it gives to the drain. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, test } from 'vitest';
import { exitCodes, exitRows } from '../../src/kernel/errors.ts';
import { ensureCommand } from '../servers/apt.ts';
import { answersOk, main } from '../servers/collector.ts';
import { leaveIdleConnections, runProgram, ServerProcess, temporaryFolder } from '../servers/process.ts';
import { collectorEnv, collectorFolder, READY } from './collector.ts';
import { deployFolder } from './local-postgres.ts';

const root = join(deployFolder, '..');
const unit = join(deployFolder, 'systemd', 'ringmain.service');
const text = readFileSync(unit, 'utf8');
const setting = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';

test('systemd finds nothing wrong with the unit', async (t) => {
  await ensureCommand('systemd-analyze', 'systemd');
  const { folder, remove } = temporaryFolder('ringmain-unit-');
  t.onTestFinished(remove);
  // Where Node lies on this machine; the unit names Debian's place. The user comes with install.sh.
  const here = text.replace('/usr/bin/node', process.execPath);
  writeFileSync(join(folder, 'plain.service'), here);
  const said = await runProgram('systemd-analyze', ['verify', '--man=no', join(folder, 'plain.service')]);
  assert.doesNotMatch(said, /plain\.service/, said);
});

test.each([
  ['analytics', 'DATABASE_URL_FILE'],
  ['gateway', 'DB_DSN_FILE'],
  ['sms', 'PG_DSN_FILE'],
])('the drop-in lets the unit run %s, which finds its secrets in files', async (service, dsn) => {
  await ensureCommand('systemd-analyze', 'systemd');
  const { folder, remove } = temporaryFolder('ringmain-unit-');
  onTestFinished(remove);
  const dropIn = readFileSync(join(deployFolder, 'systemd', `${service}.conf`), 'utf8');
  mkdirSync(join(folder, 'plain.service.d'));
  const here = (one: string) => one.replace('/usr/bin/node', process.execPath);
  writeFileSync(join(folder, 'plain.service'), here(text));
  writeFileSync(join(folder, 'plain.service.d', `${service}.conf`), here(dropIn));
  const said = await runProgram('systemd-analyze', ['verify', '--man=no', join(folder, 'plain.service')]);
  assert.doesNotMatch(said, /plain\.service|(analytics|gateway|sms)\.conf/, said);

  const [, words = ''] = /^ExecStart=\/usr\/bin\/node \/opt\/ringmain\/dist\/main\.js (.+)$/m.exec(dropIn) ?? [];
  writeFileSync(join(folder, 'dsn'), 'postgres://ringmain:x@127.0.0.1/ringmain\n');
  writeFileSync(join(folder, 'pepper'), 'p'.repeat(64));
  const secrets = { [dsn]: join(folder, 'dsn'), KEY_PEPPER_FILE: join(folder, 'pepper') };
  const env = collectorEnv(folder, 21_973, secrets);
  assert.match(await runProgram('node', [main, ...words.split(' '), '--check-config'], { cwd: folder, env }), /valid/);
});

/** Commands that end something, and those of services that this installation does not run. */
const notHere = / (forget|drain|replay)$|^ringmain (analytics|gateway|sms) /;

// Goal: the gateway may write its uploads and its cache under ProtectSystem=strict, and imgproxy's user, who is in the group, may read the uploads.
test('the drop-in of the gateway keeps its folders in the state of the unit, and its group may read there', () => {
  const dropIn = readFileSync(join(deployFolder, 'systemd', 'gateway.conf'), 'utf8');
  const of = (name: string) => new RegExp(`\\b${name}=(\\S+)`).exec(dropIn)?.[1] ?? '';
  for (const name of ['UPLOAD_DIR', 'CACHE_DIR'])
    assert.ok(of(name).startsWith(`/var/lib/${setting('StateDirectory')}/`), name);
  const [folder, mask] = [of('StateDirectoryMode'), of('UMask')].map((mode) => Number.parseInt(mode, 8));
  assert.deepEqual([folder! & 0o057, mask! & 0o057], [0o050, 0o007]);
});

test('systemd rates its exposure as low', async () => {
  await ensureCommand('systemd-analyze', 'systemd');
  await runProgram('systemd-analyze', ['security', '--offline=true', '--threshold=15', unit]);
});

test('the unit agrees with the collector: drain time, exit codes, open files, secrets as files', async () => {
  assert.ok(Number(setting('TimeoutStopSec')) * 1000 > 10_000 + 5000, 'longer than DRAIN_TIMEOUT_MS by default');
  assert.equal(setting('Restart'), 'on-failure');
  assert.deepEqual(
    setting('RestartPreventExitStatus').split(' ').map(Number),
    [exitCodes.usage, exitCodes.config],
    'what passes by itself (75) is tried again',
  );
  const final = exitRows.filter(({ restarts, code }) => restarts === false && code !== String(exitCodes.ok));
  assert.equal(setting('RestartPreventExitStatus'), final.map(({ code }) => code).join(' '), 'the table of README.md');
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
  await traced.until(() => answersOk(`${url}${READY}`), 180_000);
  const body = JSON.stringify(Array.from({ length: 20 }, () => ({ e: 'large', props: { text: 'x'.repeat(5000) } })));
  for (let n = 0; n < 30; n += 1) {
    assert.equal((await fetch(`${url}/px.gif?e=traced`)).status, 200);
    await fetch(`${url}/collect`, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
  }
  await (await fetch(`${url}/metrics`)).text();
  leaveIdleConnections();
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

// Goal: what the runbook says at three in the morning works on a host as install.sh leaves it. Method: install.sh in a namespace of its own, on
// copies of /etc and empty folders; a collector as the unit starts it; every command of the runbook as root, by its name alone; afterwards no file
// of the state belongs to anybody but the service.
test('the commands of the runbook work under systemd as installed, and leave nothing behind that the service could not read', async (t) => {
  for (const [command, debian] of [
    ['useradd', 'passwd'],
    ['setpriv', 'util-linux'],
  ] as const)
    await ensureCommand(command, debian);
  const { folder, remove } = temporaryFolder('ringmain-install-');
  t.onTestFinished(remove);
  const runbook = readFileSync(join(deployFolder, 'RUNBOOK.md'), 'utf8');
  const named = [...runbook.matchAll(/`(ringmain [a-z]+ [a-z]+)`/g)].map(([, command]) => command!);
  const beside = [...new Set(named)].filter((command) => !notHere.test(command));
  assert.ok(beside.includes('ringmain journal ls') && beside.includes('ringmain deadletter ls'), beside.join(', '));
  // install.sh deletes what it replaces: the libraries of this tree are a link there, to a mount that is read-only and lies elsewhere.
  const modules = realpathSync(join(root, 'node_modules'));
  const options = ['SERVER_ADDR=127.0.0.1:21973', 'OUTPUTS=http', 'HTTP_SINK_URL_FILE=/etc/ringmain/http_url'].join(
    '\n',
  );
  const environment = [...text.matchAll(/^Environment=(.*)$/gm)].map(([, all]) => all!.replaceAll('%S', '/var/lib'));
  const script = `
tree=${folder}/tree; mkdir -p $tree/deploy ${folder}/etc
cp -R ${root}/dist ${root}/package.json ${root}/README.md ${root}/.env.example $tree/
cp -R ${deployFolder}/systemd ${deployFolder}/*.md $tree/deploy/
cp -a /etc/. ${folder}/etc
mount --bind ${folder}/etc /etc
mount --bind ${process.execPath} /usr/bin/node
for empty in /opt /usr/local/bin /var/lib /srv; do mount -t tmpfs tmpfs $empty; done
mkdir /srv/node_modules
mount --bind -o ro ${modules} /srv/node_modules
if touch /srv/node_modules/x 2>/dev/null; then echo 'the libraries of the tree must be mounted read-only'; exit 1; fi
ln -s /srv/node_modules $tree/node_modules
sh $tree/deploy/systemd/install.sh
printf '%s\n' '${options}' > /etc/ringmain/ringmain.env
sh $tree/deploy/systemd/install.sh
grep -q 21973 /etc/ringmain/ringmain.env
printf http://127.0.0.1:21974/ | install -m 640 -g ringmain /dev/stdin /etc/ringmain/http_url
install -d -m 700 -o ringmain -g ringmain /var/lib/ringmain
id ringmain; cd /

setpriv --reuid=ringmain --regid=ringmain --init-groups env -i ${environment.join(' ')} ${options.replaceAll('\n', ' ')} \
  ${setting('ExecStart')} > ${folder}/log 2>&1 &
service=$!
trap 'kill -9 $service 2>/dev/null; cat ${folder}/log' EXIT
n=0; until ringmain --healthcheck 2>/dev/null; do n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1; done
curl -fsS -o /dev/null 'http://127.0.0.1:21973/px.gif?e=owed'
echo 'STARTED'
${beside.map((command) => `echo '$ ${command}'; ${command}`).join('\n')}
ringmain journal cat | grep -q '"e":"owed"'
ringmain help | grep -q '^ringmain journal'
ringmain help journal | grep -q '^ringmain journal ls'
for tool in journal deadletter migrate doctor pixel; do ringmain $tool --help | grep -q "^ringmain $tool"; done
for bare in '' journal deadletter migrate; do
  if ringmain $bare 2> ${folder}/said; then exit 1; else [ $? = 64 ]; fi; grep -q "^ringmain $bare" ${folder}/said
done
cp -p /etc/ringmain/ringmain.env /etc/ringmain/other.env
ringmain journal ls --env-file /etc/ringmain/other.env | grep -q 'owes 1 events'
ringmain journal ls --env-file=/etc/ringmain/other.env | grep -q 'owes 1 events'
if ringmain doctor > ${folder}/said; then exit 1; else [ $? = ${exitCodes.severe} ]; fi
grep -q 'ERROR.*127.0.0.1:21974' ${folder}/said
ringmain journal replay --sink=log --file=/var/lib/ringmain/again.ndjson
grep -q '"e":"owed"' /var/lib/ringmain/again.ndjson
if ringmain journal drain --timeout=1; then exit 1; else code=$?; [ $code = 75 ]; fi
kill $service; wait $service || true
if ringmain journal drain --timeout=1; then exit 1; fi
ringmain journal forget http
foreign=$(find /var/lib/ringmain ! -user ringmain); [ -z "$foreign" ]
if setpriv --reuid=nobody --clear-groups ringmain journal ls; then exit 1; else [ $? = 77 ]; fi
trap - EXIT
echo DONE`;
  const said = await runProgram('unshare', ['--mount', '--propagation', 'private', 'sh', '-euc', script], {
    env: { PATH: `/usr/local/bin:${process.env['PATH']}`, LANG: 'C' },
  });
  assert.match(said, /STARTED[\s\S]*log [0-9a-f]{32}[\s\S]*owes 1 events[\s\S]*DONE/, said);
});

test('the command of the installation and the unit agree about paths', () => {
  const command = readFileSync(join(deployFolder, 'systemd', 'ringmain'), 'utf8');
  const paths = command.slice(command.indexOf("<<'UNIT'\n") + 9, command.indexOf('\nUNIT'));
  assert.equal(setting('Environment').replaceAll('%S', '/var/lib'), paths.replaceAll('\n', ' '));
  const [node, main] = setting('ExecStart').split(' ');
  assert.ok(command.includes(`main=${main}\n`) && command.includes(`set -- ${node} `), 'another program');
  assert.ok(command.includes(`options=${setting('EnvironmentFile').slice(1)}\n`), 'other options');
  assert.ok(command.includes(`user=${setting('User')}\n`), 'another user');
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
