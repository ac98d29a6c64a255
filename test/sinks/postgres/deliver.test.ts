import assert from 'node:assert/strict';
import { beforeAll, describe, expect, test } from 'vitest';
import { CursorMoved } from '../../../src/delivery/contract.ts';
import { laneKey } from '../../../src/engine/segment.ts';
import { postgresSink } from '../../../src/sinks/postgres/sink.ts';
import { startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { assertStored, config, deliver, event, events, open, sql, TestLane } from './fixture.ts';

const PORT = 21500;

describe('Postgres stores every event once, by COPY and by INSERT', () => {
  const scope = fileScope();
  let dsn: string;
  beforeAll(async () => {
    dsn = (await startPostgres(scope, { port: PORT })).dsn;
  });

  for (const [index, pgCopy] of [true, false].entries()) {
    test(`PG_COPY=${pgCopy}: rows, columns and order`, async (t) => {
      const pgTable = `plain_${index}`;
      const target = open(t, config(dsn, { pgCopy, pgTable }));
      await target.cursors();
      const lane = new TestLane([event(1, { ts: -1 }), event(2, { ts: 946_684_799_999 }), ...events(1000, 10)]);
      await deliver(target, lane, { batch: 97 });
      await assertStored(dsn, lane.events, pgTable);
      const rows = await sql<{ ts: Date; payload: unknown }>(dsn, `SELECT ts, payload FROM ${pgTable} ORDER BY ts`);
      const sorted = lane.events.toSorted((a, b) => a.ts - b.ts);
      rows.forEach(({ ts, payload }, at) => {
        assert.equal(ts.getTime(), sorted[at]!.ts);
        assert.deepEqual(payload, JSON.parse(sorted[at]!.line));
      });
    });

    // Goal: a client's retry is harmless wherever its copy falls: in the same batch, in another, after a restart.
    test(`GoTrack poison batch, PG_COPY=${pgCopy}: a repeated id is stored once`, async (t) => {
      const pgTable = `twice_${index}`;
      const settings = config(dsn, { pgCopy, pgTable });
      const once = events(100);
      const lane = new TestLane([...once, ...once.slice(90), once[99]!, ...events(50, 200), ...once.slice(0, 10)]);
      const first = open(t, settings, `twice-${index}`);
      await first.cursors();
      await deliver(first, lane, { batch: 105 });
      assert.equal(first.duplicates, 21);
      await first.close();
      const second = open(t, settings, `twice-${index}`);
      assert.deepEqual([...(await second.cursors())], [['1-0', lane.mark(lane.events.length)]]);
      const next = new TestLane([...once.slice(40, 60), ...events(10, 300)], { life: 2, lane: 0 });
      await deliver(second, next);
      assert.equal(second.duplicates, 20);
      await assertStored(dsn, [...once, ...events(50, 200), ...events(10, 300)], pgTable);
    });

    // Goal: two batches that hold the same id and load side by side do not wait for each other for ever.
    // Method: the second inserts first, holds the row, and may commit only after the first.
    test(`PG_COPY=${pgCopy}: a batch that blocks the one before it gives way`, async (t) => {
      const pgTable = `way_${index}`;
      const target = open(t, config(dsn, { pgCopy, pgTable }));
      await target.cursors();
      const lane = new TestLane([...events(10), event(5), ...events(9, 20)]);
      let release = () => {};
      const gate = new Promise<void>((resolve) => (release = resolve));
      let first: Promise<void> | undefined;
      const second = target.write(
        lane.batch(10, 20),
        gate.then(() => first),
      );
      await expect
        .poll(
          async () =>
            (
              await sql(
                dsn,
                `SELECT 1 FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = to_regclass('${pgTable}')`,
              )
            ).length,
        )
        .toBeGreaterThan(0);
      first = target.write(lane.batch(0, 10), Promise.resolve());
      release();
      await Promise.all([first, second]);
      assert.equal(target.duplicates, 1);
      await assertStored(dsn, lane.events, pgTable);
    });
  }

  // Goal: what the socket has not sent yet is not overwritten. Large rows through a server that reads slowly.
  test('two connections with large batches store what was given, not what the buffer held later', async (t) => {
    const pgTable = 'large';
    const target = open(t, config(dsn, { pgTable, pgGin: 'off' }));
    await target.cursors();
    const list = Array.from({ length: 400 }, (_, n) =>
      event(n, { props: JSON.stringify({ n, text: `${n} `.repeat(4000) }) }),
    );
    await deliver(target, new TestLane(list), { batch: 40 });
    const rows = await sql<{ payload: unknown }>(dsn, `SELECT payload FROM ${pgTable} ORDER BY ts`);
    assert.deepEqual(
      rows.map(({ payload }) => payload),
      list.map(({ line }) => JSON.parse(line)),
    );
  });

  test('what jsonb refuses is stored by the rule or refused alone', async (t) => {
    const pgTable = 'odd';
    const target = open(t, config(dsn, { pgTable }));
    await target.cursors();
    const odd: [props: string, stored: unknown][] = [
      [String.raw`{"a":"x\u0000y"}`, { a: 'x\ufffdy' }],
      [String.raw`{"a\u0000":"\\u0000"}`, { 'a\ufffd': '\\u0000' }],
      [String.raw`{"a":"\\\u0000"}`, { a: '\\\ufffd' }],
      [String.raw`{"a":"\ud800"}`, { a: '\ufffd' }],
      [String.raw`{"a":"\udc00\ud83d\ude00"}`, { a: '\ufffd😀' }],
      [String.raw`{"a":"\ud83dA\uD83D\uDE00"}`, { a: '\ufffdA😀' }],
      ['{"a":1e-5,"b":123456789012345678901234567890}', { a: 1e-5, b: 1.2345678901234568e29 }],
      ['{"a":1e200000}', undefined],
      [`{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, undefined],
    ];
    const list = [...events(50), ...odd.map(([props], at) => event(100 + at, { props })), ...events(50, 200)];
    const { refused, verdicts } = await deliver(target, new TestLane(list), { batch: 40 });
    const bad = odd.flatMap(([, stored], at) => (stored === undefined ? [50 + at] : []));
    assert.deepEqual(refused, bad);
    assert.ok(
      verdicts.every((verdict) => verdict.startsWith('split')),
      verdicts.join('\n'),
    );
    await assertStored(
      dsn,
      list.filter((_, at) => !bad.includes(at)),
      pgTable,
    );
    for (const [at, [, stored]] of odd.entries()) {
      if (stored === undefined) continue;
      const [row] = await sql<{ props: unknown }>(
        dsn,
        `SELECT payload->'props' AS props FROM ${pgTable} WHERE event_id = $1`,
        [list[50 + at]!.id],
      );
      assert.deepEqual(row!.props, stored, odd[at]![0]);
    }
  });

  // Goal: two Ringmains on copies of one journal do not share its cursors: the older one is fenced, nothing it holds is
  // lost.
  test('two writers with one cursor: the one that came first is fenced and stores nothing any more', async (t) => {
    const settings = config(dsn, { pgTable: 'fence' });
    const lane = new TestLane(events(300));
    const old = open(t, settings, 'fence');
    await old.cursors();
    await old.write(lane.batch(0, 100), Promise.resolve());
    const young = open(t, settings, 'fence');
    const marks = await young.cursors();
    assert.deepEqual(marks.get('1-0'), lane.mark(100));
    await assert.rejects(old.write(lane.batch(100, 200), Promise.resolve()), (error) => {
      assert.equal((error as { code?: string }).code, 'SINK_FENCED');
      assert.equal(postgresSink.classify(error), 'stop');
      return true;
    });
    await assertStored(dsn, lane.events.slice(0, 100), 'fence');
    await deliver(young, lane, { from: 100 });
    await assert.rejects(old.write(lane.batch(100, 200), Promise.resolve()), { code: 'SINK_FENCED' });
    await assertStored(dsn, lane.events, 'fence');
  });

  // Goal: of two processes on copies of one journal the one that was started last has the cursors, whatever threads die.
  // Method: a life claims, another one after it; the first one's thread comes again, and a lane that has no row yet is written.
  test('a life that another has followed cannot claim again, and cannot begin a lane', async (t) => {
    const settings = config(dsn, { pgTable: 'lives' });
    const first = { life: 7, lifeId: 'aa'.repeat(8) };
    const second = { life: 7, lifeId: 'bb'.repeat(8) };
    const lane = new TestLane(events(20), { ...first, lane: 0 });
    const old = open(t, settings, 'lives', first);
    await old.cursors();
    const again = open(t, settings, 'lives', first);
    await again.cursors();
    await again.write(lane.batch(0, 10), Promise.resolve());
    const young = open(t, settings, 'lives', second);
    const marks = await young.cursors();
    assert.equal(marks.get(laneKey({ ...second, lane: 0 })), undefined, 'a lane of the same number has no cursor yet');
    assert.deepEqual(marks.get(laneKey({ ...first, lane: 0 })), lane.mark(10));
    await assert.rejects(open(t, settings, 'lives', first).cursors(), { code: 'SINK_FENCED' });
    const other = new TestLane(events(20), { ...first, lane: 1 });
    await assert.rejects(again.write(other.batch(0, 10), Promise.resolve()), { code: 'SINK_FENCED' });
    const mine = new TestLane(events(20, 100), { ...second, lane: 0 });
    await young.write(mine.batch(0, 20), Promise.resolve());
    await assertStored(dsn, [...lane.events.slice(0, 10), ...mine.events], 'lives');
  });

  test('a cursor that stands elsewhere is followed, and nothing of the batch is stored', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'moved' }), 'moved');
    await target.cursors();
    const lane = new TestLane(events(300));
    await deliver(target, lane, { batch: 150 });
    const back = lane.mark(120);
    await sql(dsn, 'UPDATE ringmain_cursors SET position = $1, record = $2 WHERE log_id = $3', [
      back.position,
      back.record,
      'moved',
    ]);
    await sql(dsn, "DELETE FROM moved WHERE (payload->'props'->>'n')::int >= 120");
    const more = new TestLane(events(400));
    const error = await target.write(more.batch(300, 400), Promise.resolve()).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof CursorMoved);
    assert.deepEqual([...error.cursors], [['1-0', back]]);
    await assertStored(dsn, lane.events.slice(0, 120), 'moved');
    await deliver(target, more, { from: 120 });
    await assertStored(dsn, more.events, 'moved');
  });

  test('a batch after one that failed is taken back', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'chain' }));
    await target.cursors();
    const lane = new TestLane([...events(10), event(10, { props: '{"a":1e999999}' }), ...events(20, 11)]);
    const first = target.write(lane.batch(0, 15), Promise.resolve());
    const second = target.write(lane.batch(15, 31), first);
    const results = await Promise.allSettled([first, second]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    assert.equal(postgresSink.classify((results[1] as PromiseRejectedResult).reason), 'retry');
    await assertStored(dsn, [], 'chain');
    const { refused } = await deliver(target, lane, { batch: 15 });
    assert.deepEqual(refused, [10]);
    await assertStored(dsn, lane.events.toSpliced(10, 1), 'chain');
    assert.deepEqual((await target.cursors()).get('1-0'), lane.mark(31), 'the cursor passes the refused row');
  });

  test('lanes move side by side, and a lane without a cursor begins where it is written', async (t) => {
    const target = open(t, config(dsn, { pgTable: 'lanes' }), 'lanes');
    await target.cursors();
    const one = new TestLane(events(50));
    const two = new TestLane(events(50, 100), { life: 1, lane: 1 });
    await Promise.all([
      target.write(one.batch(0, 50), Promise.resolve()),
      target.write(two.batch(20, 50), Promise.resolve()),
    ]);
    const marks = await target.cursors();
    assert.deepEqual([...marks].sort(), [
      ['1-0', one.mark(50)],
      ['1-1', two.mark(50)],
    ]);
    await assertStored(dsn, [...one.events, ...two.events.slice(20)], 'lanes');
  });
});
