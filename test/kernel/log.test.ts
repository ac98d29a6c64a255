import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'vitest';
import { ManualClock } from '../../src/kernel/clock.ts';
import { createLog, Transitions } from '../../src/kernel/log.ts';
import { readable } from '../../src/kernel/log-text.ts';

function recorded() {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  return { lines, log: createLog({ level: 'info', destination: 1, name: 'keeper', stream }) };
}

test('a line is JSON with level, time, pid and thread, and fields stand beside the sentence', () => {
  const { lines, log } = recorded();
  log.info({ sink: 'kafka', batch: 7 }, 'batch delivered');
  log.debug('not written at this level');
  assert.equal(lines.length, 1);
  const { time, ...line } = lines[0]!;
  assert.deepEqual(line, {
    level: 'info',
    pid: process.pid,
    name: 'keeper',
    sink: 'kafka',
    batch: 7,
    msg: 'batch delivered',
  });
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test('something that goes away and returns gives one line each, however often it is seen', () => {
  const { lines, log } = recorded();
  const clock = new ManualClock();
  const watch = new Transitions(log, { clock });
  for (let i = 0; i < 1_000; i += 1) watch.up('kafka', 'sink is back');
  for (let i = 0; i < 1_000; i += 1) {
    watch.down('kafka', 'sink went away', { sink: 'kafka', code: 'ECONNREFUSED' });
    clock.advance(100);
  }
  for (let i = 0; i < 1_000; i += 1) watch.up('kafka', 'sink is back', { sink: 'kafka' });
  assert.deepEqual(
    lines.map(({ level, msg, code, downMs }) => ({ level, msg, code, downMs })),
    [
      { level: 'warn', msg: 'sink went away', code: 'ECONNREFUSED', downMs: undefined },
      { level: 'info', msg: 'sink is back', code: undefined, downMs: 100_000 },
    ],
  );
});

test('something that flaps gives at most a line per quiet time, and the log ends with the truth', () => {
  const { lines, log } = recorded();
  const clock = new ManualClock();
  const watch = new Transitions(log, { clock, quietMs: 10_000 });
  for (let i = 0; i < 600; i += 1) {
    if (i % 2 === 0) watch.down('kafka', 'sink went away');
    else watch.up('kafka', 'sink is back');
    clock.advance(100);
  }
  assert.ok(lines.length >= 2 && lines.length <= 7, `${lines.length} lines in a minute of flapping`);
  assert.ok(lines.slice(1).some((line) => Number(line.changes) > 50));
  for (let i = 0; i < 200; i += 1) {
    watch.down('kafka', 'sink went away');
    clock.advance(100);
  }
  assert.equal(lines.at(-1)?.msg, 'sink went away');
});

test('a line that was held back is written by a look, and says how long the outage was and not how late the line is', () => {
  const { lines, log } = recorded();
  const clock = new ManualClock();
  const watch = new Transitions(log, { clock, quietMs: 10_000 });
  watch.down('kafka', 'sink went away');
  clock.advance(3000);
  watch.up('kafka', 'sink is back', { sink: 'kafka' });
  assert.equal(lines.length, 1, 'held back');
  for (let ms = 3000; ms < 60_000; ms += 500) {
    watch.look();
    clock.advance(500);
  }
  assert.deepEqual(
    lines.slice(1).map(({ msg, sink, downMs }) => ({ msg, sink, downMs })),
    [{ msg: 'sink is back', sink: 'kafka', downMs: 3000 }],
  );
});

test('keys do not know of each other, and their number is bounded', () => {
  const { lines, log } = recorded();
  const watch = new Transitions(log, { keysMax: 2 });
  watch.down('a', 'a went away');
  watch.down('b', 'b went away');
  assert.equal(lines.length, 2);
  assert.throws(() => watch.down('c', 'c went away'), /keys must be at most 2/);
});

// Goal: threads that log at once do not tear each other's lines. Method: a process with three threads writes 3,000 lines of up to
// 3 KB into one pipe; every line is read back as JSON and every one is there.
test('lines of several threads arrive whole', async () => {
  const module = JSON.stringify(new URL('../../src/kernel/log.ts', import.meta.url).href);
  const thread = `
    const { createLog } = await import(${module});
    const log = createLog({ level: 'info', destination: 1, name: workerData.name });
    for (let i = 0; i < 1_000; i += 1) log.info({ i, filler: 'x'.repeat((i * 37) % 3_000) }, 'a line');`;
  const source = `data:text/javascript,${encodeURIComponent(`import { workerData } from 'node:worker_threads';${thread}`)}`;
  const main = `
    const { Worker } = await import('node:worker_threads');
    for (const name of ['a', 'b', 'c']) new Worker(new URL(${JSON.stringify(source)}), { workerData: { name } });`;
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', main], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
  const lines = output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; i: number });
  const seen = new Set(lines.map(({ name, i }) => `${name}${i}`));
  assert.deepEqual([lines.length, seen.size], [3_000, 3_000]);
});

test('on a terminal a line is for people: time, level, thread, sentence, fields', () => {
  const line = {
    level: 'warn',
    time: '2026-11-28T21:55:06.031Z',
    pid: 7,
    name: 'sink-kafka',
    reason: 'connect ECONNREFUSED 127.0.0.1:9092',
    retries: 3,
    sink: 'kafka',
    msg: 'kafka accepts no events; retrying',
  };
  const plain = readable(JSON.stringify(line), false);
  assert.match(
    plain,
    /^\d\d:\d\d:06\.031 WARN {2}sink-kafka {2}kafka accepts no events; retrying {2}reason="connect ECONNREFUSED 127\.0\.0\.1:9092" retries=3 sink=kafka\n$/,
  );
  const coloured = readable(JSON.stringify(line), true);
  assert.equal(coloured.replaceAll(/\u001B\[\d+m/g, ''), plain);
  assert.notEqual(coloured, plain);
});
