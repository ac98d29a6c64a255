/** Counters of quotas in shared memory: months, threads, what is stored and what others have used. */
import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { test } from 'vitest';
import type { GatewayUser, Quota } from '../../../src/gateway/model.ts';
import type { QuotaRefusal, Reservation } from '../../../src/gateway/quota/quotas.ts';
import { SharedQuotas } from '../../../src/gateway/quota/shared-quotas.ts';
import { StoredUsage, takeTotal } from '../../../src/gateway/quota/stored-usage.ts';
import { monthOf, UsageTable } from '../../../src/gateway/quota/usage-table.ts';

const userWith = (quota: Quota, id = 17): GatewayUser => ({
  id,
  username: 'ada',
  email: 'ada@example.com',
  active: true,
  rates: {},
  networks: [],
  quota,
});

const life = { life: 3, lifeId: '00000000000000aa' };
const batch = (from: number, to: number, ofLife = life) => ({
  lane: { ...ofLife, lane: 0 },
  from: { position: from, record: from },
  to: { position: to, record: to },
});

function quotasAt(iso: string, known = true) {
  const shared = UsageTable.create();
  const clock = { ms: Date.parse(iso) };
  const table = new UsageTable(shared);
  if (known) table.setKnown();
  return { shared, clock, table, quotas: new SharedQuotas(shared, () => clock.ms) };
}

const reserved = (found: Reservation | QuotaRefusal | undefined): Reservation => {
  assert.ok(found !== undefined && !('which' in found), JSON.stringify(found));
  return found;
};
const refused = (found: Reservation | QuotaRefusal | undefined): QuotaRefusal => {
  assert.ok(found !== undefined && 'which' in found, JSON.stringify(found));
  return found;
};

test('a request counts from its reservation on, and one that is cancelled does not', () => {
  const { quotas } = quotasAt('2026-11-30T10:00:00Z');
  const user = userWith({ monthlyRequests: 2, monthlyBytes: 100 });
  const first = reserved(quotas.reserve(user));
  const second = reserved(quotas.reserve(user));
  assert.deepEqual(refused(quotas.reserve(user)), {
    which: 'requests',
    limit: 2,
    used: 2,
    resetAtMs: Date.parse('2026-12-01T00:00:00Z'),
  });
  quotas.cancel(first);
  const third = reserved(quotas.reserve(user));
  quotas.settle(second, 60);
  quotas.settle(third, 60);
  // Bytes are known when a request has ended, so the one that goes beyond was let pass.
  const { which, used } = refused(quotas.reserve(userWith({ monthlyRequests: 9, monthlyBytes: 100 })));
  assert.deepEqual({ which, used }, { which: 'bytes', used: 120 });
  assert.deepEqual(quotas.used(17, monthOf(Date.parse('2026-11-02'))), { requests: 2, bytes: 120 });
});

test('a month begins at midnight of UTC with nothing, and the last one is still settled', () => {
  const { quotas, clock, table } = quotasAt('2026-12-31T23:59:59.999Z');
  const user = userWith({ monthlyRequests: 1 });
  const last = reserved(quotas.reserve(user));
  assert.equal(refused(quotas.reserve(user)).resetAtMs, Date.parse('2027-01-01T00:00:00Z'));
  clock.ms += 1;
  assert.equal(reserved(quotas.reserve(user)).month, last.month + 1);
  refused(quotas.reserve(user));
  quotas.settle(last, 500);
  const bank = table.bank(table.slot(17)!, last.month)!;
  assert.equal(table.get(bank, 'ownBytes'), 500);
  // Somebody has set the clock back: the month before is as it was.
  clock.ms -= 1;
  refused(quotas.reserve(user));
  clock.ms = Date.parse('2027-02-01T00:00:00Z');
  reserved(quotas.reserve(user));
  assert.equal(table.bank(table.slot(17)!, last.month), undefined);
});

test('until what was used is known, users with a quota wait, and others do not', () => {
  const { quotas, table } = quotasAt('2026-11-30T10:00:00Z', false);
  assert.equal(quotas.reserve(userWith({ monthlyBytes: 5 })), undefined);
  reserved(quotas.reserve(userWith({})));
  table.setKnown();
  // What was counted meanwhile is counted.
  assert.equal(refused(quotas.reserve(userWith({ monthlyRequests: 1 }))).used, 1);
});

test('what is stored counts once, whatever becomes of its commit', () => {
  const { quotas, shared, table } = quotasAt('2026-11-30T10:00:00Z');
  const month = monthOf(Date.parse('2026-11-30'));
  const user = userWith({ monthlyRequests: 100 });
  const stored = new StoredUsage(shared, life);
  const delta = (requests: number) => [{ userId: 17, month, requests, bytes: 10 * requests }];
  const serve = (count: number) => {
    for (let i = 0; i < count; i += 1) quotas.settle(reserved(quotas.reserve(user)), 10);
  };
  const used = () => quotas.used(17, month)!.requests;
  serve(10);
  stored.begin(batch(0, 100), delta(4));
  assert.equal(used(), 10);
  // The database has 6 of others, beside our 4.
  stored.stored(delta(10));
  assert.equal(used(), 16);

  // A try that has failed comes again, in halves.
  stored.begin(batch(100, 200), delta(6));
  stored.failed();
  stored.begin(batch(100, 150), delta(2));
  stored.stored(delta(12));
  assert.equal(used(), 16);
  // The answer to this commit is lost; the next batch begins behind it, so it was one.
  stored.begin(batch(150, 200), delta(4));
  stored.failed();
  const slot = table.slot(17)!;
  const { endedWrites } = table;
  assert.equal(table.quietSince(slot, endedWrites), false, 'no total can be told apart now');
  serve(1);
  stored.begin(batch(200, 300), delta(1));
  stored.stored(delta(17));
  assert.equal(used(), 17);
  assert.equal(table.quietSince(slot, endedWrites), false, 'a write has ended since');
  assert.equal(table.quietSince(slot, table.endedWrites), true);

  // Records of an earlier life were not counted here: they are others'.
  stored.begin(batch(0, 50, { ...life, life: 2 }), delta(3));
  stored.stored(delta(20));
  assert.equal(used(), 20);
  // An older figure changes nothing.
  takeTotal(table, delta(18)[0]!);
  assert.equal(used(), 20);
  takeTotal(table, delta(25)[0]!);
  assert.equal(used(), 25);
  assert.equal(quotas.used(17, month)!.bytes, 250);
});

test('the table grows with its users, and each has one slot in all threads', async () => {
  const { shared, quotas } = quotasAt('2026-11-30T10:00:00Z');
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const { SharedQuotas } = await import(workerData.module);
      const quotas = new SharedQuotas(workerData.shared, () => workerData.ms);
      let passed = 0;
      for (let round = 0; round < 4; round += 1)
        for (let id = 1; id <= 12000; id += 1)
          if ('month' in quotas.reserve({ id, quota: { monthlyRequests: 5 } })) passed += 1;
      parentPort.postMessage(passed);
    })();`;
  const module = new URL('../../../src/gateway/quota/shared-quotas.ts', import.meta.url).href;
  const ms = Date.parse('2026-11-30T10:00:00Z');
  const threads = Array.from(
    { length: 3 },
    () => new Worker(source, { eval: true, workerData: { shared, module, ms } }),
  );
  const passed = await Promise.all(
    threads.map(
      (thread) =>
        new Promise<number>((resolve, reject) => {
          thread.once('message', resolve);
          thread.once('error', reject);
        }),
    ),
  );
  assert.equal(
    passed.reduce((sum, one) => sum + one, 0),
    5 * 12_000,
  );
  assert.equal(refused(quotas.reserve(userWith({ monthlyRequests: 5 }, 12_000))).used, 5);
  // Each thread may be left with one slot that it took for a user whom another put in first.
  const { users } = new UsageTable(shared);
  assert.ok(users >= 12_000 && users <= 12_003, `${users} slots`);
});
