/** How fast are reports of a day with 100 M messages in ClickHouse (chdb)? */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startChdb } from '../../src/sms/reports/chdb/child.ts';
import { CHDB_VERSION } from '../../src/sms/reports/chdb/library.ts';
import { DATABASE } from '../../src/sms/reports/place.ts';
import { byDay, byMinute, byOperator, topCustomers } from '../../src/sms/reports/queries.ts';
import { DAY_MS, MINUTE_MS } from '../../src/sms/reports/range.ts';
import { Rollup } from '../../src/sms/reports/rollup.ts';
import { migrateReports } from '../../src/sms/reports/schema.ts';
import { ClickHouse } from '../../src/store/clickhouse/client.ts';
import { chdbFolder } from '../../test/servers/chdb-folder.ts';
import type { Bench, Question } from '../rig/bench.ts';
import type { Table } from '../rig/report.ts';
import { median, percentile } from '../rig/stats.ts';
import { count } from '../rig/table.ts';

const DAY = Date.UTC(2026, 10, 28);
const CUSTOMERS = 10_000;
const FILL_MS_MAX = 3600_000;
const HOUR_MS = 3_600_000;
const LIMIT_MS = 200;

/**
 * Messages of an hour, evenly over it: one of eight is express, two operators, one in fifty fails. A few customers send
 * most: the square of a uniform number.
 */
const fillSql = (status: string, where: string, at: string, operator: string): string => `
  INSERT INTO sms_raw (message_id, customer_id, type, status, operator, cost, at, accepted_at)
  SELECT concat('01', leftPad(toString({first:UInt64} + number), 24, '0')),
    concat('customer-', toString(intDiv(bitAnd(sipHash64(number), 65535) * bitAnd(sipHash64(number), 65535) * ${CUSTOMERS}, 4294967296))),
    if(number % 8 = 0, 'express', 'normal'), '${status}', ${operator}, 1, ${at},
    {begin:UInt64} + intDiv(number * ${HOUR_MS}, {count:UInt64}) AS accepted
  FROM numbers({count:UInt64}) WHERE ${where}`;

const operator = "if(number % 3 = 0, 'irancell', 'mci')";

async function fill(client: ClickHouse, messages: number): Promise<void> {
  const perHour = Math.ceil(messages / 24);
  for (let hour = 0; hour < 24; hour++) {
    const params = { first: hour * perHour, begin: DAY + hour * HOUR_MS, count: perHour };
    const asked = { params, timeoutMs: FILL_MS_MAX };
    await client.command(fillSql('accepted', '1', 'accepted', "''"), asked);
    await client.command(fillSql('sent', 'number % 50 != 7', 'accepted + 80 + number % 900', operator), asked);
    await client.command(fillSql('failed', 'number % 50 = 7', 'accepted + 100', operator), asked);
    await client.command(fillSql('delivered', 'number % 50 > 7', 'accepted + 3000 + number % 4000', operator), asked);
  }
}

interface Asked {
  readonly name: string;
  /** Returns how many rows came. */
  ask(client: ClickHouse, round: number): Promise<number>;
}

const day = { from: DAY, to: DAY + DAY_MS };
const customerOf = (round: number): string => `customer-${(round * 37) % 1000}`;
const asked: readonly Asked[] = [
  { name: 'the day, by minute, all customers', ask: async (client) => (await byMinute(client, day, undefined)).length },
  {
    name: 'the day, by minute, one customer',
    ask: async (client, round) => (await byMinute(client, day, customerOf(round))).length,
  },
  { name: 'the day, all customers', ask: async (client) => (await byDay(client, day, undefined)).length },
  { name: 'the day, one customer', ask: async (client, round) => (await byDay(client, day, customerOf(round))).length },
  { name: 'operators: rates and latencies', ask: async (client) => (await byOperator(client, day)).length },
  { name: 'the 20 busiest customers', ask: async (client) => (await topCustomers(client, day, 20)).length },
];

export const smsReports: Question = {
  name: 'sms-reports',
  asks: 'Reports of a day with 100 M messages, from the sums that the service keeps, in chdb on the same two cores.',
  async answer(bench: Bench) {
    const messages = bench.short ? 240_000 : 100_000_000;
    const { dir, port } = bench.place();
    mkdirSync(dir, { recursive: true });
    const url = `http://bench:bench@127.0.0.1:${port}/${DATABASE}`;
    const authorization = `Basic ${Buffer.from('bench:bench').toString('base64')}`;
    const library = await chdbFolder();
    const server = await startChdb({ library, data: join(dir, 'chdb'), port, authorization, database: DATABASE });
    const client = new ClickHouse({ url, ca: undefined });
    try {
      await migrateReports(client, undefined);
      const filling = performance.now();
      await fill(client, messages);
      const filledS = (performance.now() - filling) / 1000;
      const summing = performance.now();
      await new Rollup(client).pass(AbortSignal.timeout(FILL_MS_MAX));
      const summedS = (performance.now() - summing) / 1000;
      const rounds = bench.short ? 5 : 40;
      const measured = new Map<string, number[]>();
      for (let round = 0; round < rounds; round++)
        for (const { name, ask } of asked) {
          const begin = performance.now();
          if ((await ask(client, round)) === 0) throw new Error(`a report must have rows: ${name}`);
          measured.set(name, [...(measured.get(name) ?? []), performance.now() - begin]);
        }
      const minute = await client.rows<{ ms: number }>(
        `SELECT count() AS ms FROM sms_raw WHERE minute = toDateTime({at:UInt32}, 'UTC')`,
        { params: { at: (DAY + 600 * MINUTE_MS) / 1000 } },
      );
      const table: Table = {
        title: `Reports of a day, ${count(messages)} messages of ${count(CUSTOMERS)} customers`,
        head: ['', 'p50 ms', 'p95 ms', 'max ms'],
        rows: [...measured].map(([name, ms]) => [
          name,
          median(ms).toFixed(1),
          percentile(ms, 0.95).toFixed(1),
          Math.max(...ms).toFixed(1),
        ]),
      };
      return {
        tables: [table],
        notes: [
          `Raw records were made by SQL in ${filledS.toFixed(0)} s; all sums of the day were computed from them in ` +
            `${summedS.toFixed(0)} s, ${((summedS * 1000) / 1440).toFixed(0)} ms a minute of ${count(minute[0]!.ms)} records.`,
          'A report is asked over HTTP, as the routes ask it, one after the other.',
        ],
        goals: [...measured].map(([name, ms]) => ({
          goal: `sms-reports: p95 of ${name}`,
          bound: 'most' as const,
          limit: LIMIT_MS,
          value: percentile(ms, 0.95),
          unit: 'ms',
        })),
        versions: [`chdb ${CHDB_VERSION}`],
        raw: { filledS, summedS, measured: Object.fromEntries(measured) },
      };
    } finally {
      await client.close();
      await server.end();
    }
  },
};
