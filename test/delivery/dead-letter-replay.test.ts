import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'vitest';
import type { SinkBatch, SinkTarget } from '../../src/delivery/contract.ts';
import { DeadLetterFile } from '../../src/delivery/dead-letter.ts';
import { deadLetterFiles } from '../../src/delivery/dead-letter-format.ts';
import { ReplayEnded, replay, summarize } from '../../src/delivery/dead-letter-replay.ts';
import { originOf } from '../../src/events/foreign.ts';
import {
  eventIdAt,
  eventIdTextAt,
  eventType,
  headOf,
  jsonLength,
  jsonStart,
  kindAt,
  receivedMsAt,
  sourceAt,
  tsMsAt,
  uidOf,
} from '../../src/events/record.ts';
import { keyOf } from '../../src/events/record-key.ts';
import { putServiceRecord } from '../../src/events/service-record.ts';

function line(number: number, more = ''): string {
  const id = `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`;
  return `{"event_id":"${id}","ts":"2026-11-21T08:00:00.123Z","e":"na\\"me","uid":"u${number}","utm":{},"geo":{},"props":{"big":123456789012345678901234567890${more}}}`;
}

/** In memory where there is such a place: a replay syncs before each request. */
function folder(t: TestContext): string {
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'ringmain-replay-'));
  t.onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function fill(directory: string, from: number, to: number, fileBytesMax = 64 * 1024): void {
  const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a', fileBytesMax });
  const letters = Array.from({ length: to - from }, (_, i) => {
    const n = from + i;
    const reason = n % 2 === 0 ? 'even ,"event": odd' : 'odd';
    return { lane: '1-0', position: n * 64, reason, event: Buffer.from(line(n)) };
  });
  for (let at = 0; at < letters.length; at += 20) file.append(letters.slice(at, at + 20));
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
const opens = (target: Pick<SinkTarget, 'write'>) => async () => ({ ...target, close: async () => undefined });

test('a replay delivers every letter once, byte for byte, over files and runs', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 700, 60_000);
  assert.ok(deadLetterFiles(directory).length > 3);
  const first = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(first), classify }), {
    delivered: 700,
    refused: 0,
  });
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
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(second), classify }), {
    delivered: 20,
    refused: 0,
  });
  assert.deepEqual(
    second.lines,
    Array.from({ length: 20 }, (_, n) => line(700 + n)),
  );
});

test('the records are made as they lay in the lane', async (t) => {
  const directory = folder(t);
  fill(directory, 7, 8);
  const { batches, write } = target();
  await replay({ directory, sink: 'kafka', open: opens({ write }), classify });
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
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(first), classify }), {
    delivered: 97,
    refused: 4,
  });
  assert.equal(summarize(directory)[0]!.pending, 4);
  bad.delete(line(50));
  const second = target((text) => bad.has(text));
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(second), classify }), {
    delivered: 1,
    refused: 3,
  });
  assert.deepEqual(second.lines, [line(50)]);
  const third = target();
  await replay({ directory, sink: 'kafka', open: opens(third), classify });
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
  await assert.rejects(replay({ ...options, open: opens({ write: failing }) }), /away/);
  assert.equal(calls, 6, 'five attempts');
  await replay({ ...options, open: opens({ write }) });
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
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(taken), classify }), {
    delivered: 7,
    refused: 0,
  });
  assert.deepEqual(taken.lines, [...values, line(1)]);
  const [{ buffer, offsets }] = taken.batches as [SinkBatch];
  for (const [i, key] of keys.entries()) {
    assert.deepEqual(keyOf(buffer, offsets[i]!), key);
    assert.deepEqual(originOf(buffer, offsets[i]!), { topic: 0, partition: 7, offset: 100 + i });
  }
  assert.equal(keyOf(buffer, offsets[6]!)?.toString(), 'customer');
  assert.equal(eventIdTextAt(buffer, offsets[6]!).toString(), line(1).slice(13, 49));
});

test('letters of two lives, or of two logs, at one position are two records with two names', async (t) => {
  const directory = folder(t);
  for (const [logId, life] of [
    ['a', 1],
    ['a', 2],
    ['b', 1],
  ] as const) {
    const file = new DeadLetterFile({ directory, sink: 'kafka', logId });
    const event = Buffer.from(line(logId === 'a' ? life : 3));
    assert.equal(file.append([{ lane: `${life}-0`, position: 40, reason: 'no', event }]), 1);
    file.close();
  }
  const letterNames = new Set<string>();
  const { lines, batches, write } = target();
  const alone = async (batch: SinkBatch) => {
    letterNames.add(batch.name!);
    if (batch.count > 1) throw new Error('bad row');
    await write(batch);
  };
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens({ write: alone }), classify }), {
    delivered: 3,
    refused: 0,
  });
  assert.deepEqual(lines, [line(1), line(2), line(3)]);
  assert.equal(new Set(batches.map(({ positions }) => positions[0])).size, 3, 'to a target they are three records');
  assert.equal(letterNames.size, 5, 'and each request has a name of its own');
});

// Goal: an event that a restored copy of the journal writes at a position that has a letter gets a letter too.
test('two events at one position of one lane are two letters', (t) => {
  const directory = folder(t);
  const options = { directory, sink: 'kafka', logId: 'a' };
  const letter = (n: number) => ({ lane: '1-0', position: 40, reason: 'no', event: Buffer.from(line(n)) });
  const written = [1, 2, 1, 2].map((n) => {
    const file = new DeadLetterFile(options);
    const count = file.append([letter(n)]);
    file.close();
    return count;
  });
  assert.deepEqual(written, [1, 1, 0, 0]);
});

test('as many letters as a group holds, refused once and then delivered, are done', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 500, 1 << 30);
  await replay({ directory, sink: 'kafka', open: opens(target(() => true)), classify });
  assert.equal(summarize(directory)[0]!.pending, 500);
  const second = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(second), classify }), {
    delivered: 500,
    refused: 0,
  });
  assert.equal(summarize(directory)[0]!.pending, 0);
  const third = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(third), classify }), {
    delivered: 0,
    refused: 0,
  });
  assert.deepEqual(third.lines, []);
});

// Goal: no letter is lost or loaded twice, wherever a replay is killed.
// Method: the target dies at its n-th request, before or after it has taken it, for every n; nothing of the replay is
// used again but what is on disk. A few letters are refused, so that groups are halved. One target keeps a cursor, as
// Postgres does; the other knows requests by their name, as a receiver of HTTP may.
for (const [how, keepsCursor] of [
  ['cursor', true],
  ['name', false],
] as const)
  test(`a replay that is killed at any request, before or behind it, sends each letter once: by ${how}`, async (t) => {
    const bad = new Set([line(3), line(6), line(7), line(11)]);
    const good = Array.from({ length: 12 }, (_, n) => line(n)).filter((text) => !bad.has(text));
    const directory = folder(t);
    let [most, requests, round] = [0, 1, 0];
    for (; requests >= 1 + (round >> 1); round += 1) {
      const [deadly, taken] = [1 + (round >> 1), round % 2 === 1];
      rmSync(directory, { recursive: true });
      fill(directory, 0, 12);
      const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a' });
      file.append([{ lane: '1-0', position: 9999, reason: 'torn', event: Buffer.from('{"event_id":') }]);
      file.close();
      const cursors = new Map<string, number>();
      const names = new Set<string>();
      const inner = target((text) => bad.has(text));
      let deaths = 0;
      requests = 0;
      const die = () => {
        deaths += 1;
        throw new Error('killed');
      };
      const open = async (source: string) => ({
        ...(keepsCursor && {
          cursors: async () => new Map([['0-0', { position: cursors.get(source) ?? 0, record: 0 }]]),
        }),
        write: async (batch: SinkBatch) => {
          requests += 1;
          // The second death hits a replay that goes on.
          const dies = requests === deadly || requests === deadly + 2;
          if (dies && !taken) die();
          assert.equal(batch.commit, keepsCursor);
          if (keepsCursor) assert.equal(batch.from.position, cursors.get(source) ?? 0);
          try {
            if (keepsCursor || !names.has(batch.name!)) await inner.write(batch);
            names.add(batch.name!);
            cursors.set(source, batch.to.position);
          } finally {
            if (dies) die(); // an answer that is lost, whatever it was
          }
        },
        close: async () => undefined,
      });
      const verdict = (error: unknown) => ((error as Error).message === 'killed' ? 'stop' : 'split');
      const total = { delivered: 0, refused: 0 };
      for (let done = false; !done; ) {
        try {
          const { delivered } = await replay({ directory, sink: 'kafka', open, classify: verdict });
          total.delivered += delivered;
          done = true;
        } catch (error) {
          assert.ok(error instanceof ReplayEnded && error.message === 'killed', String(error));
          total.delivered += error.replayed.delivered;
        }
      }
      const what = `request ${deadly} dies ${taken ? 'behind' : 'before'}`;
      assert.deepEqual(inner.lines.toSorted(), good, what);
      assert.equal(total.delivered, good.length, what);
      assert.equal(summarize(directory)[0]!.pending, bad.size + 1, what);
      most = Math.max(most, deaths);
    }
    assert.equal(most, 2, 'a replay that goes on is killed, too');
    assert.ok(round > 30, `the group was halved: rounds=${round}`);
  });

test('files and marks of older versions go on: what is done stays done, what was refused is tried', async (t) => {
  const directory = folder(t);
  const old = (n: number) =>
    `{"sink":"kafka","log":"a","lane":"1-0","position":${n},"time":"2026-11-21T08:00:00.000Z","reason":"r","event":${line(n)}}\n`;
  const path = `${directory}/kafka-000001.ndjson`;
  writeFileSync(path, [0, 1, 2, 3].map(old).join(''));
  const width = Buffer.byteLength(old(0));
  writeFileSync(`${path}.replayed`, JSON.stringify({ to: 3 * width, again: [width] }));
  assert.equal(summarize(directory)[0]!.pending, 2);
  const first = target();
  await replay({ directory, sink: 'kafka', open: opens(first), classify });
  assert.deepEqual(first.lines, [line(1), line(3)]);
  assert.equal(summarize(directory)[0]!.pending, 0);
});

test('the mark of a file that is gone says nothing about the next file of its name', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 10);
  await replay({ directory, sink: 'kafka', open: opens(target()), classify });
  rmSync(deadLetterFiles(directory)[0]!);
  fill(directory, 10, 30);
  assert.equal(summarize(directory)[0]!.pending, 20);
  const second = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens(second), classify }), {
    delivered: 20,
    refused: 0,
  });
});

test('the record of a service, and what an event came by and when, come back as they were', async (t) => {
  const directory = folder(t);
  const text = Buffer.from('{"order":7}');
  const key = Buffer.from('customer');
  const record = Buffer.alloc(256);
  putServiceRecord(record, 0, { kind: 17, key, line: text, receivedMs: 1234 });
  const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a' });
  file.append([{ lane: '1-0', position: 8, reason: 'no', event: text, head: headOf(record, 0), key }]);
  const event = Buffer.alloc(64);
  event.writeUInt16LE(1, 4);
  event.writeUInt32LE(3, 8);
  event.writeDoubleLE(5678, 16);
  file.append([{ lane: '1-0', position: 256, reason: 'no', event: Buffer.from(line(1)), head: event }]);
  file.close();
  const { batches, write } = target();
  assert.deepEqual(await replay({ directory, sink: 'kafka', open: opens({ write }), classify }), {
    delivered: 2,
    refused: 0,
  });
  const [{ buffer, offsets }] = batches as [SinkBatch];
  const again = buffer.subarray(0, offsets[1]);
  assert.deepEqual(again, record.subarray(0, again.length));
  assert.equal(kindAt(buffer, offsets[1]!), 1);
  assert.equal(sourceAt(buffer, offsets[1]!), 3);
  assert.equal(receivedMsAt(buffer, offsets[1]!), 5678);
  assert.equal(uidOf(buffer, offsets[1]!), 'u1');
});

test('a value that is no UTF-8, or holds newlines, is one line of the file and comes back byte for byte', async (t) => {
  const directory = folder(t);
  const values = [
    Buffer.from([0xff, 0x00, 0xfe]),
    Buffer.from([0xf0, 0x9f, 0x98]), // decodes to as many bytes as it has
    Buffer.from('{"a":\n1}'),
    Buffer.from('two\nlines\r\n'),
    Buffer.from('\ufeff{"a":1}'),
    Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc3]), Buffer.from('"}')]),
  ];
  const file = new DeadLetterFile({ directory, sink: 'kafka', logId: 'a' });
  file.append(values.map((event, i) => ({ lane: 'topic/0', position: i, reason: 'one\ntwo', event })));
  file.close();
  assert.equal(summarize(directory)[0]!.letters, values.length);
  const bytes: Buffer[] = [];
  const write = async ({ buffer, offsets, count }: SinkBatch) => {
    for (let i = 0; i < count; i += 1) {
      const start = jsonStart(offsets[i]!);
      bytes.push(Buffer.from(buffer.subarray(start, start + jsonLength(buffer, offsets[i]!))));
    }
  };
  await replay({ directory, sink: 'kafka', open: opens({ write }), classify });
  assert.deepEqual(bytes, values);
});

// Goal: two replays of a sink do not send the same letters. Method: another process holds the lock of the first, and nothing
// in it refers to that any more.
test('a second replay of the same sink is refused as long as the first one lives, and names its process', async (t) => {
  const directory = folder(t);
  fill(directory, 0, 3);
  const lock = `${directory}/kafka.replay-lock`;
  writeFileSync(lock, '');
  const code = `import { lockFile } from './src/kernel/file-lock.ts'; lockFile('${lock}'); gc(); console.log('locked'); setInterval(() => {}, 1e6);`;
  const first = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', code], {
    cwd: join(import.meta.dirname, '..', '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = once(first, 'exit');
  t.onTestFinished(() => void first.kill('SIGKILL'));
  await once(first.stdout, 'data');
  const { lines, write } = target();
  const options = { directory, sink: 'kafka', open: opens({ write }), classify };
  await assert.rejects(
    replay(options),
    new RegExp(`another replay of this sink is running: sink=kafka, found=process ${first.pid}`),
  );
  assert.deepEqual(lines, []);
  first.kill('SIGKILL');
  await gone;
  assert.deepEqual(await replay(options), { delivered: 3, refused: 0 });
});
