/**
 * Goal: no answer leaves before its promise holds. Method: a real lane over the disk in memory, the keeper stepped by
 * hand; every operation of the disk and every answer go into one trace.
 */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test, vi } from 'vitest';
import { type AckLevel, Acknowledger, type AcknowledgerOptions, type Outcome } from '../../src/engine/acknowledger.ts';
import { WakeWords } from '../../src/kernel/threads/wake.ts';
import { CrashDisk } from './crash-disk.ts';
import { appendRecord, type Log, openLog } from './lanes.ts';

const OPTIONS: AcknowledgerOptions = { defer: 'auto', deferRate: 1000, deferHoldMs: 600_000, ackTimeoutMs: 5000 };

class Desk {
  readonly disk = new CrashDisk();
  readonly log: Log;
  readonly trace: string[] = [];
  readonly acknowledger: Acknowledger;
  clock = 1000;
  iterations = 0;
  #id = 0;

  constructor(options: Partial<AcknowledgerOptions> = {}, bytes = 65_536) {
    this.log = openLog({ disk: this.disk, ringBytes: bytes, segmentBytes: bytes });
    const [writer] = this.log.writers;
    const wake = new WakeWords(this.log.keeperShared.wake);
    this.acknowledger = new Acknowledger(
      writer,
      wake,
      { ...OPTIONS, ...options },
      () => this.clock,
      () => this.iterations,
    );
    this.disk.trace = (operation, path) => {
      if (path.includes('/lanes/') && (operation === 'write' || operation === 'fdatasync')) this.trace.push(operation);
    };
  }

  /** A request with one event, as the routes do it. */
  request(level: AckLevel, bytes = 20): { id: number; answers: Outcome[]; settled(outcome: Outcome): void } {
    const id = this.#id++;
    const answers: Outcome[] = [];
    const request = {
      id,
      answers,
      settled: (outcome: Outcome) => {
        answers.push(outcome);
        this.trace.push(`${outcome} ${id}`);
      },
    };
    appendRecord(this.log.writers[0], id, bytes);
    const when = this.acknowledger.settle(level);
    if (when === 'now') request.settled('stored');
    else if (when === 'failed') request.settled('unknown');
    else this.acknowledger.hold(level, request);
    return request;
  }

  /** The window is over in which events were counted. */
  window(): void {
    this.clock += 100;
    this.acknowledger.tick();
  }

  /** Makes it gather: a rate above deferRate, all in one iteration. */
  hurry(): void {
    for (let i = 0; i < 120; i++) this.request('journal');
    this.window();
    assert.equal(this.acknowledger.gathering, true);
    this.trace.length = 0;
  }

  /** One loop iteration later. */
  async iterate(): Promise<void> {
    this.iterations += 1;
    await turn();
  }
}

test('calm: a journal answer is given in the handler, after its write', () => {
  const desk = new Desk();
  const { answers } = desk.request('journal');
  assert.deepEqual(answers, ['stored']);
  assert.deepEqual(desk.trace.slice(-2), ['write', 'stored 0']);
});

test('busy: the requests of one iteration are one write, and are answered after it', async () => {
  const desk = new Desk();
  desk.hurry();
  const requests = [desk.request('journal'), desk.request('journal'), desk.request('journal')];
  assert.deepEqual(
    requests.map(({ answers }) => answers.length),
    [0, 0, 0],
  );
  assert.deepEqual(desk.trace, []);
  await desk.iterate();
  assert.deepEqual(desk.trace, ['write', ...requests.map(({ id }) => `stored ${id}`)]);
});

// In uWebSockets.js only the connection whose handler runs is corked: the answers to others would leave in pieces.
test('busy: a large draft is written at once, but nobody is answered inside the handler of another', async () => {
  const desk = new Desk({}, 4 * 2 ** 20);
  desk.hurry();
  const requests = Array.from({ length: 5 }, () => desk.request('journal', 100_000));
  assert.deepEqual(desk.trace, ['write'], 'three of them are more than 256 KiB');
  await desk.iterate();
  assert.deepEqual(desk.trace, ['write', 'write', ...requests.map(({ id }) => `stored ${id}`)]);
});

test('it goes back to answers in the handler when iterations carry fewer than three events', async () => {
  const desk = new Desk();
  desk.hurry();
  for (let i = 0; i < 20; i++) {
    desk.request('journal');
    await desk.iterate();
  }
  desk.window();
  assert.equal(desk.acknowledger.gathering, false);
  assert.deepEqual(desk.request('journal').answers, ['stored']);
});

// On a processor that it shares an acceptor finds many requests at each turn, long before their rate is high. With few
// to a turn, gathering costs a callback each and saves no write.
test('whether it gathers is told by the events of an iteration, as soon as the rate is above deferRate', async () => {
  const cases = [
    { perIteration: 3, perSecond: 1200, gathers: true },
    { perIteration: 2, perSecond: 100_000, gathers: false },
    { perIteration: 3, perSecond: 900, gathers: false },
  ];
  for (const { perIteration, perSecond, gathers } of cases) {
    const desk = new Desk({}, 4 * 2 ** 20);
    for (let events = 0; events < perSecond / 10; events++) {
      desk.request('journal');
      if ((events + 1) % perIteration === 0) desk.iterations += 1;
    }
    desk.window();
    assert.equal(desk.acknowledger.gathering, gathers, `${perIteration} per iteration, ${perSecond} per second`);
  }
});

test('a burst that is over before its window is no rate', () => {
  const desk = new Desk();
  for (let i = 0; i < 90; i++) desk.request('journal');
  desk.clock += 25;
  desk.acknowledger.tick();
  desk.window();
  assert.equal(desk.acknowledger.gathering, false);
});

test('without a rate to wait for (0) it gathers also when an iteration brings one event', async () => {
  const desk = new Desk({ deferRate: 0 });
  desk.request('journal');
  await desk.iterate();
  desk.window();
  assert.equal(desk.acknowledger.gathering, true);
});

test('DEFER=off never gathers', () => {
  const desk = new Desk({ defer: 'off' });
  for (let i = 0; i < 200; i++) assert.deepEqual(desk.request('journal').answers, ['stored']);
  desk.window();
  assert.equal(desk.acknowledger.gathering, false);
});

test('a client that pipelines switches to answers in the handler for deferHoldMs, however high the rate', () => {
  const desk = new Desk();
  desk.hurry();
  desk.acknowledger.dropped(desk.request('journal'));
  assert.equal(desk.acknowledger.pipeliners, 1);
  assert.equal(desk.acknowledger.gathering, false);
  for (let waited = 0; waited < OPTIONS.deferHoldMs; waited += 60_000) {
    for (let i = 0; i < 300; i++) desk.request('journal');
    desk.log.step();
    desk.acknowledger.tick();
    assert.equal(desk.acknowledger.gathering, false, `after ${waited} ms`);
    desk.clock += 60_000;
  }
  desk.acknowledger.tick();
  for (let i = 0; i < 300; i++) desk.request('journal');
  desk.window();
  assert.equal(desk.acknowledger.gathering, true, 'afterwards it may gather again');
});

test('a connection that goes when its answer has left is no pipeliner', async () => {
  const desk = new Desk();
  desk.hurry();
  const request = desk.request('journal');
  await desk.iterate();
  desk.acknowledger.dropped(request);
  assert.equal(desk.acknowledger.pipeliners, 0);
  assert.equal(desk.acknowledger.gathering, true);
});

test('memory: answered at once, published at the end of the iteration', async () => {
  const desk = new Desk();
  const { answers } = desk.request('memory');
  assert.deepEqual(answers, ['stored']);
  assert.equal(desk.log.writers[0].tail, 0);
  await desk.iterate();
  assert.equal(desk.log.writers[0].records, 1);
});

test('a journal answer in the handler publishes what others of this iteration have in the draft', async () => {
  const desk = new Desk();
  desk.request('memory');
  const sync = desk.request('sync');
  const journal = desk.request('journal');
  assert.deepEqual(journal.answers, ['stored']);
  assert.equal(desk.log.writers[0].records, 3);
  assert.deepEqual(sync.answers, []);
  desk.log.step();
  await desk.iterate();
  await desk.iterate();
  assert.deepEqual(sync.answers, ['stored']);
});

test('sync: no answer before the fdatasync that covers it has returned, one sync for a group', async () => {
  const desk = new Desk();
  const first = [desk.request('sync'), desk.request('sync')];
  await desk.iterate();
  assert.equal(desk.acknowledger.waiting, 2);
  const late = desk.request('sync');
  desk.trace.length = 0;
  // Published before the keeper looks: one fdatasync for all three.
  await desk.iterate();
  assert.ok(desk.log.writers[0].control.wanted() > 0, 'the keeper knows that somebody waits');
  desk.log.step();
  await desk.iterate();
  await desk.iterate();
  const syncs = desk.trace.filter((entry) => entry === 'fdatasync').length;
  assert.ok(desk.trace.indexOf('fdatasync') < desk.trace.indexOf(`stored ${first[0].id}`), desk.trace.join(', '));
  assert.deepEqual(
    [...first, late].map(({ answers }) => answers),
    [['stored'], ['stored'], ['stored']],
  );
  assert.ok(syncs >= 1 && syncs <= 6, desk.trace.join(', '));
});

// The mutant "wake without re-read": the group was synced before the wait for it was armed, so nobody will wake it any
// more.
test('sync: what is synced before the wait is armed is answered without another sync', async () => {
  const desk = new Desk({ ackTimeoutMs: 100_000 });
  const request = desk.request('sync');
  desk.log.writers[0].publish();
  desk.log.step();
  assert.equal(desk.log.writers[0].ring.synced(), desk.log.writers[0].tail);
  await desk.iterate();
  await desk.iterate();
  assert.deepEqual(request.answers, ['stored']);
});

test('sync: a publish that comes after a group is not answered by that group', async () => {
  const desk = new Desk();
  const first = desk.request('sync');
  await desk.iterate();
  const { disk, log } = desk;
  let second: ReturnType<Desk['request']> | undefined;
  disk.fault = (operation, path) => {
    // In the middle of the fdatasync another event is published.
    if (operation === 'fdatasync' && path.includes('/lanes/') && second === undefined) {
      second = desk.request('journal');
      desk.acknowledger.flush();
    }
    return undefined;
  };
  log.step();
  assert.ok(log.writers[0].ring.synced() < log.writers[0].tail, 'only what was published before the sync is synced');
  const waiting = desk.request('sync');
  await desk.iterate();
  await desk.iterate();
  assert.deepEqual(first.answers, ['stored']);
  assert.deepEqual(waiting.answers, []);
  assert.ok(log.writers[0].ring.synced() < log.writers[0].tail);
  log.step();
  await desk.iterate();
  await desk.iterate();
  assert.deepEqual(waiting.answers, ['stored']);
});

test('sync: whoever waits longer than ackTimeoutMs is told that nobody knows', async () => {
  const desk = new Desk();
  const request = desk.request('sync');
  await desk.iterate();
  desk.clock += OPTIONS.ackTimeoutMs - 1;
  desk.acknowledger.tick();
  assert.deepEqual(request.answers, []);
  desk.clock += 1;
  desk.acknowledger.tick();
  assert.deepEqual(request.answers, ['unknown']);
  desk.log.step();
  await desk.iterate();
  assert.deepEqual(request.answers, ['unknown'], 'answered once');
});

// Each would leave a timer until ackTimeoutMs is over: at thousands of syncs a second they stopped the loop for 90 ms
// every few seconds.
test('sync: the wait for a sync has no time-out of its own', async (t) => {
  const waitAsync = vi.spyOn(Atomics, 'waitAsync');
  t.onTestFinished(() => waitAsync.mockRestore());
  const desk = new Desk();
  const request = desk.request('sync');
  await desk.iterate();
  assert.equal(waitAsync.mock.calls.length, 1);
  assert.equal(waitAsync.mock.calls[0]![3], undefined);
  desk.log.step();
  await desk.iterate();
  await desk.iterate();
  assert.deepEqual(request.answers, ['stored']);
});

test('sync: a failed fdatasync answers nobody; the rescue does', async () => {
  const desk = new Desk();
  const request = desk.request('sync');
  await desk.iterate();
  let failures = 1;
  desk.disk.fault = (operation, path) =>
    operation === 'fdatasync' && path.includes('/lanes/') && failures-- > 0 ? 'EIO' : undefined;
  desk.log.step();
  await desk.iterate();
  assert.deepEqual(request.answers, []);
  for (let i = 0; i < 5; i++) {
    desk.log.step();
    desk.acknowledger.tick();
    await desk.iterate();
  }
  assert.deepEqual(request.answers, ['stored']);
});

test('a write that fails is told to whoever waits for it, calm or busy, journal or sync; then events are refused', async () => {
  for (const level of ['journal', 'sync'] as const) {
    for (const busy of [false, true]) {
      const desk = new Desk();
      if (busy) desk.hurry();
      desk.disk.fault = (operation) => (operation === 'write' ? 'EIO' : undefined);
      const request = desk.request(level);
      await desk.iterate();
      assert.deepEqual(request.answers, ['unknown'], `${level}, busy=${busy}`);
      assert.equal(desk.log.writers[0].refusal(8), 'write_failed');
      desk.disk.fault = () => undefined;
      desk.acknowledger.tick();
      assert.equal(desk.log.writers[0].refusal(8), undefined);
      const next = desk.request('journal');
      await desk.iterate();
      assert.deepEqual(next.answers, ['stored']);
    }
  }
});

// The journal's rule for every mixture: an answer of `journal` follows a write, one of `sync` an fdatasync, that cover
// its record.
test('in a random mixture of levels and modes no answer overtakes its write or its fdatasync', async () => {
  const desk = new Desk({ deferRate: 500 });
  const { log } = desk;
  const [writer] = log.writers;
  const levels: AckLevel[] = ['memory', 'journal', 'sync'];
  let written = 0;
  /** By id, where the lane ended when the record was published. */
  const ends: number[] = [];
  const note = () => {
    while (ends.length < writer.records) ends.push(writer.tail);
  };
  const seen: { request: ReturnType<Desk['request']>; level: AckLevel }[] = [];
  desk.disk.trace = (operation, path) => {
    if (operation === 'write' && path.includes('/lanes/')) written += 1;
  };
  for (let i = 0; i < 3000; i++) {
    const level = levels[(i * 7) % 3];
    if (writer.refusal(200) !== undefined) {
      log.step();
      continue;
    }
    const request = desk.request(level);
    const before = request.settled;
    request.settled = (outcome) => {
      before(outcome);
      const needed = request.id + 1;
      if (level === 'journal') assert.ok(writer.records >= needed && written > 0, 'answered before it was published');
      note();
      if (level === 'sync')
        assert.ok(writer.ring.synced() >= (ends[request.id] ?? Number.POSITIVE_INFINITY), 'answered before its sync');
    };
    seen.push({ request, level });
    if (level === 'journal' && request.answers.length > 0) assert.ok(writer.records >= request.id + 1);
    note();
    if (i % 5 === 0) await desk.iterate();
    note();
    if (i % 11 === 0) log.step();
    if (i % 50 === 0) {
      desk.clock += 25;
      desk.acknowledger.tick();
    }
  }
  log.step();
  for (let i = 0; i < 5; i++) {
    await desk.iterate();
    log.step();
  }
  assert.deepEqual(
    seen.filter(({ request }) => request.answers.length !== 1).map(({ level }) => level),
    [],
  );
  assert.ok(seen.every(({ request }) => request.answers[0] === 'stored'));
});
