import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'vitest';
import type { SinkBatch } from '../../src/delivery/contract.ts';
import { DeadLetterFile, deadLetterFiles } from '../../src/delivery/dead-letter.ts';
import { replay, summarize } from '../../src/delivery/dead-letter-replay.ts';
import { originOf } from '../../src/events/foreign.ts';
import { eventIdAt, eventIdTextAt, eventType, jsonLength, jsonStart, tsMsAt, uidOf } from '../../src/events/record.ts';
import { keyOf } from '../../src/events/record-key.ts';

function line(number: number, more = ''): string {
  const id = `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`;
  return `{"event_id":"${id}","ts":"2026-11-21T08:00:00.123Z","e":"na\\"me","uid":"u${number}","utm":{},"geo":{},"props":{"big":123456789012345678901234567890${more}}}`;
}

function folder(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'ringmain-replay-'));
  t.onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function fill(directory: string, from: number, to: number, fileBytesMax = 64 * 1024): void {
  const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a', fileBytesMax });
  for (let n = from; n < to; n += 1) {
    const reason = n % 2 === 0 ? 'even ,"event": odd' : 'odd';
    file.append([{ lane: '1-0', position: n * 64, reason, event: Buffer.from(line(n)) }]);
  }
  file.close();
}

/** A target that keeps what it is given and refuses the lines that `bad` says. */
function target(bad: (text: string) => boolean = () => false) {
  const lines: string[] = [];
  const batches: SinkBatch[] = [];
  return {
    lines,
    batches,
    write: async (batch: SinkBatch) => {
      const texts = Array.from({ length: batch.count }, (_, index) => {
        const start = jsonStart(batch.offsets[index]!);
        return batch.buffer.toString('utf8', start, start + jsonLength(batch.buffer, batch.offsets[index]!));
      });
      if (texts.some(bad)) throw new Error('bad row');
      batches.push({ ...batch, buffer: Buffer.from(batch.buffer) });
      lines.push(...texts);
    },
  };
}
const classify = () => 'split' as const;

test('a replay delivers every letter once, byte for byte, over files and runs', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 700, 40_000);
  assert.ok(deadLetterFiles(directory).length > 3);
  const first = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', target: first, classify }), { delivered: 700, refused: 0 });
  assert.deepEqual(
    first.lines,
    Array.from({ length: 700 }, (_, n) => line(n)),
  );
  assert.ok(
    first.batches.every(({ commit }) => !commit),
    'a replay moves no cursor',
  );
  fill(directory, 700, 720, 40_000);
  const second = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', target: second, classify }), { delivered: 20, refused: 0 });
  assert.deepEqual(
    second.lines,
    Array.from({ length: 20 }, (_, n) => line(700 + n)),
  );
});

test('the records are made as they lay in the lane', async (t) => {
  const directory = folder(t);
  fill(directory, 7, 8);
  const { batches, write } = target();
  await replay({ directory, sink: 'kafka', target: { write }, classify });
  const [{ buffer }] = batches as [SinkBatch];
  assert.equal(eventIdTextAt(buffer, 0).toString(), '01890000-0000-7000-8000-000000000007');
  assert.equal(eventIdAt(buffer, 0).toString('hex'), '01890000000070008000000000000007');
  assert.equal(tsMsAt(buffer, 0), Date.UTC(2026, 10, 21, 8, 0, 0, 123));
  assert.equal(eventType(buffer, 0), 'na"me');
  assert.equal(uidOf(buffer, 0), 'u7');
});

test('what is refused again, and what is no event, stays pending and is tried the next time', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 100);
  const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a' });
  file.append([{ lane: '1-0', position: 9999, reason: 'torn', event: Buffer.from('{"event_id":') }]);
  file.close();
  const bad = new Set([line(3), line(50), line(99)]);
  const first = target((text) => bad.has(text));
  assert.deepEqual(await replay({ directory, sink: 'kafka', target: first, classify }), { delivered: 97, refused: 4 });
  assert.equal(summarize(directory)[0]!.pending, 4);
  bad.delete(line(50));
  const second = target((text) => bad.has(text));
  assert.deepEqual(await replay({ directory, sink: 'kafka', target: second, classify }), { delivered: 1, refused: 3 });
  assert.deepEqual(second.lines, [line(50)]);
  const third = target();
  await replay({ directory, sink: 'kafka', target: third, classify });
  assert.deepEqual(third.lines, [line(3), line(99)]);
  assert.equal(summarize(directory)[0]!.pending, 1);
});

test('a target that stays away ends the replay, and the next one goes on behind what was delivered', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 1200);
  const { lines, write } = target();
  let calls = 0;
  const failing = async (batch: SinkBatch) => {
    calls += 1;
    if (calls > 1) throw new Error('away');
    await write(batch);
  };
  const options = { directory, sink: 'kafka', classify: () => 'retry' as const, attemptMs: 1 };
  await assert.rejects(replay({ ...options, target: { write: failing } }), /away/);
  assert.equal(calls, 6, 'five attempts');
  await replay({ ...options, target: { write } });
  assert.deepEqual(
    lines,
    Array.from({ length: 1200 }, (_, n) => line(n)),
  );
});

test('the list tells what lies there and why, torn lines included', (t) => {
  const directory = folder(t);
  fill(directory, 0, 5);
  appendFileSync(deadLetterFiles(directory)[0]!, '{"torn\n{"tail');
  const [summary] = summarize(directory, 'kafka');
  assert.equal(summary!.letters, 5);
  assert.equal(summary!.pending, 5);
  assert.equal(summary!.unreadable, 1);
  assert.deepEqual(summary!.reasons, [
    ['even ,"event": odd', 3],
    ['odd', 2],
  ]);
  assert.deepEqual(summarize(directory, 'postgres'), []);
});

test('a record of a topic comes back with its value, byte for byte, its key and its place; so does an event with a key', async (t) => {
  const directory = folder(t);
  const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a' });
  const values = ['not JSON "', '{"a":1}', '"a JSON string"', '12', '', 'null'];
  const keys = [undefined, Buffer.from('k "ä'), Buffer.from([0xff, 0, 0xfe]), Buffer.alloc(0), undefined, undefined];
  for (const [i, value] of values.entries()) {
    const key = keys[i];
    const letter = { lane: 'a/b-c/7', position: 100 + i, reason: 'no', event: Buffer.from(value) };
    file.append([key === undefined ? letter : { ...letter, key }]);
  }
  file.append([{ lane: '3-0', position: 64, reason: 'no', event: Buffer.from(line(1)), key: Buffer.from('customer') }]);
  file.close();
  const taken = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', target: taken, classify }), { delivered: 7, refused: 0 });
  assert.deepEqual(taken.lines, [...values, line(1)]);
  const [{ buffer, offsets, positions }] = taken.batches as [SinkBatch];
  for (const [i, key] of keys.entries()) {
    assert.deepEqual(keyOf(buffer, offsets[i]!), key);
    assert.deepEqual(originOf(buffer, offsets[i]!), { topic: 0, partition: 7, offset: 100 + i });
    assert.equal(positions[i], 100 + i);
  }
  assert.equal(keyOf(buffer, offsets[6]!)?.toString(), 'customer');
  assert.equal(eventIdTextAt(buffer, offsets[6]!).toString(), line(1).slice(13, 49));
});
