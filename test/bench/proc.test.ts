import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'vitest';
import {
  between,
  ownCpuUs,
  parseMachine,
  parseStat,
  processTree,
  treeCpuUs,
  treeRssMiB,
  usPerTick,
} from '../../native-bench/rig/proc.ts';

test('a stat line is read by its columns, also when the name holds spaces and parentheses', () => {
  const line =
    '4242 (node (a) b) S 17 4242 1 0 -1 4194560 100 200 0 0 1500 250 30 4 20 0 11 0 5000 100000 2000 18446744073709551615 1 1';
  assert.deepEqual(parseStat(line), { pid: 4242, parent: 17, ticks: 1750, childTicks: 34, threads: 11 });
});

test('machine time separates busy, idle and stolen', () => {
  const before = parseMachine('cpu  100 0 50 1000 10 0 5 7 0 0\ncpu0 ...');
  assert.deepEqual(before, { busyUs: 155 * usPerTick(), idleUs: 1010 * usPerTick(), stealUs: 7 * usPerTick() });
  const after = parseMachine('cpu  130 0 60 1040 10 0 5 27 0 0');
  assert.deepEqual(between(before, after), { busy: 0.4, steal: 0.2 });
});

// Goal: the CPU of a server is counted with all its threads and child processes, those that ended included.
// Method: a parent that burns nothing runs a child with a busy thread, waits for it, then burns in a grandchild that lives.
test('CPU is counted over threads, children and ended children', async (t) => {
  const burn = `const spent = () => process.cpuUsage().user; const end = spent() + 300_000; while (spent() < end);`;
  const program = `
    const { spawn, spawnSync } = require('node:child_process');
    const { Worker } = require('node:worker_threads');
    spawnSync(process.execPath, ['-e', ${JSON.stringify(burn)}]);
    new Worker(${JSON.stringify(burn)}, { eval: true }).once('exit', () => {
      const child = spawn(process.execPath, ['-e', ${JSON.stringify(`${burn} console.log('done'); setInterval(() => {}, 1000)`)}], { stdio: ['ignore', 'inherit', 'inherit'] });
      process.on('SIGTERM', () => { child.kill(); process.exit(); });
    });
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.onTestFinished(() => void child.kill('SIGTERM'));
  await once(child.stdout, 'data');
  assert.equal(processTree(child.pid!).length, 2);
  const cpuMs = treeCpuUs(child.pid!) / 1000;
  assert.ok(cpuMs > 600, `three burners of 300 ms must be seen: cpuMs=${cpuMs}`);
  assert.ok(treeRssMiB(child.pid!) > 60, 'two Node processes are larger than this');
});

test('the own cost holds the ended children, which is how the load generator is told from the server', async () => {
  const before = ownCpuUs();
  await once(
    spawn(process.execPath, [
      '-e',
      'const spent = () => process.cpuUsage().user; const end = spent() + 300_000; while (spent() < end);',
    ]),
    'exit',
  );
  assert.ok(ownCpuUs() - before > 150_000);
});
