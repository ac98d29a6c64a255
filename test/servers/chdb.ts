/** A real chdb, the engine of ClickHouse 26.7, for tests: fetched once by npm into the cache, a process for each test. */
import { startChdb } from '../../src/sms/reports/chdb/child.ts';
import { DATABASE } from '../../src/sms/reports/place.ts';
import type { ClickHouse } from '../../src/store/clickhouse/client.ts';
import { chdbFolder } from './chdb-folder.ts';
import { type TestScope, temporaryFolder } from './process.ts';

export interface TestChdb {
  readonly client: ClickHouse;
  readonly url: string;
  readonly pid: number;
  /** Where its data is. */
  readonly data: string;
}

/** Starts one with an empty folder; it ends with the test. */
export async function startTestChdb(t: TestScope, port: number): Promise<TestChdb> {
  const library = await chdbFolder();
  const { folder, remove } = temporaryFolder('ringmain-chdb-');
  const url = `http://ringmain:secret@127.0.0.1:${port}/${DATABASE}`;
  const authorization = `Basic ${Buffer.from('ringmain:secret').toString('base64')}`;
  const server = await startChdb({ library, data: folder, port, authorization, database: DATABASE });
  // The client brings an undici of its own, which takes over fetch: tests that start no chdb do without.
  const { ClickHouse } = await import('../../src/store/clickhouse/client.ts');
  const client = new ClickHouse({ url, ca: undefined });
  t.onTestFinished(async () => {
    await client.close();
    await server.end();
    remove();
  });
  return { client, url, pid: server.pid, data: folder };
}
