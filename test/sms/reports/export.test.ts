/**
 * Goal: an export is a row per message, whatever its size, and nobody holds more of it than is under way; a text in it
 * is no formula; a file that is not whole shows that.
 * Method: a real chdb with messages made by SQL.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { parquetReadObjects } from 'hyparquet';
import { beforeAll, expect, test } from 'vitest';
import { type ExportFormat, exported } from '../../../src/sms/reports/export.ts';
import { DAY_MS, type Range } from '../../../src/sms/reports/range.ts';
import { migrateReports } from '../../../src/sms/reports/schema.ts';
import { startTestChdb, type TestChdb } from '../../servers/chdb.ts';
import { fileScope } from '../../servers/scope.ts';
import { accepted, became, DAY, insert, MINUTE } from './records.ts';

const file = fileScope();
let chdb: TestChdb;
const day = { from: DAY, to: DAY + DAY_MS };
const never = new AbortController().signal;

beforeAll(async () => {
  chdb = await startTestChdb(file, 24_851);
  await migrateReports(chdb.client, undefined);
  const first = accepted(1, DAY + 1, { customer_id: '-ada', type: 'express' });
  await insert(chdb.url, [first, first, accepted(2, DAY + MINUTE), accepted(3, DAY + DAY_MS)]);
  await insert(chdb.url, [
    became(first, 'sent', DAY + 51, { operator: '=cmd|x' }),
    became(first, 'delivered', DAY + 1051, { operator: '=cmd|x', reason: 'a "b", c' }),
  ]);
}, 300_000);

async function whole(format: ExportFormat, range: Range, customer?: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of exported(chdb.client, format, range, customer, never)) pieces.push(piece);
  return Buffer.concat(pieces);
}

const first = {
  message_id: 'M0000000000000000000000001',
  customer_id: '-ada',
  type: 'express',
  status: 'delivered',
  operator: '=cmd|x',
  reason: 'a "b", c',
  attempts: 1,
  segments: 1,
  cost: 3,
  accepted_at: '2026-11-28T00:00:00.001Z',
  sent_at: '2026-11-28T00:00:00.051Z',
  delivered_at: '2026-11-28T00:00:01.051Z',
};

test('csv: one line per message, CRLF, no formulas, empty where nothing is known', async () => {
  const [head, ...lines] = (await whole('csv', day)).toString().split('\r\n');
  assert.equal(head!.replaceAll('"', ''), Object.keys(first).join(','));
  assert.deepEqual(lines.sort(), [
    '',
    '"M0000000000000000000000001","\'-ada","express","delivered","\'=cmd|x","a ""b"", c",1,1,3,"2026-11-28T00:00:00.001Z","2026-11-28T00:00:00.051Z","2026-11-28T00:00:01.051Z"',
    '"M0000000000000000000000002","ada","normal","accepted","","",0,1,3,"2026-11-28T00:01:00.000Z",,',
  ]);
});

test('jsonl and parquet hold the same, as it is', async () => {
  const lines = (await whole('jsonl', day, '-ada')).toString().trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [first],
  );
  const bytes = await whole('parquet', day, '-ada');
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const rows = await parquetReadObjects({ file: buffer });
  expect(rows).toMatchObject([
    { message_id: first.message_id, operator: '=cmd|x', delivered_at: new Date(first.delivered_at) },
  ]);
});

test('from is inside to the millisecond, to is not', async () => {
  const ids = async (range: Range) =>
    (await whole('jsonl', range))
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => Number((JSON.parse(line) as { message_id: string }).message_id.slice(1)))
      .sort();
  assert.deepEqual(await ids({ from: DAY + 1, to: DAY + MINUTE }), [1]);
  assert.deepEqual(await ids({ from: DAY + 2, to: DAY + MINUTE + 1 }), [2]);
});

test('300,000 messages go to a slow reader in bounded memory, and a reader who leaves ends the query', async () => {
  const count = 300_000;
  const from = DAY - 10 * DAY_MS;
  for (const [status, later] of [
    ['accepted', 0],
    ['sent', 300],
    ['delivered', 4000],
  ] as const)
    await chdb.client.command(
      `INSERT INTO sms_raw (message_id, customer_id, status, operator, cost, at, accepted_at)
      SELECT concat('B', leftPad(toString(number), 25, '0')), concat('c', toString(number % 100)), '${status}', 'mci', 1,
        ${from} + number * 250 + ${later} AS at, ${from} + number * 250 FROM numbers(${count})`,
      { timeoutMs: 120_000 },
    );
  /** What ClickHouse counts for the query; RSS has the memory of inserts and merges in it. */
  const peakOf = async () => {
    const sql = "SELECT max(peak_memory_usage) AS peak FROM system.processes WHERE query LIKE '%FROM sms_raw%'";
    const [row] = await chdb.client.rows<{ peak: number | string }>(sql);
    return Number(row!.peak) / 2 ** 20;
  };
  let bytes = 0;
  let lines = 0;
  let peak = 0;
  let pieces = 0;
  for await (const piece of exported(chdb.client, 'jsonl', { from, to: from + DAY_MS }, undefined, never)) {
    bytes += piece.length;
    for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) lines += 1;
    if (++pieces % 20 === 0) {
      await delay(1);
      peak = Math.max(peak, await peakOf());
    }
  }
  assert.equal(lines, count);
  assert.ok(bytes > 60_000_000, `bytes=${bytes}`);
  // 120; without the order of the table 590.
  assert.ok(peak > 10 && peak < 200, `the query must stay within 200 MiB: found=${peak}`);

  for await (const _ of exported(chdb.client, 'csv', { from, to: from + DAY_MS }, undefined, never)) break;
  // All sessions are there again: as many queries as there are sessions run at once.
  await Promise.all(Array.from({ length: 6 }, () => chdb.client.rows('SELECT 1')));
});

test('what breaks under way ends the stream with an error', async () => {
  const broken = async () => {
    let rows = 0;
    const sql = `SELECT number, throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 1000 FORMAT CSV`;
    for await (const piece of chdb.client.stream(sql)) rows += piece.length;
    return rows;
  };
  await assert.rejects(broken());
});
