import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdtempSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { beforeAll, describe, expect, type TestContext, test, vi } from 'vitest';
import { postgresSink } from '../../../src/sinks/postgres/sink.ts';
import { type FaultProxy, faultProxy } from '../../servers/fault-proxy.ts';
import { type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { assertStored, config, deliver, event, events, open, sql, TestLane } from './fixture.ts';

const PORT = 21510;

/** The same database through a proxy. */
function through(dsn: string, ...proxies: FaultProxy[]): string {
  return dsn.replace(/@[^/]+/, `@${proxies.map(({ address }) => address).join(',')}`);
}

/** A session of somebody else, open until the test ends. */
async function session(t: TestContext, dsn: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: dsn });
  client.on('error', () => {});
  await client.connect();
  t.onTestFinished(() => client.end().catch(() => {}));
  return client;
}

/** Large enough that a batch does not fit into the socket buffers of the way. */
function largeEvents(count: number, first = 0) {
  const text = 'x'.repeat(16_000);
  return Array.from({ length: count }, (_, at) =>
    event(first + at, { props: JSON.stringify({ n: first + at, text }) }),
  );
}

describe('Postgres goes away and comes back', () => {
  const scope = fileScope();
  let server: PostgresServer;
  let proxy: FaultProxy;
  let dsn: string;
  beforeAll(async () => {
    server = await startPostgres(scope, { port: PORT, own: true });
    proxy = await faultProxy(scope, { target: { port: PORT } });
    dsn = through(server.dsn, proxy);
  });

  test('a server that is down at the start is waited for', async (t) => {
    await server.stop();
    const target = open(t, config(server.dsn, { pgTable: 'late' }));
    await assert.rejects(target.cursors(), (error) => postgresSink.classify(error) === 'retry');
    const lane = new TestLane(events(200));
    const delivered = deliver(target, lane);
    await sleep(150);
    await server.restart();
    const { verdicts } = await delivered;
    assert.ok(verdicts.length > 0 && verdicts.every((verdict) => verdict.startsWith('retry')), verdicts.join('\n'));
    await assertStored(server.dsn, lane.events, 'late');
  });

  test('kill -9 of the server in the middle of a COPY', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'killed', pgGin: 'off' }));
    await target.cursors();
    const lane = new TestLane(largeEvents(300));
    let killed = 0;
    const delivered = deliver(target, lane, {
      batch: 100,
      before: (from) => {
        if (from !== 100 || killed > 0) return;
        killed = 1;
        const begin = proxy.passed.toTarget;
        void expect
          .poll(() => proxy.passed.toTarget > begin + 300_000, { message: 'a COPY is on its way' })
          .toBe(true)
          .then(async () => {
            proxy.freeze();
            await server.kill9();
            await proxy.heal();
            // The backends follow their postmaster a little later; until then the data folder is in use.
            await vi.waitFor(() => server.restart(), { timeout: 60_000, interval: 20 });
            killed = 2;
          });
      },
    });
    const { verdicts } = await delivered;
    assert.equal(killed, 2);
    assert.ok(verdicts.length > 0);
    await assertStored(server.dsn, lane.events, 'killed');
  });

  test('a restart under load', async (t) => {
    const target = open(t, config(server.dsn, { pgTable: 'restarted', pgGin: 'off' }));
    await target.cursors();
    const lane = new TestLane(events(20_000));
    let restarted: Promise<void> | undefined;
    await deliver(target, lane, {
      batch: 500,
      before: (from) => {
        if (from === 5000) restarted ??= server.restart();
      },
    });
    await restarted;
    await assertStored(server.dsn, lane.events, 'restarted');
  });

  // Goal: however far a conversation came, the batch is stored once; also when only the answer to COMMIT was lost.
  // Method: the same batch again and again, cut after each byte count of either direction.
  for (const direction of ['toClient', 'toTarget'] as const) {
    test(`a connection cut at every point, ${direction}`, async (t) => {
      const pgTable = `cut_${direction.toLowerCase()}`;
      const logId = `cut-${direction}`;
      const warm = open(t, config(dsn, { pgTable, pgGin: 'off' }), logId);
      await warm.cursors();
      const lane = new TestLane(events(2000));
      await deliver(warm, lane, { batch: 5, from: 0, withinMs: 20_000 });
      const begin = proxy.passed[direction];
      const more = new TestLane(events(4000));
      await warm.write(more.batch(2000, 2005), Promise.resolve());
      const length = proxy.passed[direction] - begin;
      assert.ok(length > 50, `length=${length}`);
      let done = 2005;
      const before = proxy.cuts;
      const step = Math.max(1, Math.floor(length / 60));
      for (let cut = 1; cut <= length; cut += step) {
        void proxy.cutAfter(direction, cut);
        await deliver(warm, more, { batch: 5, from: done, to: done + 5 });
        done += 5;
        await proxy.heal();
      }
      assert.equal(proxy.cuts - before, Math.ceil(length / step), 'each conversation was cut');
      await assertStored(server.dsn, more.events.slice(0, done), pgTable);
    });
  }

  // Goal: the answer to COMMIT is lost, the batch is not stored twice, and the sink knows that it is stored.
  test('a COMMIT whose answer was lost is found out', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'doubt' }), 'doubt');
    await target.cursors();
    const lane = new TestLane(events(300));
    await target.write(lane.batch(0, 100), Promise.resolve());
    const begin = proxy.passed.toClient;
    await target.write(lane.batch(100, 200), Promise.resolve());
    void proxy.cutAfter('toClient', proxy.passed.toClient - begin - 3);
    const batch = lane.batch(200, 300);
    await assert.rejects(target.write(batch, Promise.resolve()), (error) => postgresSink.classify(error) === 'retry');
    await assertStored(server.dsn, lane.events, 'doubt');
    await target.write(batch, Promise.resolve());
    await assertStored(server.dsn, lane.events, 'doubt');
    assert.deepEqual((await target.cursors()).get('1-0'), lane.mark(300));
  });

  test('a server that is silent, and one whose network is frozen, are given up in time', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'silent', pgStatementTimeoutMs: 200 }));
    await target.cursors();
    const lane = new TestLane(events(300));
    await deliver(target, new TestLane(events(100)));
    for (const [index, fault] of [() => proxy.silence(), () => proxy.freeze()].entries()) {
      fault();
      const begin = performance.now();
      const error = await target
        .write(lane.batch(100 + 100 * index, 200 + 100 * index), Promise.resolve())
        .catch((reason: unknown) => reason);
      assert.equal(postgresSink.classify(error), 'retry');
      assert.ok(performance.now() - begin < 3000, 'the deadline is 400 ms');
      proxy.cutNow();
      await proxy.heal();
      await deliver(target, new TestLane(events(200 + 100 * index)), { from: 100 + 100 * index });
    }
    await assertStored(server.dsn, lane.events, 'silent');
  });

  // Goal: a transaction whose client has vanished behind a dead network does not hold its rows for as long as TCP
  // waits.
  // Method: freeze the network while a batch waits, its rows inserted, for the one before; store the same rows past it.
  test('rows of a transaction whose client has vanished come free', async (t) => {
    const gone = open(t, config(dsn, { pgTable: 'zombie', pgStatementTimeoutMs: 300 }));
    await gone.cursors();
    const lane = new TestLane(events(100));
    gone.write(lane.batch(0, 100), new Promise(() => {})).catch(() => {});
    const waiting =
      "SELECT FROM pg_stat_activity WHERE application_name = 'ringmain' AND state = 'idle in transaction'";
    await expect
      .poll(async () => (await sql(server.dsn, waiting)).length, { message: 'the batch waits' })
      .toBeGreaterThan(0);
    proxy.freeze();
    const target = open(t, config(server.dsn, { pgTable: 'zombie', pgStatementTimeoutMs: 300 }));
    await deliver(target, lane, { withinMs: 5000 });
    await assertStored(server.dsn, lane.events, 'zombie');
    proxy.cutNow();
    await proxy.heal();
  });

  test('a server out of connections is waited for', async (t) => {
    await server.restart({ max_connections: 5, superuser_reserved_connections: 0, max_wal_senders: 0 });
    const hogs = await Promise.all(Array.from({ length: 5 }, () => session(t, server.dsn)));
    const target = open(t, config(server.dsn, { pgTable: 'crowded' }));
    const delivered = deliver(target, new TestLane(events(100)), { batch: 20 });
    await sleep(150);
    await hogs.pop()!.end();
    const { verdicts } = await delivered; // with one connection left over for us, and two wanted
    assert.match(verdicts[0]!, /^retry: .*too many/);
    await Promise.all(hogs.map((hog) => hog.end()));
    await server.restart({ max_connections: 100 });
    await assertStored(server.dsn, events(100), 'crowded');
  });

  // Goal: a failover that lost commits loses no event: rows and cursor went back together, and the sink goes back with
  // them.
  // Method: two hosts; the second one is the server with the data folder as it was three batches earlier.
  for (const traffic of [true, false]) {
    test(`a failover to the second host with lost commits, ${traffic ? 'under load' : 'while idle'}`, async (t) => {
      const pgTable = `failover_${traffic ? 'busy' : 'idle'}`;
      const second = await faultProxy(t, { target: { port: PORT } });
      await second.refuse();
      const target = open(t, config(through(server.dsn, proxy, second), { pgTable }), pgTable);
      await target.cursors();
      const lane = new TestLane(events(900));
      await deliver(target, new TestLane(events(300)));
      await server.stop();
      const older = `${server.dataFolder}-older`;
      cpSync(server.dataFolder, older, { recursive: true, preserveTimestamps: true });
      chmodSync(older, 0o700);
      chownAll(older);
      await server.restart();
      await deliver(target, new TestLane(events(600)), { from: 300 });
      await proxy.refuse();
      await server.stop();
      rmSync(server.dataFolder, { recursive: true });
      renameSync(older, server.dataFolder);
      await server.restart();
      await assertStored(server.dsn, events(300), pgTable);
      await second.heal();
      if (traffic) {
        const { verdicts } = await deliver(target, lane, { from: 600 });
        assert.ok(
          verdicts.some((verdict) => verdict.includes('1-0@')),
          verdicts.join('\n'),
        );
      } else {
        assert.ok(target.losses.length > 0, 'the runner is told that the connection ended');
        await target.probe!();
        assert.equal(target.moves.length, 1, 'the idle sink has found out');
        assert.deepEqual([...target.moves[0]!.cursors], [['1-0', lane.mark(300)]]);
        await deliver(target, lane, { from: 300 });
      }
      await assertStored(server.dsn, lane.events, pgTable);
      await proxy.heal();
    });
  }
});

describe('Postgres says no', () => {
  const scope = fileScope();
  let dsn: string;
  beforeAll(async () => {
    dsn = (await startPostgres(scope, { port: PORT, own: true, settings: { deadlock_timeout: '200ms' } })).dsn;
  });

  test('a read-only server is waited for; the next host that is not is taken', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'readonly' }));
    await target.cursors();
    await target.write(new TestLane(events(100)).batch(0, 100), Promise.resolve());
    await sql(dsn, 'ALTER SYSTEM SET default_transaction_read_only = on');
    await sql(dsn, 'SELECT pg_reload_conf()');
    await expect
      .poll(
        async () =>
          (await sql<{ transaction_read_only: string }>(dsn, 'SHOW transaction_read_only'))[0]!.transaction_read_only,
        { message: 'the setting holds' },
      )
      .toBe('on');
    const lane = new TestLane(events(200));
    const delivered = deliver(target, lane, { from: 100 });
    await sleep(200);
    const client = await session(t, dsn);
    await client.query('SET default_transaction_read_only = off');
    await client.query('ALTER SYSTEM RESET default_transaction_read_only');
    await client.query('SELECT pg_reload_conf()');
    const { verdicts } = await delivered;
    assert.match(verdicts[0]!, /^retry: .*read-only/);
    await assertStored(dsn, lane.events, 'readonly');
  });

  test('a missing table stops the sink until it is there; without events lost', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'absent', pgCreateTable: false }));
    const lane = new TestLane(events(100));
    await assert.rejects(target.cursors(), (error) => {
      assert.match((error as Error).message, /table "absent" must exist when PG_CREATE_TABLE=false/);
      return postgresSink.classify(error) === 'stop';
    });
    await sql(
      dsn,
      'CREATE TABLE absent (event_id uuid PRIMARY KEY, id bigserial, ts timestamptz NOT NULL, payload jsonb NOT NULL)',
    );
    await deliver(target, lane);
    await assertStored(dsn, lane.events, 'absent');
    await sql(dsn, 'ALTER TABLE absent RENAME TO elsewhere');
    const error = await target
      .write(new TestLane(events(200)).batch(100, 200), Promise.resolve())
      .catch((reason: unknown) => reason);
    assert.equal(postgresSink.classify(error), 'stop');
    await sql(dsn, 'ALTER TABLE elsewhere RENAME TO absent');
    await deliver(target, new TestLane(events(200)), { from: 100 });
    await assertStored(dsn, events(200), 'absent');
  });

  const misfits: [what: string, ddl: string, message: RegExp][] = [
    [
      'payload is text',
      'event_id uuid UNIQUE, ts timestamptz, payload text',
      /payload must be jsonb or json: found=text/,
    ],
    ['event_id is text', 'event_id text UNIQUE, ts timestamptz, payload jsonb', /event_id must be uuid: found=text/],
    ['ts is missing', 'event_id uuid UNIQUE, payload jsonb', /ts must be timestamp with time zone: found=none/],
    [
      'a column that nobody fills',
      'event_id uuid UNIQUE, ts timestamptz, payload jsonb, site int NOT NULL',
      /column site must have a default or allow NULL/,
    ],
    ['no unique index', 'event_id uuid, ts timestamptz, payload jsonb', /event_id must have a unique index/],
  ];
  test('a table with other columns is refused in one message, and nothing is dead-lettered', async (t) => {
    for (const [what, ddl, message] of misfits) {
      await sql(dsn, `DROP TABLE IF EXISTS misfit; CREATE TABLE misfit (${ddl})`);
      const target = open(t, config(dsn, { pgTable: 'misfit' }));
      await assert.rejects(target.cursors(), (error) => {
        assert.match((error as Error).message, message, what);
        return postgresSink.classify(error) === 'stop';
      });
    }
  });

  test('a table with more columns, and one partitioned by ts, are taken as they are', async (t) => {
    await sql(
      dsn,
      `CREATE TABLE wide (site int DEFAULT 7, id bigserial, payload json, extra text, ts timestamptz,
           event_id uuid UNIQUE);
       CREATE TABLE parts (id bigserial, event_id uuid, ts timestamptz, payload jsonb, UNIQUE (event_id, ts))
           PARTITION BY RANGE (ts);
       CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')`,
    );
    for (const pgTable of ['wide', 'parts']) {
      const target = open(t, config(dsn, { pgTable }));
      const lane = new TestLane([...events(100), ...events(50)]);
      await deliver(target, lane, { batch: 60 });
      await assertStored(dsn, lane.events, pgTable);
    }
  });

  test('a table of another schema and with odd characters is made and filled', async (t) => {
    await sql(dsn, 'CREATE SCHEMA "Odd; DROP"');
    const pgTable = '"Odd; DROP"."a""b.c"';
    const target = open(t, config(dsn, { pgTable }));
    await deliver(target, new TestLane(events(10)));
    await assertStored(dsn, events(10), pgTable);
    assert.equal((await sql(dsn, 'SELECT FROM "Odd; DROP".ringmain_cursors')).length, 1);
  });

  test('permission denied stops the sink until it is granted', async (t) => {
    await sql(
      dsn,
      "CREATE ROLE writer LOGIN PASSWORD 'w'; GRANT CREATE ON SCHEMA public TO writer; " +
        'GRANT SELECT, INSERT, UPDATE, DELETE ON ringmain_cursors TO writer',
    );
    const own = dsn.replace('postgres:ringmain', 'writer:w');
    const target = open(t, config(own, { pgTable: 'denied' }));
    await deliver(target, new TestLane(events(10)));
    await sql(
      dsn,
      'REVOKE INSERT ON denied FROM writer; ALTER TABLE denied OWNER TO postgres; GRANT SELECT ON denied TO writer',
    );
    const lane = new TestLane(events(20));
    await assert.rejects(target.write(lane.batch(10, 20), Promise.resolve()), (error) => {
      assert.match((error as Error).message, /permission denied/);
      return postgresSink.classify(error) === 'stop';
    });
    await sql(dsn, 'GRANT INSERT ON denied TO writer; GRANT USAGE ON SEQUENCE denied_id_seq TO writer');
    await deliver(target, lane, { from: 10 });
    await assertStored(dsn, lane.events, 'denied');
    await sql(dsn, "ALTER ROLE writer PASSWORD 'other'");
    const late = open(t, config(own, { pgTable: 'denied' }));
    await assert.rejects(late.cursors(), (error) => postgresSink.classify(error) === 'stop');
  });

  test('a statement time-out takes nothing away and is tried again', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'locked', pgStatementTimeoutMs: 300 }));
    await target.cursors();
    const other = await session(t, dsn);
    await other.query('BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE');
    const lane = new TestLane(events(200));
    const delivered = deliver(target, lane);
    await sleep(700);
    await other.query('ROLLBACK');
    const { verdicts } = await delivered;
    assert.match(verdicts[0]!, /^retry: .*statement timeout/);
    await assertStored(dsn, lane.events, 'locked');
  });

  test('a deadlock with somebody else is tried again', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'deadlock', pgConnections: 1 }));
    await target.cursors();
    const list = events(100);
    const insert = 'INSERT INTO deadlock (event_id, payload) VALUES ($1, $2)';
    const other = await session(t, dsn);
    await other.query("SET deadlock_timeout = '1min'"); // so that the server looks for the circle from our side
    await other.query('BEGIN');
    await other.query(insert, [list[50]!.id, list[50]!.line]);
    const delivered = deliver(target, new TestLane(list));
    await expect
      .poll(async () => (await sql(dsn, 'SELECT FROM pg_locks WHERE NOT granted')).length, {
        message: 'the sink waits for the other',
      })
      .toBeGreaterThan(0);
    await other.query(insert, [list[10]!.id, list[10]!.line]);
    await other.query('COMMIT');
    const { verdicts } = await delivered;
    assert.match(verdicts[0]!, /^retry: 127\.0\.0\.1:\d+: deadlock detected/);
    await assertStored(dsn, list, 'deadlock');
  });

  test('a full disk is waited out', async (t) => {
    const disk = mkdtempSync(join(tmpdir(), 'ringmain-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=777', 'tmpfs', disk]);
    t.onTestFinished(async () => {
      await sql(dsn, 'DROP TABLE IF EXISTS small; DROP TABLESPACE IF EXISTS tiny').catch(() => {});
      execFileSync('umount', ['-l', disk]);
      rmSync(disk, { recursive: true });
    });
    chownSync(disk, 65534, 65534);
    const client = await session(t, dsn);
    await client.query(`CREATE TABLESPACE tiny LOCATION '${disk}'`);
    await client.query(
      'CREATE TABLE small (id bigserial, event_id uuid UNIQUE, ts timestamptz, payload jsonb) TABLESPACE tiny',
    );
    const { bsize, bavail } = statfsSync(disk);
    const ballast = join(disk, 'ballast');
    writeFileSync(ballast, Buffer.alloc(bsize * bavail - 512 * 1024));
    const target = open(t, config(dsn, { pgTable: 'small' }));
    const lane = new TestLane(events(5000));
    const delivered = deliver(target, lane, { batch: 1000 });
    await sleep(500);
    rmSync(ballast);
    const { verdicts } = await delivered;
    assert.match(verdicts[0]!, /^retry: 127\.0\.0\.1:\d+: could not extend file/);
    await assertStored(dsn, lane.events, 'small');
  });
});

function chownAll(folder: string): void {
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', '65534:65534', folder]);
}
