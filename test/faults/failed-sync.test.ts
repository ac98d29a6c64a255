/**
 * Goal: a disk that fails an fdatasync in the real process: nothing that was acknowledged is lost, nothing is doubled, and who has to know knows.
 * Method: a module that every thread loads first wraps fs.fdatasyncSync and fs.writeSync; while a sign is there, calls for the files it
 * names fail with EIO, as often as it says.
 */
import assert from 'node:assert/strict';
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, type TestContext, test } from 'vitest';
import { Collector, temporary } from '../servers/collector.ts';
import { Client, linesOf, Oracle, sendOne } from './load.ts';

const PORT = 21_870;

interface Stage {
  readonly path: string;
  readonly oracle: Oracle;
  start(ack: string): Promise<Collector>;
  /** From now on `times` syncs (or writes) of files whose path matches fail, for ever when infinite; with `once`, as soon as a file of that name is there. */
  fail(pattern: string, times: number, call?: 'fdatasyncSync' | 'writeSync', once?: string): void;
  /** How many failures are still to come; 0 when none. */
  failing(): boolean;
  heal(): void;
}

function stage(t: TestContext): Stage {
  const folder = temporary(t);
  const sign = join(folder, 'sign');
  const hook = join(folder, 'hook.mjs');
  writeFileSync(
    hook,
    `import fs from 'node:fs';
     import { syncBuiltinESMExports } from 'node:module';
     const { existsSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } = fs;
     const put = (text) => {
       // Other threads read it meanwhile: never half of it.
       const half = '${sign}.' + Math.random();
       writeFileSync(half, text);
       renameSync(half, '${sign}');
     };
     for (const name of ['fdatasyncSync', 'writeSync']) {
       const real = fs[name];
       fs[name] = (fd, ...rest) => {
         if (existsSync('${sign}')) {
           const { call, pattern, times, once } = JSON.parse(readFileSync('${sign}', 'utf8'));
           const meant = call === name && new RegExp(pattern).test(readlinkSync('/proc/self/fd/' + fd));
           if (meant && (once === undefined || existsSync(once))) {
             if (times > 1) put(JSON.stringify({ call, pattern, times: times - 1, once }));
             else if (times !== null) rmSync('${sign}');
             throw Object.assign(new Error('EIO: i/o error, ' + name), { code: 'EIO' });
           }
         }
         return real(fd, ...rest);
       };
     }
     syncBuiltinESMExports();`,
  );
  return {
    path: join(folder, 'events.ndjson'),
    oracle: new Oracle(),
    async start(ack) {
      const collector = new Collector(t, {
        port: PORT,
        folder,
        env: {
          NODE_OPTIONS: `--import=${hook}`,
          ACK: ack,
          COOKIES: 'off',
          LOG_PATH: 'events.ndjson',
          RING_BYTES: '1MiB',
          SEGMENT_BYTES: '1MiB',
          JOURNAL_MAX_BYTES: '64MiB',
          MAX_BODY_BYTES: '32k',
          MAX_EVENT_BYTES: '16k',
        },
      });
      await collector.start();
      return collector;
    },
    fail: (pattern, times, call = 'fdatasyncSync', once = undefined) =>
      writeFileSync(sign, JSON.stringify({ call, pattern, times, once })),
    failing: () => existsSync(sign),
    heal: () => rmSync(sign, { force: true }),
  };
}

async function arrived({ oracle, path }: Stage): Promise<void> {
  await expect
    .poll(
      () => existsSync(path) && linesOf(path).length >= oracle.owed.size && oracle.verify(linesOf(path), true) === 0,
      { message: 'everything owed is in the file' },
    )
    .toBe(true);
  oracle.verify(linesOf(path));
}

const SEGMENTS = '/lanes/[^/]+/[0-9]+-[0-9]+\\.seg$';

for (const ack of ['sync', 'journal'])
  test(`one failed fdatasync of a segment under ACK=${ack}: the lane starts over, all is kept, across a SIGKILL too`, async (t) => {
    const s = stage(t);
    const collector = await s.start(ack);
    await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
    const clients = Array.from({ length: 8 }, () => new Client(s.oracle, PORT));
    for (let i = 0; i < 3; i++) {
      await sleep(150);
      s.fail(SEGMENTS, 1);
      await expect.poll(() => !s.failing(), { message: 'it has failed' }).toBe(true);
      const before = s.oracle.owed.size;
      await expect
        .poll(() => s.oracle.owed.size > before + 20, { message: 'events are acknowledged again' })
        .toBe(true);
    }
    assert.match(collector.log, /fdatasync failed; rewriting the unsynced part of the lane/);
    await collector.kill('SIGKILL');
    for (const client of clients) client.cut();
    const next = await s.start(ack);
    await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
    await arrived(s);
    assert.equal(await next.kill('SIGTERM'), 0);
  });

// worldmonitor#5715: the monitor was green while every POST got a 500.
test('worldmonitor#5715: a disk that fails every fdatasync: 503 with a reason, /readyz red, delivery goes on, and a start on a healed disk has it all', async (t) => {
  const s = stage(t);
  const collector = await s.start('journal');
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  const clients = Array.from({ length: 4 }, () => new Client(s.oracle, PORT));
  await sleep(200);
  s.fail(SEGMENTS, Number.POSITIVE_INFINITY);
  await expect.poll(() => s.oracle.refused.get(503) ?? 0, { message: 'intake has ended' }).toBeGreaterThan(20);
  await Promise.all(clients.map((client) => client.finish()));
  const ready = await collector.ready('?sinks=ignore');
  assert.equal(ready.status, 503);
  assert.match(ready.text, /journal/);
  await arrived(s);
  await collector.kill('SIGKILL');
  s.heal();
  const next = await s.start('journal');
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  await arrived(s);
  assert.equal(await next.kill('SIGTERM'), 0);
});

test('a failed fdatasync of the log file: the sink starts over from its checkpoint, every line stands there once', async (t) => {
  const s = stage(t);
  const collector = await s.start('journal');
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  const clients = Array.from({ length: 4 }, () => new Client(s.oracle, PORT, 1, 1));
  for (let i = 0; i < 2; i++) {
    await sleep(300);
    s.fail('events\\.ndjson$', 1);
    await expect.poll(() => !s.failing(), { message: 'it has failed' }).toBe(true);
  }
  await Promise.all(clients.map((client) => client.finish()));
  await arrived(s);
  assert.match(collector.log, /the log file cannot be synced/);
  await expect.poll(async () => (await collector.ready()).status, { message: 'the sink is up' }).toBe(200);
  assert.equal(await collector.kill('SIGTERM'), 0);
  s.oracle.verify(linesOf(s.path));
});

// The lines once went into the new file at once; a kill before its checkpoint wrote them a second time.
test('SIGHUP after logrotate while checkpoints cannot be written: the new file takes nothing, and after a SIGKILL every line is there once', async (t) => {
  const s = stage(t);
  const collector = await s.start('journal');
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  const first = new Client(s.oracle, PORT, 1, 1);
  await sleep(200);
  await first.finish();
  await arrived(s);
  renameSync(s.path, s.path.replace('.ndjson', '-moved.ndjson'));
  // The checkpoint before the file is opened anew is written; the one after it is not.
  s.fail('/log\\.checkpoint$', Number.POSITIVE_INFINITY, 'writeSync', s.path);
  void collector.kill('SIGHUP');
  await expect.poll(() => existsSync(s.path), { message: 'the name has a file again' }).toBe(true);
  const clients = Array.from({ length: 4 }, () => new Client(s.oracle, PORT, 1, 1));
  const owed = s.oracle.owed.size;
  await expect
    .poll(async () => /"part":"log","reason":"[^"]*EIO/.test((await collector.ready()).text), {
      message: 'readiness says why nothing is written',
    })
    .toBe(true);
  await expect.poll(() => s.oracle.owed.size > owed + 100, { message: 'intake goes on' }).toBe(true);
  assert.equal(statSync(s.path).size, 0);
  await collector.kill('SIGKILL');
  for (const client of clients) client.cut();
  s.heal();
  const next = await s.start('journal');
  await expect.poll(() => sendOne(s.oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
  await arrived(s);
  assert.equal(await next.kill('SIGTERM'), 0);
});
