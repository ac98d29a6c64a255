/** Exactly once with a load of the caller's, several outputs beside each other, and cursors of an older version. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { CursorMoved, type SinkBatch, type SinkContext } from '../../../src/delivery/contract.ts';
import { DeadLetterFile } from '../../../src/delivery/dead-letter.ts';
import { ReplayEnded, replay, summarize } from '../../../src/delivery/dead-letter-replay.ts';
import type { LaneId } from '../../../src/engine/segment.ts';
import { createLog } from '../../../src/kernel/log.ts';
import { Cursors, StrandTaken } from '../../../src/sinks/postgres/cursor.ts';
import type { Load } from '../../../src/sinks/postgres/load.ts';
import { PostgresTarget, postgresSink } from '../../../src/sinks/postgres/sink.ts';
import { connect, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { parseDsn } from '../../../src/store/postgres/dsn.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { assertStored, config, deliver, events, sql, TestLane } from './fixture.ts';

const PORT = 21560;
let dsn = '';
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  ({ dsn } = await startPostgres({ onTestFinished: (fn) => undo.push(fn) }, { port: PORT, settings: fastSettings }));
});
afterAll(async () => {
  for (const fn of undo.reverse()) await fn();
});

interface Opened {
  readonly name?: string;
  readonly logId?: string;
  readonly table: string;
  readonly sessions?: number;
  readonly load?: () => Load;
}

const context = (name: string, logId: string): SinkContext => ({
  name,
  logId,
  journal: true,
  state: undefined,
  log: createLog({ level: 'silent', destination: 2, name: 'test' }),
  signal: new AbortController().signal,
  ended: () => false,
});

function open({ name = 'postgres', logId = randomUUID(), table, sessions = 2, load }: Opened) {
  const target = new PostgresTarget(
    config(dsn, { pgTable: table, pgConnections: sessions, pgGin: 'off' }),
    context(name, logId),
    load,
  );
  onTestFinished(() => target.close());
  return Object.assign(target, { classify: (error: unknown) => postgresSink.classify(error) });
}

/** Adds the batch to one row: a load that cannot be repeated without being seen. */
const rollup = (table: string): (() => Load) => {
  return () => ({
    async load(transaction, batch) {
      await transaction.query(`UPDATE ${table} SET records = records + $1`, [batch.count]);
    },
  });
};

async function link(): Promise<PostgresLink> {
  const opened = await connect(parseDsn(dsn), {
    connectTimeoutMs: 2000,
    queryTimeoutMs: 5000,
    applicationName: 'test',
  });
  onTestFinished(() => opened.close());
  return opened;
}

// Goal: what a load adds is added once per record, although commits are cut off and batches come again.
// Method: sessions are ended by the server while the lane is delivered; the sum of one row must be the number of
// records.
test('a rollup that cannot be repeated is exact although sessions die in the middle of commits', async () => {
  await sql(dsn, 'CREATE TABLE sums (records bigint NOT NULL); INSERT INTO sums VALUES (0)');
  const target = open({ table: 'rollup_events', load: rollup('sums') });
  const lane = new TestLane(events(3000));
  let killed = 0;
  let batches = 0;
  const kills: Promise<void>[] = [];
  const before = async (): Promise<void> => {
    batches += 1;
    if (batches % 3 !== 0) return;
    // Not awaited by the batch: the session dies somewhere in the next transaction.
    kills.push(
      sql<{ n: number }>(
        dsn,
        `SELECT count(pg_terminate_backend(pid))::int AS n FROM pg_stat_activity
        WHERE application_name = 'ringmain' AND pid <> pg_backend_pid()`,
      ).then(([row]) => {
        killed += row!.n;
      }),
    );
  };
  await deliver(target, lane, { batch: 20, before, withinMs: 50_000 });
  await Promise.all(kills);
  expect(killed).toBeGreaterThan(10);
  expect(await sql(dsn, 'SELECT records FROM sums')).toEqual([{ records: '3000' }]);
  // The last kill may meet the session that is asked.
  const cursor = async () => (await target.cursors().catch(() => undefined))?.get('1-0');
  await expect.poll(cursor).toEqual(lane.mark(3000));
});

// Goal: a replay of dead letters loads each letter once, with a load that cannot be repeated.
// Method: the replay dies behind each of its commits in turn, before it has noted the commit; one letter is refused
// again, so that the letters go in halves.
test('a replay that dies behind its commits loads each letter once', async () => {
  await sql(dsn, 'CREATE TABLE replays (records bigint NOT NULL); INSERT INTO replays VALUES (0)');
  const directory = mkdtempSync(join(tmpdir(), 'ringmain-replay-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const letters = new DeadLetterFile({ directory, sink: 'postgres', logId: 'a' });
  const list = events(9);
  letters.append(list.map(({ line }, i) => ({ lane: '1-0', position: 8 * i, reason: 'no', event: Buffer.from(line) })));
  letters.close();
  const load = (): Load => ({
    async load(transaction, batch) {
      await transaction.query('UPDATE replays SET records = records + $1', [batch.count]);
      if (batch.buffer.includes(list[4]!.line)) throw new Error('refused');
    },
    classify: (error) => ((error as Error).message === 'refused' ? 'split' : undefined),
  });
  const classify = (error: unknown) =>
    (error as Error).message === 'killed' ? ('stop' as const) : postgresSink.classify(error);
  let deaths = 0;
  for (let done = false; !done; ) {
    const kill = async (source: string) => {
      const target = open({ logId: source, table: 'replay_events', sessions: 1, load });
      return {
        cursors: () => target.cursors(),
        close: () => target.close(),
        write: async (batch: SinkBatch, previous: Promise<void>) => {
          await target.write(batch, previous);
          deaths += 1;
          throw new Error('killed');
        },
      };
    };
    done = await replay({ directory, sink: 'postgres', open: kill, classify }).then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof ReplayEnded && error.message === 'killed')) throw error;
        return false;
      },
    );
  }
  expect(deaths).toBeGreaterThan(2);
  expect(await sql(dsn, 'SELECT records FROM replays')).toEqual([{ records: '8' }]);
  expect(summarize(directory).map(({ letters: all, pending }) => [all, pending])).toEqual([[9, 1]]);
});

// Goal: two batches whose loads change the same row do not wait for each other for ever.
// Method: the second batch changes the row first and may commit only after the first.
test('a batch whose load holds the row that the batch before needs gives way', async () => {
  await sql(dsn, 'CREATE TABLE way (records bigint NOT NULL); INSERT INTO way VALUES (0)');
  const loaded = Promise.withResolvers<void>();
  const load = (): Load => ({
    async load(transaction, batch) {
      if (batch.from.record === 0) await loaded.promise;
      await transaction.query('UPDATE way SET records = records + $1', [batch.count]);
      if (batch.from.record === 10) loaded.resolve();
    },
  });
  const target = open({ table: 'way_events', load });
  await target.cursors();
  const lane = new TestLane(events(20));
  const first = target.write(lane.batch(0, 10), Promise.resolve());
  await Promise.all([first, target.write(lane.batch(10, 20), first)]);
  expect(await sql(dsn, 'SELECT records FROM way')).toEqual([{ records: '20' }]);
});

test('a load says which errors are about the data; the refused record is found, the others are stored', async () => {
  await sql(dsn, 'CREATE TABLE picky (at bigint NOT NULL)');
  class Unfit extends Error {}
  const sessions = { made: 0, prepared: 0, committed: 0 };
  const load = (): Load => {
    sessions.made += 1;
    return {
      async prepare() {
        sessions.prepared += 1;
      },
      async load(transaction, batch) {
        const positions = [...batch.positions.subarray(0, batch.count)];
        await transaction.query('INSERT INTO picky SELECT unnest($1::bigint[])', [positions]);
        if (positions.includes(lane.mark(37).position)) throw new Unfit('record 37 does not fit');
        transaction.onCommit(() => {
          sessions.committed += batch.count;
        });
      },
      classify: (error) => (error instanceof Unfit ? 'split' : undefined),
    };
  };
  const lane = new TestLane(events(100));
  const target = open({ table: 'picky_events', sessions: 1, load });
  const { refused } = await deliver(target, lane, { batch: 50 });
  expect(refused).toEqual([37]);
  expect(await sql(dsn, 'SELECT count(*)::int AS n, count(DISTINCT at)::int AS distinct FROM picky')).toEqual([
    { n: 99, distinct: 99 },
  ]);
  expect(sessions).toEqual({ made: 1, prepared: 1, committed: 99 });
});

test('the module of an output is asked once, and makes the load of each session, with the values of its service', async () => {
  await sql(dsn, 'CREATE TABLE ledger (site text NOT NULL, records bigint NOT NULL)');
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-load-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'load.mjs');
  writeFileSync(
    path,
    `export let asked = 0;
     export let sessions = 0;
     export default ({ output, values }) => {
       asked += 1;
       return () => {
         sessions += 1;
         return {
           load: (transaction, batch) =>
             transaction.query('INSERT INTO ledger VALUES ($1, $2)', [output + ' of ' + values.site, batch.count]),
         };
       };
     };`,
  );
  const target = await postgresSink.open(config(dsn, { pgTable: 'ledger_events', pgConnections: 3 }), {
    ...context('bookings', randomUUID()),
    load: { module: pathToFileURL(path).href, values: { site: 'toy' } },
  });
  onTestFinished(() => target.close());
  expect(await import(pathToFileURL(path).href)).toMatchObject({ asked: 1, sessions: 3 });
  const lane = new TestLane(events(100));
  await deliver(Object.assign(target, { classify: postgresSink.classify }), lane, { batch: 30 });
  expect(await sql(dsn, 'SELECT site, sum(records)::int AS n FROM ledger GROUP BY site')).toEqual([
    { site: 'bookings of toy', n: 100 },
  ]);
  expect(await sql(dsn, "SELECT sink, record FROM ringmain_cursors WHERE sink = 'bookings'")).toEqual([
    { sink: 'bookings', record: '100' },
  ]);
  expect(await sql(dsn, "SELECT to_regclass('ledger_events') AS found"), 'no table of events').toEqual([
    { found: null },
  ]);
});

// Goal: two outputs of kind postgres in one process share nothing but the database.
// Method: both start at once on an empty schema with one log, over and over; each delivers another piece of the lane.
test('two outputs with two tables make their tables at once and have their own cursors and fences', async () => {
  for (let round = 0; round < 5; round += 1) {
    await sql(dsn, `CREATE SCHEMA two_${round}`);
    const logId = randomUUID();
    const lane = new TestLane(events(400));
    const one = open({ name: 'postgres', logId, table: `two_${round}.views` });
    const two = open({ name: 'orders', logId, table: `two_${round}.orders` });
    await Promise.all([deliver(one, lane, { batch: 30 }), deliver(two, lane, { batch: 70, to: 210 })]);
    await assertStored(dsn, lane.events, `two_${round}.views`);
    await assertStored(dsn, lane.events.slice(0, 210), `two_${round}.orders`);
    // A new process claims one output: the other output's cursors and right to write stay as they are.
    const successor = open({ name: 'orders', logId, table: `two_${round}.orders` });
    expect((await successor.cursors()).get('1-0')).toEqual(lane.mark(210));
    await expect(two.write(lane.batch(210, 220), Promise.resolve())).rejects.toMatchObject({ code: 'SINK_FENCED' });
    const more = new TestLane(events(500));
    await one.write(more.batch(400, 500), Promise.resolve());
    await successor.write(lane.batch(210, 400), Promise.resolve());
    await assertStored(dsn, more.events, `two_${round}.views`);
    await assertStored(dsn, lane.events, `two_${round}.orders`);
  }
});

/** The table of cursors as commit 3bf89aa made it. */
const CURSORS_OF_3BF89AA =
  'CREATE TABLE IF NOT EXISTS "old"."ringmain_cursors" (log_id text, sink text, life bigint, lane int,' +
  ' position bigint NOT NULL, record bigint NOT NULL, epoch bigint NOT NULL,' +
  ' updated_at timestamptz NOT NULL DEFAULT now(),' +
  ' PRIMARY KEY (log_id, sink, life, lane)) WITH (fillfactor = 20)';

test('cursors written by commit 3bf89aa go on', async () => {
  await sql(dsn, 'CREATE SCHEMA old');
  await sql(dsn, CURSORS_OF_3BF89AA);
  const lane = new TestLane(events(100));
  const logId = 'ab'.repeat(16);
  const { position, record } = lane.mark(40);
  await sql(
    dsn,
    `INSERT INTO old.ringmain_cursors (log_id, sink, life, lane, position, record, epoch)
     VALUES ($1, 'postgres', 1, 0, $2, $3, 1795000000000), ($1, 'postgres', 1, 1, 8, 1, 1795000000000)`,
    [logId, position, record],
  );
  const target = open({ logId, table: 'old.events_json' });
  expect([...(await target.cursors())].sort()).toEqual([
    ['1-0', lane.mark(40)],
    ['1-1', { position: 8, record: 1 }],
  ]);
  await deliver(target, lane, { from: 40 });
  await assertStored(dsn, lane.events.slice(40), 'old.events_json');
  expect(await sql(dsn, 'SELECT lane, record FROM old.ringmain_cursors ORDER BY lane')).toEqual([
    { lane: 0, record: '100' },
    { lane: 1, record: '1' },
  ]);
});

test('partitions of a topic are held one by one: a taken partition stores nothing, the others go on', async () => {
  await sql(dsn, 'CREATE SCHEMA topic');
  const target = open({ table: 'topic.events' });
  await target.cursors(); // makes the tables
  const table = 'topic.ringmain_cursors';
  const [one, two] = [new Cursors('cluster group', 'orders'), new Cursors('cluster group', 'orders')];
  const session = await link();
  const [views, clicks] = [4, 7]; // topics
  const partition = (topic: number, lane: number) => ({ life: topic, lane });
  const mark = (offset: number) => ({ position: offset, record: offset });
  const move = async (cursors: Cursors, lane: LaneId, from: number, to: number): Promise<void> => {
    const step = { lane, from: mark(from), to: mark(to) };
    await session.query('BEGIN');
    const moved = await cursors.move(session, table, step).catch(async (error: unknown) => {
      await session.query('ROLLBACK');
      throw error;
    });
    await session.query(moved ? 'COMMIT' : 'ROLLBACK');
    if (moved) cursors.committed(step);
    else await cursors.explain(session, table, step);
  };
  expect([...(await one.hold(session, table, [partition(views, 0), partition(views, 1)]))]).toEqual([]);
  await move(one, partition(views, 0), 5000, 5010); // a partition whose oldest offset is 5000
  await move(one, partition(views, 1), 0, 7);
  await move(one, partition(views, 0), 5010, 5020);

  // The group gives partition 1 to the second process.
  const taken = await two.hold(session, table, [partition(views, 1), partition(clicks, 1)]);
  expect([...taken]).toEqual([['4-1', mark(7)]]);
  await expect(move(one, partition(views, 1), 7, 9)).rejects.toThrow(StrandTaken);
  await expect(move(one, partition(views, 1), 7, 9)).rejects.toThrow('strand=4-1');
  await move(two, partition(views, 1), 7, 8);
  await move(two, partition(clicks, 1), 0, 3);
  await move(one, partition(views, 0), 5020, 5030);
  await one.verify(session, table);
  await two.verify(session, table);

  // Back to the first process, which goes on where the second one stood.
  expect([...(await one.hold(session, table, [partition(views, 1)]))]).toEqual([
    ['4-0', mark(5030)],
    ['4-1', mark(8)],
  ]);
  await move(one, partition(views, 1), 8, 9);
  await expect(move(two, partition(views, 1), 8, 9)).rejects.toThrow(StrandTaken);

  // A database that was restored to an older state: the idle partition is found by the next session.
  await session.query(`UPDATE ${table} SET position = 5015, record = 5015, epoch = 1 WHERE position = 5030`);
  const found = await one.verify(session, table).catch((error: unknown) => error);
  expect(found).toBeInstanceOf(CursorMoved);
  expect((found as CursorMoved).cursors.get('4-0')).toEqual(mark(5015));
  await move(one, partition(views, 0), 5015, 5020);
  expect(await sql(dsn, `SELECT log_id, life, lane, position FROM ${table} ORDER BY life, lane`)).toEqual([
    { log_id: 'cluster group', life: '4', lane: 0, position: '5020' },
    { log_id: 'cluster group', life: '4', lane: 1, position: '9' },
    { log_id: 'cluster group', life: '7', lane: 1, position: '3' },
  ]);
});

test('a cursor without the id of its topic gets that of today; a topic that was made anew has none, and this is told', async () => {
  await sql(dsn, 'CREATE SCHEMA anew');
  const target = open({ table: 'anew.events' });
  await target.cursors(); // makes the table
  const table = 'anew.ringmain_cursors';
  const session = await link();
  await sql(
    dsn,
    `INSERT INTO ${table} (log_id, sink, life, lane, position, record, epoch)
     VALUES ('group', 'store', 4, 0, 60, 60, 1), ('group', 'other', 4, 0, 1, 1, 1), ('group 2', 'store', 4, 0, 2, 2, 1)`,
  );
  const told: unknown[] = [];
  const cursors = new Cursors('group', 'store', undefined, (lane, position) => void told.push([lane.lifeId, position]));
  const partition = (lifeId: string, lane = 0) => ({ life: 4, lane, lifeId });
  const sixty = { position: 60, record: 60 };
  expect([...(await cursors.hold(session, table, [partition('one'), partition('one', 1)]))]).toEqual([
    ['4-0-one', sixty],
  ]);
  expect([...(await cursors.hold(session, table, [partition('two')]))]).toEqual([['4-0-one', sixty]]);
  expect(told).toEqual([['two', 60]]);
  // A downgrade has made a row again: it is of the topic that was there then.
  await sql(
    dsn,
    `INSERT INTO ${table} (log_id, sink, life, lane, position, record, epoch) VALUES ('group', 'store', 4, 0, 70, 70, 1)`,
  );
  const later = new Cursors('group', 'store');
  expect([...(await later.hold(session, table, [partition('two')]))]).toEqual([]);
  // Rows of earlier topics do not stay for ever.
  await sql(dsn, `UPDATE ${table} SET updated_at = now() - interval '40 days'`);
  await later.hold(session, table, [partition('three')]);
  expect(await sql(dsn, `SELECT log_id, sink FROM ${table} WHERE life = 4 ORDER BY 1, 2`)).toEqual([
    { log_id: 'group', sink: 'other' },
    { log_id: 'group 2', sink: 'store' },
  ]);
});
