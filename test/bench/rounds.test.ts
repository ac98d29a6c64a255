import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { collectRequests, pixelRequests, rawRequest } from '../../native-bench/rig/request.ts';
import { disturbed, interleave, invalidReason, type Round } from '../../native-bench/rig/rounds.ts';
import { LineCounter } from '../../native-bench/rig/subject.ts';

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

test('a round in which somebody else worked is repeated for all contestants, and kept with a word in the end', async () => {
  const makeOnce = (name: string, noisyUntil: number) => {
    let calls = 0;
    const once = async (): Promise<Round> => {
      calls += 1;
      return {
        cpuUsPerEvent: calls,
        eventsPerSecond: 1,
        foreignCores: name === 'B' && calls <= noisyUntil ? 1.2 : 0.1,
      } as Round;
    };
    return { name, once };
  };
  Object.assign(disturbed, { repeated: 0, kept: 0 });
  const results = await interleave([makeOnce('A', 0), makeOnce('B', 2)], 3);
  assert.deepEqual(disturbed, { repeated: 2, kept: 0 });
  assert.deepEqual(
    results.get('A')!.map((one) => one.cpuUsPerEvent),
    [3, 4, 5],
    'the quiet A of a noisy round goes too',
  );

  Object.assign(disturbed, { repeated: 0, kept: 0 });
  await interleave([makeOnce('A', 0), makeOnce('B', 1000)], 3);
  assert.deepEqual(disturbed, { repeated: 3, kept: 3 }, 'it ends, and says so');
});
