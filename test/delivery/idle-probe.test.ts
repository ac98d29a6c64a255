/**
 * Goal: an output says by itself that its target went away and that it is back, while nothing is sent; it names the place,
 * counts each try, and says each once. Method: Standing and IdleProbe on a real board, a target that answers as the test
 * says, and a clock that the test moves. test/sinks/ has the same with real servers.
 */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'vitest';
import { IdleProbe } from '../../src/delivery/idle-probe.ts';
import { Standing } from '../../src/delivery/standing.ts';
import { SinkBoard } from '../../src/engine/sink-board.ts';
import { createLog } from '../../src/kernel/log.ts';
import { loadSink, type SinkKindName } from '../../src/sinks/registry.ts';

const PLACE = 'db.example:5432';

function rig(probe: () => Promise<void>, places: readonly string[] = [PLACE]) {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const board = new SinkBoard(SinkBoard.create(1));
  const clock = { ms: 0 };
  const now = () => clock.ms;
  const failed: string[] = [];
  const none = { records: 0, bytes: 0 };
  const ledger = { passed: 0, delivered: 0, dead: 0, givenUp: 0, skipped: 0 };
  const standing = new Standing(
    {
      name: 'postgres',
      kind: { waits: 'event-loop' },
      classify: () => 'retry',
      board,
      index: 0,
      waiter: { pause: async () => undefined },
      log: createLog({ level: 'info', destination: 1, name: 'sink', stream }),
      places,
      random: () => 1,
    },
    now,
    () => ({ lag: none, published: none, ledger, oldestMs: 0 }),
  );
  let asked = 0;
  const target = {
    inFlightMax: 1,
    write: async () => undefined,
    close: async () => undefined,
    probe: () => {
      asked += 1;
      return probe();
    },
  };
  const idle = new IdleProbe({ standing, target: () => target, meters: { failure: (kind) => failed.push(kind) }, now });
  return {
    standing,
    idle,
    board,
    lines,
    failed,
    asked: () => asked,
    state: () => `${board.state(0)} ${board.reason(0)}`.trim(),
    /** Rounds of the runner, one every 100 ms. */
    round: async (ms = 0) => {
      for (let spent = 0; spent <= ms; spent += 100) {
        clock.ms += 100;
        idle.look();
        standing.tell();
        await turn();
      }
    },
  };
}

test('a connection that a server closed for idleness is opened anew, and nobody is told', async () => {
  const { standing, idle, state, lines, failed, asked, round } = rig(async () => undefined);
  standing.up();
  await round(1000);
  assert.equal(asked(), 0, 'an idle target that is up is not asked');
  idle.lost();
  await round(1000);
  assert.deepEqual([asked(), state(), lines, failed], [1, 'up', [], []]);
});

test('a target that dies while idle is away at once, is asked with pauses, and comes back without an event', async () => {
  let answer = async (): Promise<void> => {
    throw new Error('password authentication failed for user "ringmain"');
  };
  const { standing, idle, state, lines, failed, asked, round } = rig(() => answer());
  standing.up();
  idle.lost();
  await round();
  assert.equal(state(), `down ${PLACE}: password authentication failed for user "ringmain"`);
  await round(300_000);
  assert.ok(asked() > 10 && asked() < 30, `asked ${asked()} times in five minutes: 100 ms doubling to 30 s`);
  assert.deepEqual(failed, Array(asked()).fill('connect'));
  answer = async () => undefined;
  await round(31_000);
  assert.equal(state(), 'up');
  standing.transitions.look();
  assert.deepEqual(lines.map(({ level, msg, reason }) => ({ level, msg, reason })).slice(0, 1), [
    {
      level: 'warn',
      msg: 'postgres accepts no events; retrying',
      reason: `${PLACE}: password authentication failed for user "ringmain"`,
    },
  ]);
  const told = asked();
  await round(10_000);
  assert.equal(asked(), told, 'it is back and not asked any more');
});

test('an answer that comes after a write has failed, or after the run, is old news', async () => {
  const pending: (() => void)[] = [];
  const { standing, idle, state, round } = rig(() => new Promise<void>((resolve) => pending.push(resolve)));
  standing.down(new Error('reset'));
  await round();
  standing.down(new Error('disk full'));
  pending.shift()!();
  await round(200);
  assert.equal(state(), `down ${PLACE}: disk full`, 'the write knows better than the probe before it');
  assert.equal(pending.length, 1, 'asked again');
  idle.end();
  pending.shift()!();
  await round();
  assert.match(state(), /^down/);
});

test('an output is up when neither its target nor its source is away, and reasons of the source name the source', async () => {
  const { standing, state, round } = rig(async () => undefined);
  standing.up();
  standing.down(new Error('metadata from kafka:9092: ECONNREFUSED'), 'source');
  standing.up();
  assert.equal(
    state(),
    'down metadata from kafka:9092: ECONNREFUSED',
    'a delivered batch does not bring the source back',
  );
  await round(1000);
  assert.match(state(), /^down metadata/, 'the target is well and is not asked');
  standing.down(new Error('full'));
  standing.up('source');
  assert.equal(state(), `down ${PLACE}: full`);
  standing.up();
  assert.equal(state(), 'up');
});

test('a reason names the place once, however the error was worded; several hosts are named by the first and their number', () => {
  const two = rig(async () => undefined, ['a:1', 'b:2', 'c:3']);
  two.standing.down(new Error('full'));
  assert.equal(two.state(), 'down a:1 and 2 more: full');
  two.standing.down(new Error('produce to b:2: timed out'));
  assert.equal(two.state(), 'down produce to b:2: timed out');
  // Node leaves the message of such an error empty.
  two.standing.down(
    new AggregateError([new Error('connect ECONNREFUSED ::1:1'), new Error('connect ECONNREFUSED 127.0.0.1:1')]),
  );
  assert.equal(two.state(), 'down a:1 and 2 more: connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1');
});

test('each kind of sink says where its target is, and nothing secret', async () => {
  const rows: readonly (readonly [SinkKindName, object, readonly string[]])[] = [
    ['log', { logPath: '/var/log/events.ndjson' }, ['/var/log/events.ndjson']],
    ['log', { logPath: 'stdout' }, ['stdout']],
    ['postgres', { pgDsn: 'postgres://user:pass@db1,[::1]:5433/x?sslmode=require' }, ['db1:5432', '[::1]:5433']],
    ['kafka', { kafkaBrokers: ['k1', 'k2:9093'] }, ['k1:9092', 'k2:9093']],
    ['http', { httpSinkUrl: 'https://user:pass@hooks.example/token?key=1' }, ['hooks.example:443']],
  ];
  for (const [kind, config, places] of rows)
    assert.deepEqual((await loadSink(kind)).places(config as never), places, kind);
});
