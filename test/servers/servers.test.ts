/** The test servers are real, can be killed and come back with their data, and leave nothing behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import pg from 'pg';
import { expect, test } from 'vitest';
import { ensureCommand } from './apt.ts';
import { alive } from './cache.ts';
import { startKafka } from './kafka.ts';
import { startPostgres } from './postgres.ts';
import { runProgram } from './process.ts';

async function query(dsn: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: dsn });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

test('PostgreSQL 18 keeps committed rows through kill -9 and takes new settings at a restart', async (t) => {
  const server = await startPostgres(t, { port: 21480, own: true });
  await query(server.dsn, 'CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)');
  await server.kill9();
  await assert.rejects(query(server.dsn, 'SELECT 1'), { code: 'ECONNREFUSED' });
  await server.restart({ statement_timeout: '3s' });
  const rows = await query(
    server.dsn,
    "SELECT id, current_setting('statement_timeout') AS t, version() AS v FROM kept",
  );
  assert.deepEqual(
    rows.map((row) => [(row as { id: number }).id, (row as { t: string }).t]),
    [[1, '3s']],
  );
  assert.match((rows[0] as { v: string }).v, /^PostgreSQL 18\./);
});

test('Kafka keeps acknowledged messages through kill -9', async (t) => {
  await ensureCommand('kcat', 'kcat');
  const kafka = await startKafka(t, { port: 21470, own: true, properties: { 'auto.create.topics.enable': true } });
  const broker = kafka.brokers[0]!;
  await runProgram('sh', ['-c', `echo hello | kcat -P -b ${broker} -t kept -X acks=all`]);
  await kafka.kill9();
  await assert.rejects(runProgram('kcat', ['-L', '-b', broker, '-m', '1']));
  await kafka.start();
  const output = await runProgram('kcat', ['-C', '-q', '-e', '-b', broker, '-t', 'kept', '-o', 'beginning']);
  assert.equal(output.trim(), 'hello');
});

test('a test process that is killed takes its server and folder with it', async () => {
  const script = `
    import { startPostgres } from ${JSON.stringify(new URL('./postgres.ts', import.meta.url).href)};
    const server = await startPostgres(undefined, { port: 21481, own: true });
    console.log(JSON.stringify({ pid: server.pid, folder: server.dataFolder }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid, folder } = await new Promise<{ pid: number; folder: string }>((resolve) =>
    child.stdout.once('data', (chunk) => resolve(JSON.parse(chunk))),
  );
  assert.ok(alive(pid));
  child.kill('SIGKILL');
  await expect.poll(() => alive(pid) || existsSync(folder)).toBe(false);
  assert.ok(!alive(pid), `the server outlived its test: pid=${pid}`);
  assert.ok(!existsSync(folder), `the data folder outlived its test: ${folder}`);
});

test('a program that no package brings fails the run and says so', async () => {
  await assert.rejects(
    ensureCommand('no-such-program-ringmain', 'no-such-package-ringmain'),
    /no-such-package-ringmain/,
  );
});
