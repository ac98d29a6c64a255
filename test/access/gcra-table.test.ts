/** The table of limits: exact for one thread and for several, all or nothing, bounded. */
import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { onTestFinished, test, vi } from 'vitest';
import { type Allowance, type Cell, GcraTable } from '../../src/access/gcra-table.ts';
import { hashed, hashName } from '../../src/access/half-sip-hash.ts';
import { randomOf, seed } from '../events/seed.ts';

const S = 1e9;

/** A table with a clock that the test sets. */
function tableAt(entries = 1024) {
  const clock = { ns: S };
  return { clock, table: new GcraTable(GcraTable.create(entries), () => clock.ns) };
}

/** Passes while, in every span that ends now, fewer have passed than burst + floor(span / interval). */
class Model {
  readonly #passed: number[] = [];

  full({ burst, intervalNs }: { readonly burst: number; readonly intervalNs: number }, now: number): boolean {
    for (let first = this.#passed.length - 1; first >= 0; first -= 1) {
      const count = this.#passed.length - first + 1;
      if (count > burst + Math.floor((now - this.#passed[first]!) / intervalNs)) return true;
    }
    return burst < 1;
  }

  take(now: number): void {
    this.#passed.push(now);
  }
}

test('the hash is that of its authors', () => {
  // vectors_hsip64 of github.com/veorq/SipHash: key 00 01 .. 07, inputs of 0, 1, 2, ... bytes 00 01 02 ...
  const key = { k0: 0x03020100, k1: 0x07060504 };
  const bytesOf = (length: number): string => {
    hashName(String.fromCharCode(...Array.from({ length }, (_, i) => i)), key);
    const bytes = Buffer.alloc(8);
    bytes.writeInt32LE(hashed[0]!, 0);
    bytes.writeInt32LE(hashed[1]!, 4);
    return bytes.toString('hex');
  };
  assert.equal(bytesOf(0), '218d1f59b9b83cc8');
  assert.equal(bytesOf(1), 'be552412f8387315');
});

test('what passes in any time is burst + floor(time / interval), and not one more or less', () => {
  const below = randomOf(seed);
  const next = () => below(2 ** 30) / 2 ** 30;
  for (let run = 1; run <= 30; run += 1) {
    const { clock, table } = tableAt();
    const allowances: Allowance[] = Array.from({ length: 1 + Math.floor(next() * 3) }, () => {
      const limit = 1 + Math.floor(next() * 12);
      return { limit, windowS: [1, 7, 60][Math.floor(next() * 3)]!, burst: 1 + Math.floor(next() * limit) };
    });
    const cells = allowances.map((allowance, i) => table.cell(`name ${i}`, allowance));
    const models = cells.map(() => new Model());
    for (let i = 0; i < 400; i += 1) {
      // Also times that fall on an interval to the nanosecond.
      const step = next() < 0.3 ? cells[0]!.intervalNs : Math.floor(next() * 4 * S * next());
      clock.ns += step;
      const full = cells.findIndex(({ intervalNs }, k) =>
        models[k]!.full({ burst: allowances[k]!.burst, intervalNs }, clock.ns),
      );
      assert.equal(table.look(cells), full, `seed=${seed}, run=${run}, i=${i}`);
      assert.equal(table.take(cells), full, `seed=${seed}, run=${run}, i=${i}`);
      if (full < 0) for (const model of models) model.take(clock.ns);
    }
  }
});

// An oracle that counts in fixed windows: the same at once, and within its first window never more than ours.
test('within a window no more is refused than rate-limiter-flexible does, and only what has come back passes beside', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const below = randomOf(seed);
  for (let run = 1; run <= 60; run += 1) {
    const limit = 1 + below(40);
    const windowS = [1, 7, 60][below(3)]!;
    const { clock, table } = tableAt();
    const oracle = new RateLimiterMemory({ points: limit, duration: windowS });
    const cells = [table.cell('name', { limit, windowS, burst: limit })];
    const { intervalNs } = cells[0]!;
    const begin = clock.ns;
    let [ours, theirs] = [0, 0];
    const both = async (): Promise<readonly [boolean, boolean]> => {
      const passes = table.take(cells) < 0;
      const counts = await oracle.consume('name').then(
        () => true,
        () => false,
      );
      ours += Number(passes);
      theirs += Number(counts);
      return [passes, counts];
    };
    // All at once: each verdict is theirs.
    for (let i = 0; i < limit + 3; i += 1) {
      const [passes, counts] = await both();
      assert.equal(passes, counts, `seed=${seed}, run=${run}, i=${i}`);
    }
    assert.equal(ours, limit);
    const steps = 50;
    for (let i = 1; i < steps; i += 1) {
      const stepMs = Math.floor((windowS * 1000) / steps);
      vi.advanceTimersByTime(stepMs);
      clock.ns += stepMs * 1e6;
      await both();
      const back = Math.floor((clock.ns - begin) / intervalNs);
      assert.ok(ours >= theirs && ours <= theirs + back, `seed=${seed}, run=${run}: ours=${ours}, theirs=${theirs}`);
    }
    // Whoever keeps to the rate is refused by neither.
    vi.advanceTimersByTime(2 * windowS * 1000);
    clock.ns += 2 * windowS * S;
    for (let i = 0; i < 2 * limit; i += 1) {
      assert.deepEqual(await both(), [true, true], `seed=${seed}, run=${run}, i=${i}`);
      const stepMs = Math.ceil(intervalNs / 1e6);
      vi.advanceTimersByTime(stepMs);
      clock.ns += stepMs * 1e6;
    }
  }
});

test('a window that refuses takes nothing from the others', () => {
  const { table } = tableAt();
  const wide = table.cell('wide', { limit: 10, windowS: 60, burst: 10 });
  const narrow = table.cell('narrow', { limit: 1, windowS: 60, burst: 1 });
  assert.equal(table.take([wide, narrow]), -1);
  for (let i = 0; i < 5; i += 1) assert.equal(table.take([wide, narrow]), 1);
  for (let i = 0; i < 9; i += 1) assert.equal(table.take([wide]), -1);
  assert.equal(table.take([wide]), 0);
});

test('what a raise tells counts, and never gives anything back', () => {
  const { clock, table } = tableAt();
  const cell = table.cell('name', { limit: 10, windowS: 10, burst: 10 });
  table.raise(cell, 8.5 * S);
  assert.equal(table.take([cell]), -1);
  table.raise(cell, 1);
  assert.equal(table.take([cell]), 0);
  assert.equal(table.aheadNs[0], 9.5 * S);
  clock.ns += 0.5 * S;
  assert.equal(table.take([cell]), -1);
});

test('a flood of ten million names keeps to its memory, and does not free who has used much', () => {
  const { table, clock } = tableAt(1 << 14);
  const mine = table.cell('user:1 3600', { limit: 100, windowS: 3600, burst: 100 });
  for (let i = 0; i < 100; i += 1) assert.equal(table.take([mine]), -1);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 10_000_000; i += 1) {
    clock.ns += 1000;
    // The hash is what tells names apart: the strings of ten million addresses would be the cost of this test.
    const cell: Cell = { lo: Math.imul(i, 0x9e3779b1), hi: i + 1, intervalNs: 0.6 * S, reachNs: 100 * 0.6 * S };
    if (table.take([cell]) !== -1) assert.fail(`refused: ${i}`);
  }
  assert.equal(table.take([mine]), 0);
  assert.ok(process.memoryUsage.rss() - before < 64 * 1024 * 1024);
});

/** Runs threads that take from one table until each has tried so often; returns how many passed, by thread. */
async function race(shared: SharedArrayBuffer, lists: readonly (readonly Cell[])[], tries: number): Promise<number[]> {
  const gate = new SharedArrayBuffer(4);
  const threads = lists.map(
    (cells) =>
      new Worker(new URL('gcra-thread.ts', import.meta.url), {
        workerData: { shared, cells, tries, gate, threads: lists.length },
      }),
  );
  return Promise.all(
    threads.map(
      (thread) =>
        new Promise<number>((resolve, reject) => {
          thread.once('message', resolve);
          thread.once('error', reject);
        }),
    ),
  );
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

test('four threads on one window pass exactly what is allowed', async () => {
  const shared = GcraTable.create(1024);
  const cell = new GcraTable(shared).cell('one', { limit: 3000, windowS: 1_000_000, burst: 3000 });
  assert.equal(sum(await race(shared, [[cell], [cell], [cell], [cell]], 20_000)), 3000);
});

test('four threads of two keys of one user pass exactly what is allowed to each and to all', async () => {
  for (let round = 0; round < 3; round += 1) {
    const shared = GcraTable.create(1024);
    const table = new GcraTable(shared);
    const window = (name: string, limit: number) => table.cell(name, { limit, windowS: 1_000_000, burst: limit });
    const user = [window('user minute', 5000), window('user hour', 4000)];
    const small = [window('small', 1500), ...user];
    const large = [window('large', 9000), ...user];
    const passed = await race(shared, [small, large, small, large], 20_000);
    assert.equal(sum(passed), 4000);
    assert.ok(passed[0]! + passed[2]! <= 1500);
    // Nothing that a refused request has taken is kept: what the windows hold is what has passed.
    assert.equal(table.look(user), 1);
    const left = (window: Cell, i: number): number =>
      Math.floor((window.reachNs - table.aheadNs[i]!) / window.intervalNs);
    assert.equal(left(user[0]!, 0), 1000);
  }
});
