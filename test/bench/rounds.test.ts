import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { collectRequests, pixelRequests, rawRequest } from '../../native-bench/rig/request.ts';
import { calm, clearMet, interleave, invalidReason, met, type Round } from '../../native-bench/rig/rounds.ts';
import { LineCounter } from '../../native-bench/rig/subject.ts';
import { roundsTable } from '../../native-bench/rig/table.ts';

test('a round is void when lines and answers differ, or when anything failed', () => {
  const reply = { answered: 100, refused: 0, failed: 0 };
  const single = { eventsPerRequest: 1, inFlightMax: 8 };
  assert.equal(invalidReason(reply, 100, single), undefined);
  assert.equal(invalidReason(reply, 108, single), undefined, 'what was under way when the generator hung up');
  assert.equal(invalidReason(reply, undefined, single), undefined, 'a floor that writes nothing');
  assert.match(invalidReason(reply, 99, single)!, /1 of 100 events are missing/);
  assert.match(invalidReason(reply, 109, single)!, /9 lines more/);
  assert.match(invalidReason({ ...reply, refused: 1 }, 100, single)!, /3xx/);
  assert.match(invalidReason({ ...reply, failed: 1 }, 100, single)!, /broken/);
  assert.match(invalidReason({ ...reply, sent: reply.answered + 2 }, 100, single)!, /2 were not answered/);
  assert.match(invalidReason({ ...reply, answered: 0 }, 0, single)!, /nothing/);
  assert.equal(invalidReason(reply, 2000, { eventsPerRequest: 20, inFlightMax: 0 }), undefined);
  assert.match(invalidReason(reply, 1999, { eventsPerRequest: 20, inFlightMax: 8 })!, /missing/);
});

test('lines are counted as a file grows and after it was replaced', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lines-'));
  t.onTestFinished(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'log');
  const counter = new LineCounter();
  assert.equal(counter.count([path]), 0);
  writeFileSync(path, 'a\nb\n');
  assert.equal(counter.count([path]), 2);
  appendFileSync(path, 'c\nhalf');
  assert.equal(counter.count([path]), 3);
  appendFileSync(path, `\n${'x\n'.repeat(700_000)}`);
  assert.equal(counter.count([path]), 700_004, 'over more than one buffer');
  renameSync(path, `${path}.1`);
  writeFileSync(path, 'new\n');
  assert.equal(counter.count([path]), 1);
});

test('rounds are interleaved: A B A B, not A A B B', async () => {
  const order: string[] = [];
  const round = { cpuUsPerEvent: 1, eventsPerSecond: 1, foreignCores: 0 } as Round;
  const contestants = ['A', 'B'].map((name) => ({
    name,
    once: async () => {
      order.push(name);
      return round;
    },
  }));
  const results = await interleave(contestants, 3);
  assert.equal(order.join(' '), 'A B A B A B');
  assert.equal(results.get('B')!.length, 3);
});

test('the pixel request is what the tables say: ten parameters, the headers of Chrome, different every time', () => {
  const requests = pixelRequests({ forwarded: true });
  const { path, headers } = requests[0]!;
  assert.equal([...new URL(path, 'http://x').searchParams].length, 10);
  assert.match(headers['Cookie']!, /sid=s_[0-9a-f]{32}/);
  assert.ok(headers['X-Forwarded-For'] && headers['Sec-Fetch-Dest'] && headers['Referer']);
  assert.equal(new Set(requests.map((request) => rawRequest(request).toString())).size, 1024);
  assert.equal(pixelRequests()[0]!.headers['X-Forwarded-For'], undefined);
  assert.deepEqual(pixelRequests({ forwarded: true }), requests, 'the same seed gives the same load');
});

test('a batch of 20 is about 8.7 KB and its length is announced', () => {
  const { body, headers } = collectRequests(20)[0]!;
  assert.equal(JSON.parse(body!).length, 20);
  assert.equal(Number(headers['Content-Length']), Buffer.byteLength(body!));
  assert.ok(Math.abs(body!.length - 8700) < 300, `bytes=${body!.length}`);
});

/** A contestant whose first rounds are disturbed; what it costs tells the rounds apart. */
function noisy(disturbance: Partial<Round>, rounds: number): { name: string; once(): Promise<Round> } {
  let calls = 0;
  return {
    name: disturbance.foreignCores || disturbance.steal ? 'B' : 'A',
    once: async () => {
      calls += 1;
      const calm = { cpuUsPerEvent: calls, eventsPerSecond: 1, foreignCores: 0.1, steal: 0, open: {} } as Round;
      return calls <= rounds ? { ...calm, ...disturbance } : calm;
    },
  };
}
const costs = (rounds: readonly Round[]): number[] => rounds.map((one) => one.cpuUsPerEvent);

test('a round in which somebody else worked is repeated for all contestants, and a row without rounds is left out', async () => {
  const foreign = { foreignCores: 1.2 };
  clearMet();
  const results = await interleave([noisy({}, 0), noisy(foreign, 2)], 3);
  assert.equal(met.foreign, 2);
  assert.deepEqual(costs(results.get('A')!), [3, 4, 5], 'the quiet A of a noisy round goes too');

  clearMet();
  const fewer = await interleave([noisy({}, 0), noisy(foreign, 3)], 3);
  assert.deepEqual(costs(fewer.get('B')!), [4, 5], 'nothing is left to repeat the third with: it is dropped');

  clearMet();
  const none = await interleave([noisy({}, 0), noisy(foreign, 1000)], 3);
  assert.deepEqual([met.foreign, none.get('A')], [5, []], 'it ends');
  assert.deepEqual(roundsTable(none).rows, [], 'and prints nothing that measured somebody else');
  assert.deepEqual([...met.rows], ['A', 'B'], 'but counts it');
});

test('a round from which the hypervisor took time is repeated, then counts for CPU but has no latencies', async () => {
  const stolen = { steal: 0.02 };
  clearMet();
  const some = await interleave([noisy({}, 0), noisy(stolen, 3)], 3);
  assert.equal(met.stolen, 3);
  assert.deepEqual(costs(some.get('B')!), [3, 4, 5]);
  assert.deepEqual(costs(calm(some.get('B')!)), [4, 5]);

  const all = await interleave([noisy({}, 0), noisy(stolen, 1000)], 3);
  assert.deepEqual([all.get('B')!.length, calm(all.get('B')!)], [3, []], 'fewer than half are none');
});
