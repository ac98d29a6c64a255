import assert from 'node:assert/strict';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'vitest';
import { ensureCommand } from '../../servers/apt.ts';
import { startPostgres } from '../../servers/postgres.ts';
import { ServerProcess, temporaryFolder } from '../../servers/process.ts';
import { assertStored, config, deliver, event, events, open, sql, TestLane } from './fixture.ts';

const PORT = 21540;
const BOUNCER = 21541;

// Goal: PG_COPY=false needs nothing of a session beyond its transaction.
// Method: a real PgBouncer in transaction mode with fewer server sessions than clients, so that each transaction may
// meet another.
test('Postgres behind PgBouncer in transaction mode', async (t) => {
  await ensureCommand('pgbouncer', 'pgbouncer');
  const server = await startPostgres(t, { port: PORT, own: true });
  const { folder, remove } = temporaryFolder('ringmain-bouncer-');
  t.onTestFinished(remove);
  writeFileSync(join(folder, 'users.txt'), '"postgres" "ringmain"\n');
  const lines = [
    '[databases]',
    `* = host=127.0.0.1 port=${PORT}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${BOUNCER}`,
    'unix_socket_dir =',
    'auth_type = plain',
    `auth_file = ${join(folder, 'users.txt')}`,
    'pool_mode = transaction',
    'default_pool_size = 2',
  ];
  writeFileSync(join(folder, 'bouncer.ini'), `${lines.join('\n')}\n`);
  chmodSync(folder, 0o755);
  const account = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  if (process.getuid?.() === 0)
    for (const name of ['users.txt', 'bouncer.ini']) chownSync(join(folder, name), 65534, 65534);
  const path = `${process.env['PATH']}:/usr/sbin`;
  const bouncer = new ServerProcess(
    'pgbouncer',
    [join(folder, 'bouncer.ini')],
    { ...account, cwd: folder, env: { PATH: path } },
    folder,
  );
  t.onTestFinished(() => bouncer.end('SIGINT'));
  const dsn = server.dsn.replace(`:${PORT}`, `:${BOUNCER}`);
  await bouncer.until(
    () =>
      sql(dsn, 'SELECT 1').then(
        () => true,
        () => false,
      ),
    10_000,
  );

  const settings = config(dsn, { pgCopy: false, pgConnections: 3 });
  const targets = ['a', 'b'].map((name) => open(t, settings, name));
  const lanes = targets.map((_, at) => new TestLane([...events(2000, at * 10_000), ...events(100, at * 10_000)]));
  const load = sleep(50).then(async () => {
    for (let round = 0; round < 20; round += 1) await sql(dsn, 'BEGIN; SELECT pg_sleep(0.01); COMMIT');
  });
  await Promise.all([load, ...targets.map((target, at) => deliver(target, lanes[at]!, { batch: 150 }))]);
  await assertStored(
    server.dsn,
    lanes.flatMap((lane) => lane.events),
  );

  const odd = new TestLane([...events(50, 50_000), event(50_050, { props: '{"a":1e999999}' })], { life: 2, lane: 0 });
  assert.deepEqual((await deliver(targets[0]!, odd)).refused, [50]);
});
