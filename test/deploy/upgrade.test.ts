/** UPGRADE.md, tried: unknown formats, a journal that is copied or read while it runs, a full journal and a full disk, a second process. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Collector, main } from '../servers/collector.ts';
import { runProgram, type TestScope } from '../servers/process.ts';
import { collectorEnv, collectorFolder, eventsIn, ringmain, startCollector } from './collector.ts';

const SINK = 21989;
const away = { OUTPUTS: 'log,http', HTTP_SINK_URL: `http://127.0.0.1:${SINK}/` };

test('a format that this version does not know is refused with exit 78, and nothing is touched', async (t) => {
  const folder = collectorFolder();
  const collector = await startCollector(t, { port: 21980, folder });
  await send(collector.url, 5);
  await collector.stop();
  const identity = join(folder, 'journal', 'log');
  writeFileSync(identity, readFileSync(identity, 'utf8').replace('"format":1', '"format":2'));
  const before = fingerprint(folder);
  await assert.rejects(
    runProgram('node', [main, 'pixel'], { cwd: folder, env: collectorEnv(folder, 21980, {}) }),
    /status=78[\s\S]*journal format must be 1/,
  );
  assert.deepEqual(fingerprint(folder), before);
  writeFileSync(identity, readFileSync(identity, 'utf8').replace('"format":2', '"format":1'));
  const again = await startCollector(t, { port: 21980, folder });
  await send(again.url, 1);
  await expect.poll(() => eventsIn(folder).length, { message: 'the events of before and after' }).toBe(6);
});

test('a second process on one journal exits 75, and the first goes on', async (t) => {
  const folder = collectorFolder();
  const collector = await startCollector(t, { port: 21981, folder });
  await assert.rejects(
    runProgram('node', [main, 'pixel'], { cwd: folder, env: collectorEnv(folder, 21982, {}) }),
    /status=75[\s\S]*is in use by another Ringmain/,
  );
  await send(collector.url, 1);
});

test('a journal copied after the stop goes on at its new place: what was owed arrives once, what was delivered does not come again', async (t) => {
  const old = collectorFolder();
  const collector = await startCollector(t, { port: 21983, folder: old, env: { ...away, DRAIN_TIMEOUT_MS: '500' } });
  const ids = await send(collector.url, 300);
  await expect.poll(() => eventsIn(old).length, { message: 'the file sink has all' }).toBe(300);
  await collector.stop();
  const copy = collectorFolder();
  cpSync(old, copy, { recursive: true, preserveTimestamps: true });
  rmSync(old, { recursive: true });

  const target = await startTarget(t);
  const moved = await startCollector(t, { port: 21984, folder: copy, env: away });
  ids.push(...(await send(moved.url, 10)));
  await expect.poll(() => target.received.length, { message: 'all at the target' }).toBeGreaterThanOrEqual(310);
  await expect.poll(() => eventsIn(copy).length, { message: 'all in the file' }).toBeGreaterThanOrEqual(310);
  assert.deepEqual(target.received.toSorted(), ids.toSorted());
  assert.deepEqual(
    eventsIn(copy)
      .map(({ event_id: id }) => id)
      .toSorted(),
    ids.toSorted(),
  );
});

test('journal cat reads a running journal', async (t) => {
  const collector = await startCollector(t, { port: 21985 });
  const ids = await send(collector.url, 50);
  const text = await ringmain(collector.folder, ['journal', 'cat']);
  const found = text.split('\n').filter((line) => line.startsWith('{"event_id"'));
  assert.deepEqual(
    found.map((line) => (JSON.parse(line) as { event_id: string }).event_id),
    ids,
  );
});

test('at a full journal requests are answered 429; when the sink is back intake goes on by itself and nothing is missing', async (t) => {
  const env = {
    ...away,
    JOURNAL_MAX_BYTES: '4MiB',
    SEGMENT_BYTES: '1MiB',
    RING_BYTES: '512KiB',
    MAX_BODY_BYTES: '64KiB',
    JOURNAL_RETAIN_MS: '0',
  };
  const collector = await startCollector(t, { port: 21986, env });
  const accepted = await fill(collector.url);
  const target = await startTarget(t);
  await expect
    .poll(
      async () => {
        const status = await one(collector.url, id(900_000));
        if (status === 202) accepted.push(id(900_000));
        return status === 202;
      },
      { message: 'taken again' },
    )
    .toBe(true);
  await expect
    .poll(() => new Set(target.received).size >= accepted.length, { message: 'all at the target' })
    .toBe(true);
  assert.deepEqual([...new Set(target.received)].sort(), accepted.sort());
});

test('on a full disk requests are answered 429; when there is room again intake goes on by itself and nothing is missing', async (t) => {
  const folder = collectorFolder();
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'ringmain-test', disk]);
  t.onTestFinished(async () => void (await runProgram('umount', ['-l', disk])));
  const env = {
    JOURNAL_DIR: join(disk, 'journal'),
    JOURNAL_MAX_BYTES: '64MiB',
    SEGMENT_BYTES: '1MiB',
    RING_BYTES: '512KiB',
    MAX_BODY_BYTES: '64KiB',
    ...away,
  };
  const collector = await startCollector(t, { port: 21987, folder, env });
  const accepted = await fill(collector.url);
  await runProgram('mount', ['-o', 'remount,size=32m', disk]);
  await expect
    .poll(
      async () => {
        const status = await one(collector.url, id(900_000));
        if (status === 202) accepted.push(id(900_000));
        return status === 202;
      },
      { message: 'taken again' },
    )
    .toBe(true);
  await expect.poll(() => eventsIn(folder).length >= accepted.length, { message: 'all in the file' }).toBe(true);
  assert.deepEqual(
    eventsIn(folder)
      .map((event) => event.event_id)
      .toSorted(),
    accepted.toSorted(),
  );
  await collector.stop();
});

// Goal: a full disk keeps nobody from delivering what the journal holds, and that makes the room for what comes.
// Method: the target is away until the disk is full to the last byte; JOURNAL_MAX_BYTES is not set, so it follows from what is free;
// kill -9, start, and nobody frees anything but the collector itself.
test('a restart on a full disk starts, answers 429, delivers its backlog, and takes events again by itself', async (t) => {
  const folder = collectorFolder();
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'ringmain-test', disk]);
  t.onTestFinished(async () => void (await runProgram('umount', ['-l', disk])));
  const env = { JOURNAL_DIR: join(disk, 'journal'), MAX_BODY_BYTES: '64KiB', ...away, JOURNAL_MAX_BYTES: '' };
  const collector = await startCollector(t, { port: 21998, folder, env });
  const accepted = await fill(collector.url);
  await collector.kill();
  assert.throws(() => writeFileSync(join(disk, 'ballast'), Buffer.alloc(8 * 2 ** 20)), { code: 'ENOSPC' });
  const alive = { port: 21998, folder, env: collectorEnv(folder, 21998, env), ready: '/healthz' };
  const again = await Collector.start(t, alive);
  accepted.push(...(await fill(again.url, 700_000)));
  assert.equal((await fetch(`${again.url}/readyz`)).status, 503);
  const target = await startTarget(t);
  const arrived = (): boolean => accepted.every((event) => target.received.includes(event));
  await expect.poll(arrived, { message: 'the backlog is delivered' }).toBe(true);
  for (let n = 0; n < 30; n += 1) {
    const taken = async (): Promise<boolean> => (await one(again.url, id(900_000 + n))) === 202;
    await expect.poll(taken, { message: 'taken again' }).toBe(true);
    accepted.push(id(900_000 + n));
  }
  await expect.poll(arrived, { message: 'and delivered' }).toBe(true);
  assert.equal((await fetch(`${again.url}/readyz`)).status, 200);
  assert.equal(new Set(target.received).size, accepted.length);
  await again.stop();
});

const id = (n: number) => `01930000-0000-7000-8000-${String(n).padStart(12, '0')}`;
let sequence = 0;

/** Sends so many pixels, one after the other; all must be taken. */
async function send(url: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, i) => id(sequence + i));
  sequence += count;
  for (const one of ids) {
    const response = await fetch(`${url}/px.gif?event_id=${one}`);
    await response.arrayBuffer();
    assert.equal(response.status, 200);
  }
  return ids;
}

/** One large event by /collect; the status. */
async function one(url: string, event: string): Promise<number> {
  const body = JSON.stringify({ event_id: event, e: 'large', props: { text: 'x'.repeat(20_000) } });
  const response = await fetch(`${url}/collect`, {
    method: 'POST',
    body,
    headers: { 'Content-Type': 'application/json' },
  });
  if (response.status === 429)
    assert.ok(Number(response.headers.get('retry-after')) > 0, '429 says when to come again');
  await response.arrayBuffer();
  return response.status;
}

/** Sends until nothing has been taken for a while; the ids that were. */
async function fill(url: string, first = 500_000): Promise<string[]> {
  const accepted: string[] = [];
  let refused = 0;
  for (let n = 0; refused < 50; n += 1) {
    assert.ok(n < 5000, 'the journal does not get full');
    const event = id(first + n);
    const status = await one(url, event);
    assert.ok(status === 202 || status === 429, `status ${status}`);
    if (status === 202) {
      accepted.push(event);
      refused = 0;
    } else {
      refused += 1;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return accepted;
}

/** The sink's target, from now on there. */
async function startTarget(t: TestScope): Promise<{ readonly received: string[] }> {
  const received: string[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      for (const line of Buffer.concat(chunks).toString().split('\n').filter(Boolean))
        received.push((JSON.parse(line) as { event_id: string }).event_id);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(SINK, '127.0.0.1', resolve));
  t.onTestFinished(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { received };
}

/** Content and time of every file, so that a touched one shows. */
function fingerprint(folder: string): string[] {
  return globSync('**/*', { cwd: folder })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort()
    .map((name) => {
      const path = join(folder, name);
      return `${name} ${statSync(path).mtimeMs} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`;
    });
}
