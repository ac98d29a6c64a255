/** The Postgres sink in the real collector: through HTTP, lanes, journal and runner into a real server. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { summarize } from '../../../src/delivery/dead-letter-replay.ts';
import type { Readiness } from '../../../src/service/schemas.ts';
import { Collector } from '../../servers/collector.ts';
import { type FaultProxy, faultProxy } from '../../servers/fault-proxy.ts';
import { type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { sql } from './fixture.ts';

const PORT = 21520;
/** A port for each collector: a client's idle connections must not outlive the process they belong to. */
const HTTP = 21530;

function numbered(from: number, count: number, props: object = {}): object[] {
  return Array.from({ length: count }, (_, at) => ({ e: 'view', props: { n: from + at, ...props } }));
}

/** Numbers in the table, and whether each stands there once. */
async function stored(dsn: string, table = 'events_json'): Promise<{ numbers: Set<number>; rows: number }> {
  const rows = await sql<{ n: number }>(dsn, `SELECT (payload->'props'->>'n')::int AS n FROM ${table}`).catch(() => []);
  return { numbers: new Set(rows.map(({ n }) => n)), rows: rows.length };
}

describe('Postgres in the collector', () => {
  const file = fileScope();
  let server: PostgresServer;
  let dsn: string;
  let proxy: FaultProxy;
  beforeAll(async () => {
    server = await startPostgres(file, { port: PORT, own: true });
    dsn = server.dsn;
    proxy = await faultProxy(file, { target: { port: PORT } });
  });

  // Goal: each acknowledged event is in the table exactly once, whatever dies, and nothing that was not sent.
  // Method: SIGKILL of the collector and of the server at random moments under load; ids and counts at the end.
  test('acknowledged events survive SIGKILL of collector and server, each once', async (t) => {
    const rounds = process.env['LONG'] === undefined ? 4 : 60;
    const collector = new Collector(t, {
      port: HTTP + 1,
      env: {
        OUTPUTS: 'postgres',
        PG_DSN: dsn,
        PG_TABLE: 'oracle',
        PG_GIN: 'off',
        PG_BATCH_SIZE: '200',
        PG_FLUSH_MS: '20',
      },
    });
    const acked = new Set<number>();
    let sent = 0;
    for (let round = 0; round < rounds; round += 1) {
      await collector.start();
      const end = Date.now() + 300 + Math.random() * 500;
      let killed: Promise<void> | undefined;
      while (Date.now() < end) {
        const from = sent;
        sent += 40;
        if (await collector.send(numbered(from, 40))) for (let n = from; n < from + 40; n += 1) acked.add(n);
        await sleep(4);
        if (round % 2 === 1 && killed === undefined && Math.random() < 0.05) {
          killed = server.kill9().then(() => vi.waitFor(() => server.restart(), { timeout: 60_000, interval: 20 }));
        }
      }
      await collector.kill();
      await killed;
    }
    await collector.start();
    await expect
      .poll(
        async () =>
          (await collector.metric('queue_depth', 'postgres')) === 0 &&
          (await collector.metric('ringmain_sink_up', 'postgres')) === 1,
        { message: 'everything is delivered' },
      )
      .toBe(true);
    assert.equal(await collector.metric('ringmain_sink_ledger_mismatch', 'postgres'), 0);
    const { numbers, rows } = await stored(dsn, 'oracle');
    t.annotate(`sent=${sent}, acknowledged=${acked.size}, rows=${rows}`);
    assert.ok(acked.size > 200);
    assert.equal(rows, numbers.size, 'a number stands twice');
    assert.deepEqual(
      [...acked].filter((n) => !numbers.has(n)),
      [],
      'acknowledged and missing',
    );
    assert.deepEqual(
      [...numbers].filter((n) => n >= sent),
      [],
      'invented',
    );
    assert.equal(await collector.kill('SIGTERM'), 0);
  });

  test('an outage does not slow intake, turns readyz red and drains by itself', async (t) => {
    const env = {
      OUTPUTS: 'log,postgres',
      PG_DSN: dsn.replace(/@[^/]+/, `@${proxy.address}`),
      PG_TABLE: 'outage',
      PG_GIN: 'off',
      PG_FLUSH_MS: '20',
    };
    const collector = new Collector(t, { port: HTTP + 2, env });
    await collector.start();
    await expect.poll(async () => (await collector.ready()).status, { message: 'the sink is up' }).toBe(200);
    const rates: number[] = [];
    let sent = 0;
    const during = async (ms: number) => {
      const begin = performance.now();
      const before = sent;
      while (performance.now() - begin < ms) {
        await collector.deliver(numbered(sent, 100));
        sent += 100;
        await sleep(4);
      }
      rates.push((sent - before) / ((performance.now() - begin) / 1000));
    };
    await during(600);
    await proxy.refuse();
    await during(600);
    await expect
      .poll(() => collector.ready(), { message: 'readyz is red' })
      .toMatchObject({ status: 503, text: expect.stringContaining('postgres') as string });
    assert.equal((await collector.ready('?sinks=ignore')).status, 200);
    await expect.poll(() => collector.metric('queue_depth', 'log'), { message: 'the log sink has everything' }).toBe(0);
    assert.ok((await collector.metric('queue_depth', 'postgres')) > 0);
    await proxy.heal();
    await during(600);
    await expect
      .poll(() => collector.metric('queue_depth', 'postgres'), { message: 'everything is delivered' })
      .toBe(0);
    assert.equal((await collector.ready()).status, 200);
    // Without traffic it is told as well: nobody should learn of it from the first event of the morning.
    const connects = await collector.metric('sink_failures_total{sink="postgres",class="connect"}');
    await proxy.refuse();
    await expect.poll(async () => (await collector.ready()).status, { message: 'readyz is red while idle' }).toBe(503);
    const { sinks, parts } = JSON.parse((await collector.ready()).text) as Readiness;
    const reason = `connect ECONNREFUSED ${proxy.address}`;
    assert.deepEqual(sinks, [{ part: 'postgres', reason }]);
    assert.deepEqual(
      parts.filter(({ kind }) => kind === 'sink'),
      [
        { part: 'log', kind: 'sink', state: 'up' },
        { part: 'postgres', kind: 'sink', state: 'down', reason },
      ],
    );
    await expect
      .poll(() => collector.metric('sink_failures_total{sink="postgres",class="connect"}'), {
        message: 'connects that fail are counted',
      })
      .toBeGreaterThan(connects + 1);
    await proxy.heal();
    await expect.poll(async () => (await collector.ready()).status, { message: 'readyz is green again' }).toBe(200);
    assert.match(collector.log, new RegExp(`"reason":"[^"]*${proxy.address}[^"]*","msg":"postgres accepts no events`));
    t.annotate(`events/s before, during, after: ${rates.map(Math.round).join(', ')}`);
    assert.ok(rates[1]! > rates[0]! / 4, 'intake must not wait for the sink');
    const { numbers, rows } = await stored(dsn, 'outage');
    assert.deepEqual([rows, numbers.size], [sent, sent]);
  });

  test('what Postgres refuses is a dead letter; the rest arrives; replay finds it', async (t) => {
    const env = { OUTPUTS: 'postgres', PG_DSN: dsn, PG_TABLE: 'dead', PG_FLUSH_MS: '20' };
    const collector = new Collector(t, { port: HTTP + 3, env });
    await sql(
      dsn,
      `CREATE TABLE dead (id bigserial, event_id uuid UNIQUE, ts timestamptz, payload jsonb,
         CONSTRAINT small CHECK ((payload->'props'->>'n')::int <> ALL ('{5,6,70}')))`,
    );
    await collector.start();
    await collector.deliver(numbered(0, 100));
    await expect
      .poll(() => collector.metric('ringmain_sink_dead_letters_total', 'postgres'), { message: 'everything is passed' })
      .toBe(3);
    await expect.poll(() => collector.metric('ringmain_sink_delivered_total', 'postgres')).toBe(97);
    const [summary] = summarize(join(collector.folder, 'data', 'dead-letters'), 'postgres');
    assert.equal(summary!.pending, 3);
    assert.match(summary!.reasons[0]![0], /violates check constraint "small"/);
    const main = join(import.meta.dirname, '..', '..', '..', 'dist', 'main.js');
    const command = (...words: string[]) =>
      execFileSync(process.execPath, [main, 'deadletter', ...words], {
        cwd: collector.folder,
        env: { ...env, PATH: process.env['PATH'] },
        encoding: 'utf8',
      });
    assert.match(command('ls'), /3 letters, 3 pending/);
    // Killed between the commit and the next checkpoint: the ledger still tells both apart.
    await collector.deliver([...numbered(5, 2), ...numbered(100, 10)]);
    await expect.poll(async () => (await stored(dsn, 'dead')).rows, { interval: 10 }).toBe(107);
    await collector.kill();
    await collector.start();
    await expect
      .poll(() => collector.metric('ringmain_sink_dead_letters_total', 'postgres'), { message: 'dead, not delivered' })
      .toBe(5);
    await expect.poll(() => collector.metric('ringmain_sink_delivered_total', 'postgres')).toBe(107);
    await sql(dsn, 'ALTER TABLE dead DROP CONSTRAINT small');
    assert.equal(command('replay', 'postgres'), '5 delivered, 0 rejected again\n');
    assert.match(command('ls', 'postgres'), /5 letters, 0 pending/);
    await collector.deliver(numbered(1000, 10));
    await expect.poll(async () => (await stored(dsn, 'dead')).rows, { message: 'everything is delivered' }).toBe(122);
    await expect.poll(() => collector.metric('ringmain_sink_up', 'postgres')).toBe(1);
  });

  for (const restarted of [false, true]) {
    test(`a failover with lost commits is followed back${restarted ? ' into an earlier life' : ''}`, async (t) => {
      const pgTable = restarted ? 'failover_lives' : 'failover';
      const second = await faultProxy(t, { target: { port: PORT } });
      await second.refuse();
      const hosts = dsn.replace(/@[^/]+/, `@${proxy.address},${second.address}`);
      const collector = new Collector(t, {
        port: HTTP + 4,
        env: { OUTPUTS: 'postgres', PG_DSN: hosts, PG_TABLE: pgTable, PG_FLUSH_MS: '20' },
      });
      await collector.start();
      await collector.deliver(numbered(0, 500));
      await expect
        .poll(async () => (await stored(dsn, pgTable)).rows, { message: 'the first part is stored' })
        .toBe(500);
      await server.stop();
      const older = `${server.dataFolder}-older`;
      cpSync(server.dataFolder, older, { recursive: true, preserveTimestamps: true });
      chmodSync(older, 0o700);
      if (process.getuid?.() === 0) execFileSync('chown', ['-R', '65534:65534', older]);
      await server.restart();
      await collector.deliver(numbered(500, 200));
      if (restarted) {
        assert.equal(await collector.kill('SIGTERM'), 0);
        await collector.start();
      }
      await collector.deliver(numbered(700, 300));
      await expect
        .poll(async () => (await stored(dsn, pgTable)).rows, { message: 'the second part is stored' })
        .toBe(1000);
      await proxy.refuse();
      await server.stop();
      rmSync(server.dataFolder, { recursive: true });
      renameSync(older, server.dataFolder);
      await server.restart();
      assert.equal((await stored(dsn, pgTable)).rows, 500);
      await second.heal();
      // Nothing is sent: the idle sink finds out by itself.
      await expect
        .poll(async () => (await stored(dsn, pgTable)).rows, { message: 'what the failover lost is stored again' })
        .toBe(1000);
      await collector.deliver(numbered(1000, 100));
      await expect
        .poll(async () => (await stored(dsn, pgTable)).numbers.size, { message: 'new events arrive' })
        .toBe(1100);
      assert.equal(await collector.metric('ringmain_sink_ledger_mismatch', 'postgres'), 0);
      await expect
        .poll(() => collector.metric('ringmain_sink_delivered_total', 'postgres'), {
          message: 'the ledger has counted each event once',
        })
        .toBe(1100);
      assert.equal(await collector.metric('ringmain_sink_accepted_total', 'postgres'), 1100);
      assert.equal(await collector.metric('ringmain_sink_given_up_total', 'postgres'), 0);
      assert.equal((await stored(dsn, pgTable)).rows, 1100);
      await proxy.heal();
    });
  }

  test('a restored backup that is older than the journal is alarmed, and what is gone is counted', async (t) => {
    const env = {
      OUTPUTS: 'postgres',
      PG_DSN: dsn,
      PG_TABLE: 'restored',
      PG_GIN: 'off',
      PG_FLUSH_MS: '20',
      JOURNAL_RETAIN_MS: '0',
      SEGMENT_BYTES: '1MiB',
      RING_BYTES: '2MiB',
      MAX_BODY_BYTES: '128KiB',
    };
    const collector = new Collector(t, { port: HTTP + 5, env });
    await collector.start();
    for (let from = 0; from < 4000; from += 20) await collector.deliver(numbered(from, 20, { text: 'x'.repeat(2000) }));
    await expect.poll(async () => (await stored(dsn, 'restored')).rows, { message: 'everything is stored' }).toBe(4000);
    const lanes = join(collector.folder, 'data', 'journal', 'lanes');
    await expect.poll(() => bytesOf(lanes), { message: 'old segments are gone' }).toBeLessThan(6_000_000);
    await collector.kill('SIGTERM');
    await sql(
      dsn,
      `TRUNCATE restored; UPDATE ringmain_cursors SET position = 0, record = 0
         WHERE log_id = (SELECT log_id FROM ringmain_cursors ORDER BY updated_at DESC LIMIT 1)`,
    );
    await collector.start();
    await expect
      .poll(
        async () =>
          (await collector.metric('queue_depth', 'postgres')) === 0 &&
          (await collector.metric('ringmain_sink_given_up_total', 'postgres')) > 0,
        { message: 'everything there is has been delivered' },
      )
      .toBe(true);
    const { rows } = await stored(dsn, 'restored');
    const given = await collector.metric('ringmain_sink_given_up_total', 'postgres');
    t.annotate(`rows=${rows}, given up=${given}`);
    assert.equal(rows + given, 4000, 'delivered and given up are all there were');
    assert.equal(await collector.metric('ringmain_sink_ledger_mismatch', 'postgres'), 0);
    assert.match(collector.log, /given up/);
  });

  test('a second collector on a copied journal fences the first, whose events wait in its journal', async (t) => {
    const env = { OUTPUTS: 'postgres', PG_DSN: dsn, PG_TABLE: 'copied', PG_FLUSH_MS: '20' };
    const first = new Collector(t, { port: HTTP + 6, env });
    await first.start();
    await first.deliver(numbered(0, 100));
    await expect
      .poll(async () => (await stored(dsn, 'copied')).rows, { message: 'the first part is stored' })
      .toBe(100);
    const second = new Collector(t, { port: HTTP + 7, env });
    cpSync(first.folder, second.folder, { recursive: true });
    await second.start();
    await expect.poll(() => second.metric('ringmain_sink_up', 'postgres'), { message: 'the second one is up' }).toBe(1);
    await first.deliver(numbered(100, 100));
    await expect
      .poll(async () => (await first.ready()).text.includes('another process has claimed'), {
        message: 'the first one is fenced',
      })
      .toBe(true);
    assert.equal((await first.ready()).status, 503);
    await second.deliver(numbered(200, 100));
    await expect
      .poll(async () => (await stored(dsn, 'copied')).numbers.has(299), { message: 'the second one delivers' })
      .toBe(true);
    await sleep(200);
    const { numbers, rows } = await stored(dsn, 'copied');
    assert.deepEqual([rows, numbers.size, numbers.has(100)], [200, 200, false]);
    await expect.poll(() => first.metric('queue_depth', 'postgres')).toBe(100);

    // Started again, the first one has a life of the same number as the second one's, and not the same life. It has the
    // cursors now, all that waited in its journal arrives, and the second one's events wait.
    await first.kill('SIGTERM');
    await first.start();
    await first.deliver(numbered(300, 50));
    await expect
      .poll(async () => (await stored(dsn, 'copied')).rows, { message: 'what its journal held arrives' })
      .toBe(350);
    await expect.poll(() => first.metric('queue_depth', 'postgres')).toBe(0);
    await second.deliver(numbered(400, 10));
    await expect
      .poll(async () => (await second.ready()).text.includes('copy of this journal'), { message: 'it is fenced' })
      .toBe(true);
    await sleep(200);
    const end = await stored(dsn, 'copied');
    assert.deepEqual([end.rows, end.numbers.size, end.numbers.has(400)], [350, 350, false]);
    await expect.poll(() => second.metric('queue_depth', 'postgres')).toBe(10);
    assert.equal((await first.ready()).status, 200);
    assert.equal(await first.kill('SIGTERM'), 0);
  });
});

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => {
      try {
        return sum + statSync(join(entry.parentPath, entry.name)).size;
      } catch {
        return sum; // recycled meanwhile
      }
    }, 0);
}
