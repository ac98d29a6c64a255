/** Goal: one question holds none of the few sessions of chdb longer than it may. Method: a real chdb. */
import { expect, test } from 'vitest';
import type { ClickHouseError } from '../../../../src/store/clickhouse/errors.ts';
import { startTestChdb } from '../../../servers/chdb.ts';

test('a question that takes longer than it may is ended by the engine, which has its session free again', async (t) => {
  const { client } = await startTestChdb(t, 24_937);
  const ask = () =>
    client.rows('SELECT count() AS n FROM numbers(1000000000000) WHERE sipHash64(number) = 1', {
      settings: { max_execution_time: 1 },
      timeoutMs: 30_000,
    });
  // More of them than there are sessions.
  const ends = await Promise.allSettled(Array.from({ length: 8 }, ask));
  expect(ends.map((end) => end.status === 'rejected' && (end.reason as ClickHouseError).code)).toEqual(
    Array.from({ length: 8 }, () => 159),
  );
  expect(await client.rows('SELECT 1 AS n')).toEqual([{ n: 1 }]);
});
