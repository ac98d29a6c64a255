/**
 * The engine of the ClickHouse that deploy/ names, for tests: chdb of PyPI behind an HTTP interface like the server's,
 * fetched once by pip into the cache. No package registry has the server itself: Debian's is of 2018.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once as emitted } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DATABASE } from '../../src/sms/reports/place.ts';
import type { ClickHouse } from '../../src/store/clickhouse/client.ts';
import { ensureCommand } from './apt.ts';
import { once } from './cache.ts';
import { runProgram, type TestScope, temporaryFolder } from './process.ts';

/** Of PyPI; its engine is ClickHouse 25.8. */
const CHDB = 'chdb==3.7.2';

async function packages(): Promise<string> {
  await ensureCommand('python3', 'python3');
  return once(`python-${CHDB.replaceAll(/[^\w.-]/g, '-')}`, async (draft) => {
    await ensureCommand('pip3', 'python3-pip');
    const quiet = ['-q', '--disable-pip-version-check'];
    // Alone: pandas and pyarrow are for answers that nobody asks for here.
    await runProgram('pip3', ['install', ...quiet, '--no-deps', '--target', draft, CHDB]);
  });
}

/** Starts one with an empty folder; it ends with the test. */
export async function startOldClickHouse(
  t: TestScope,
  port: number,
): Promise<{ readonly client: ClickHouse; readonly url: string }> {
  const { folder, remove } = temporaryFolder('ringmain-old-clickhouse-');
  const child = spawn('python3', [join(import.meta.dirname, 'old_clickhouse.py'), folder, String(port)], {
    env: { ...process.env, PYTHONPATH: await packages() },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.onTestFinished(async () => {
    child.stdin.end();
    if (child.exitCode === null) await emitted(child, 'exit');
    remove();
  });
  await ready(child);
  const url = `http://ringmain:secret@127.0.0.1:${port}/${DATABASE}`;
  const { ClickHouse } = await import('../../src/store/clickhouse/client.ts');
  const client = new ClickHouse({ url, ca: undefined });
  t.onTestFinished(() => client.close());
  return { client, url };
}

async function ready(child: ChildProcess): Promise<void> {
  const ended = emitted(child, 'exit').then(([code]) => {
    throw new Error(`the engine must start: exit=${code}`);
  });
  await Promise.race([emitted(createInterface(child.stdout!), 'line'), ended]);
  ended.catch(() => undefined);
}
