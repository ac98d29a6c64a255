/**
 * Goal: a consumer that is killed at any moment loses no record (L4).
 * Method: kill -9 a real process that takes a topic to a file, again and again while it delivers; then let it end and compare the file with
 * what was produced.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { type KafkaCluster, startKafka } from '../servers/kafka.ts';
import { fileScope } from '../servers/scope.ts';
import { committed, makeTopic, produce, until } from './members.ts';

const file = fileScope();
let kafka: KafkaCluster;
beforeAll(async () => {
  kafka = await startKafka(file, { port: 21720, properties: { 'group.min.session.timeout.ms': 1000 } });
});

test('a consumer that is killed while it delivers loses nothing, and repeats only what had no checkpoint', async () => {
  const brokers = kafka.brokers.join(',');
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-consumer-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  await makeTopic(brokers, 'crash', 3);
  const start = (): ChildProcess => {
    const script = join(import.meta.dirname, 'consumer-process.ts');
    return spawn(process.execPath, [script, brokers, 'crash', 'crash', folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  };
  const said = async (child: ChildProcess, word: string): Promise<void> => {
    for await (const chunk of child.stdout!.iterator({ destroyOnReturn: false }))
      if (String(chunk).split('\n').includes(word)) return;
    throw new Error(`the process has not said ${word}`);
  };
  const lines = () => readFileSync(join(folder, 'out.ndjson'), 'utf8').split('\n').filter(Boolean);
  let sent = 0;
  for (let kills = 0; kills < 4; kills++) {
    await produce(brokers, 'crash', sent, sent + 3000, 3);
    sent += 3000;
    const child = start();
    onTestFinished(() => void child.kill('SIGKILL'));
    await said(child, 'delivering');
    // In the middle of a second, so that the last checkpoint lies behind what is delivered.
    await sleep(150 * kills);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  const last = start();
  onTestFinished(() => void last.kill('SIGKILL'));
  // Now the file is cut to its checkpoint.
  await said(last, 'joined');
  await until('every record is there', () => new Set(lines()).size === sent, 60_000);
  last.stdin!.end('\n');
  const [code] = (await once(last, 'exit')) as [number];
  expect(code).toBe(0);
  const values = Array.from({ length: sent }, (_, n) => `{"n":${n}}`);
  const found = lines();
  const there = new Set(found);
  assert.deepEqual(values.filter((value) => !there.has(value)).slice(0, 5), []);
  expect(there.size).toBe(sent);
  // The file is cut to its checkpoint; only what was checkpointed and not committed may stand twice.
  const twice = found.length - sent;
  assert.ok(twice < sent / 2, `${twice} of ${sent} stand twice`);
  expect([...(await committed(brokers, 'crash', 'crash')).values()]).toEqual([4000, 4000, 4000]);
});
