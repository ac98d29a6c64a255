/**
 * Goal: reports answer the same from the version of ClickHouse that deploy/ starts as from the newer one of chdb.
 * Method: both engines get the same schema, records and questions. Records come by the URL that the output posts to.
 */
import { readFileSync } from 'node:fs';
import { parquetReadObjects } from 'hyparquet';
import { expect, test } from 'vitest';
import { type ExportFormat, exported, exportFormats } from '../../../src/sms/reports/export.ts';
import { ingestOptions } from '../../../src/sms/reports/place.ts';
import { byDay, byMinute, byOperator, spenders, topCustomers } from '../../../src/sms/reports/queries.ts';
import { DAY_MS } from '../../../src/sms/reports/range.ts';
import { keptSince, Retention } from '../../../src/sms/reports/retention.ts';
import { Rollup } from '../../../src/sms/reports/rollup.ts';
import { migrateReports } from '../../../src/sms/reports/schema.ts';
import type { ClickHouse } from '../../../src/store/clickhouse/client.ts';
import { startTestChdb } from '../../servers/chdb.ts';
import { startOldClickHouse } from '../../servers/old-clickhouse.ts';
import { accepted, became, DAY, MINUTE } from './records.ts';

const deploy = new URL('../../../deploy/', import.meta.url);
const day = { from: DAY, to: DAY + DAY_MS };
const never = new AbortController().signal;

interface Engine {
  readonly client: ClickHouse;
  readonly url: string;
}

/** As the output `reports` posts them. */
async function post({ url }: Engine, records: readonly object[]): Promise<void> {
  const { httpSinkUrl, httpSinkAuthorization } = ingestOptions({
    access: { keyPepper: undefined },
    postgres: { pgDsn: undefined },
    clickhouse: { clickhouseUrl: url, clickhouseTlsCa: undefined },
  } as never);
  // Whatever the server's profile says: what is answered is in the table.
  expect(new URL(httpSinkUrl as string).searchParams.get('async_insert')).toBe('0');
  const answer = await fetch(httpSinkUrl as string, {
    method: 'POST',
    headers: { authorization: httpSinkAuthorization as string },
    body: records.map((record) => `${JSON.stringify({ event_id: 'passed over', ...record })}\n`).join(''),
  });
  expect([answer.status, await answer.text()]).toEqual([200, '']);
}

async function file(client: ClickHouse, format: ExportFormat): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of exported(client, format, day, undefined, never)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** What customers and administrators see, after records that come twice, late and in the wrong order. */
async function told(engine: Engine) {
  const { client } = engine;
  const messages = Array.from({ length: 200 }, (_, i) =>
    accepted(i, DAY + i * 900, { customer_id: `c${i % 3}`, type: i % 5 === 0 ? 'express' : 'normal', cost: 2 ** 52 }),
  );
  const sent = messages
    .slice(0, 190)
    .map((one, i) => became(one, 'sent', one.at + 50 + i, { operator: i % 2 ? 'mci' : '=cmd' }));
  const ends = messages
    .slice(0, 90)
    .map((one, i) => became(one, i % 9 ? 'delivered' : 'failed', one.at + 3000, { reason: 'a "b"\n, c' }));
  const rollup = new Rollup(client);
  for (const batch of [sent, messages, [...ends].reverse(), messages.slice(40)]) {
    await post(engine, batch);
    await rollup.pass(never);
  }
  await post(engine, [became(messages[195]!, 'unknown', DAY + 2 * DAY_MS, { cost: 0 })]);
  await rollup.pass(never);
  const parquet = await file(client, 'parquet');
  const buffer = parquet.buffer.slice(parquet.byteOffset, parquet.byteOffset + parquet.length) as ArrayBuffer;
  return {
    minutes: await byMinute(client, day, undefined),
    minutesOfOne: await byMinute(client, { from: DAY + MINUTE, to: DAY + 3 * MINUTE }, 'c1'),
    days: [await byDay(client, day, undefined), await byDay(client, day, 'c2')],
    operators: await byOperator(client, day),
    top: await topCustomers(client, day, 2),
    spent: await spenders(client, day, DAY, 10),
    kept: await keptSince(client),
    csv: (await file(client, 'csv')).toString().split('\r\n').sort(),
    jsonl: (await file(client, 'jsonl')).toString().split('\n').sort(),
    parquet: (await parquetReadObjects({ file: buffer })).map((row) => JSON.stringify(row, bigText)).sort(),
  };
}
const bigText = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

test('the version of deploy/ and the one of chdb answer the same', async (t) => {
  const [older, newer] = await Promise.all([startOldClickHouse(t, 24_935), startTestChdb(t, 24_936)]);
  const [row] = await older.client.rows<{ version: string }>('SELECT version() AS version');
  const named = /clickhouse\/clickhouse-server:(\d+\.\d+)/g;
  for (const name of ['sms/docker-compose.yml', 'k8s/sms-servers.yaml'])
    for (const [, version] of readFileSync(new URL(name, deploy), 'utf8').matchAll(named))
      expect(row!.version, name).toMatch(new RegExp(`^${version}\\.`));

  const answers = [];
  for (const engine of [older, newer]) {
    expect((await migrateReports(engine.client, undefined)).length).toBeGreaterThan(0);
    expect(await migrateReports(engine.client, undefined)).toEqual([]);
    answers.push(await told(engine));
  }
  expect(answers[0]).toEqual(answers[1]);
  const [answer] = answers;
  expect(exportFormats.map((format) => answer![format].length >= 200)).toEqual([true, true, true]);
  expect(answer!.days[0]).toMatchObject([{ accepted: 200, sent: 190, delivered: 80, failed: 10, unknown: 1 }]);

  for (const { client } of [older, newer]) {
    const retention = new Retention(client, 1);
    expect([await retention.pass(), await retention.pass()]).toEqual([[], ['20261128']]);
  }
});

test('the table that reads Kafka is made, taken back and made for another prefix', async (t) => {
  const { client } = await startOldClickHouse(t, 24_935);
  const engine = { brokers: ['127.0.0.1:1'], prefix: 'a.' };
  expect(await migrateReports(client, engine)).toContain('002_create_kafka_engine');
  expect(await migrateReports(client, { ...engine, prefix: "b'." })).toEqual(['002_create_kafka_engine']);
  const [table] = await client.rows<{ sql: string }>(
    "SELECT create_table_query AS sql FROM system.tables WHERE database = currentDatabase() AND name = 'sms_queue'",
  );
  expect(table!.sql).toContain(String.raw`kafka_group_name = 'b\'.sms-reporting'`);
  // A process with other values beside it takes it back, and so on: UPGRADE.md lets the two not overlap.
  expect(await migrateReports(client, engine)).toEqual(['002_create_kafka_engine']);
  expect(await migrateReports(client, engine)).toEqual([]);
  expect(await migrateReports(client, undefined)).toEqual(['002_create_kafka_engine']);
});
