/**
 * Goal: every accepted event is in the books under its site and the UTC hour of its receipt, whatever its site is called.
 * Method: records as intake writes them, a real Postgres.
 */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import makeLoad, { countAccepted } from '../../src/analytics/accepted-load.ts';
import { ANALYTICS_KIND } from '../../src/analytics/event.ts';
import type { SinkBatch } from '../../src/delivery/contract.ts';
import { at } from '../../src/events/record.ts';
import { putServiceRecord } from '../../src/events/service-record.ts';
import { align8 } from '../../src/kernel/record.ts';
import { Transaction } from '../../src/sinks/postgres/transaction.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import { startPostgres } from '../servers/postgres.ts';
import { schema } from './schema.ts';

const HOUR = 3_600_000;
const ID = '018f3c2e-0000-7000-8000-000000000001';
let dsn = '';
let link: PostgresLink;

beforeAll(async () => {
  const postgres = await startPostgres(undefined, { port: 23_190 });
  dsn = postgres.dsn;
  link = await openLink(dsn);
  await link.query(schema);
  return async () => {
    await link.close();
    await postgres.stop();
  };
});

beforeEach(async () => {
  await link.query('TRUNCATE accepted_hours');
});

interface Accepted {
  readonly site: string;
  readonly ms: number;
  /** The site as it stands in the line, when that is not JSON.stringify's spelling. */
  readonly spelt?: string;
}

function batchOf(events: readonly Accepted[]): SinkBatch {
  const lines = events.map(({ site, spelt }) =>
    Buffer.from(`{"event_id":"${ID}","site_id":${spelt ?? JSON.stringify(site)},"event_type":"a\\"b"}`),
  );
  const key = Buffer.from('k');
  const buffer = Buffer.alloc(lines.reduce((sum, line) => sum + align8(at.json + line.length + 64), 0));
  const offsets = new Int32Array(lines.length);
  let end = 0;
  for (const [i, line] of lines.entries()) {
    offsets[i] = end;
    end = putServiceRecord(buffer, end, { kind: ANALYTICS_KIND, key, line, receivedMs: events[i]!.ms });
  }
  const mark = { position: 0, record: 0 };
  const lane = { life: '0'.repeat(32), epoch: 0, lane: 0 };
  const positions = new Float64Array(lines.length);
  return { lane, count: lines.length, buffer, offsets, positions, from: mark, to: mark, commit: true } as never;
}

async function store(events: readonly Accepted[], to = link): Promise<void> {
  const transaction = new Transaction(to, 'BEGIN', undefined);
  await makeLoad()().load(transaction, batchOf(events));
  await transaction.commit();
}

const books = async () =>
  (await link.query('SELECT site_id, hour, accepted::int AS n FROM accepted_hours ORDER BY site_id COLLATE "C", hour'))
    .rows;

test('events are counted by site and hour of receipt, and batches add up', async () => {
  const of = (site: string, ms: number) => ({ site, ms });
  await store([of('a', 0), of('b', 1), of('a', HOUR - 1), of('a', HOUR), of('b', 2 * HOUR)]);
  await store([of('a', HOUR + 5), of('a', 1)]);
  expect(await books()).toEqual([
    { site_id: 'a', hour: 0, n: 3 },
    { site_id: 'a', hour: 1, n: 2 },
    { site_id: 'b', hour: 0, n: 1 },
    { site_id: 'b', hour: 2, n: 1 },
  ]);
});

test('a name is what its JSON says: quotes, backslashes, other scripts, escapes; two spellings are one site', async () => {
  const names = [
    'a"b',
    'a\\',
    '\\"',
    "'); DROP TABLE accepted_hours; --",
    '日本語🦊',
    'tab\there',
    'x'.repeat(100),
    '{}',
  ];
  await store([
    ...names.map((site) => ({ site, ms: 0 })),
    { site: '', spelt: '"\\u0061\\"b"', ms: 0 },
    { site: '', spelt: '"\\u65e5\\u672c\\u8a9e\\ud83e\\udd8a"', ms: 0 },
  ]);
  const rows = (await books()) as { site_id: string; n: number }[];
  const counted = Object.fromEntries(rows.map(({ site_id: site, n }) => [site, n]));
  expect(counted).toEqual({ ...Object.fromEntries(names.map((name) => [name, 1])), 'a"b': 2, '日本語🦊': 2 });
});

test('what Postgres cannot hold becomes the replacement character and never stops the books', async () => {
  await store([
    { site: '', spelt: '"a\\u0000"', ms: 0 },
    { site: '', spelt: '"a\\ud800"', ms: 0 },
    { site: 'a\uFFFD', ms: 0 },
  ]);
  expect(await books()).toEqual([{ site_id: 'a\uFFFD', hour: 0, n: 3 }]);
});

test('processes that count the same sites at once, in any order, neither lose nor wait for each other for ever', async () => {
  const others = await Promise.all(Array.from({ length: 3 }, () => openLink(dsn)));
  const sites = Array.from({ length: 20 }, (_, i) => `s${i}`);
  await Promise.all(
    others.map(async (other, n) => {
      for (let round = 0; round < 15; round += 1) {
        const events = sites.map((site) => ({ site, ms: (round % 2) * HOUR }));
        await store(n % 2 === 0 ? events : events.reverse(), other);
      }
    }),
  );
  for (const other of others) await other.close();
  const { rows } = await link.query('SELECT sum(accepted)::int AS n, count(*)::int AS rows FROM accepted_hours');
  expect(rows).toEqual([{ n: 3 * 15 * 20, rows: 40 }]);
});

test('a batch of many events is a handful of rows', () => {
  const events = Array.from({ length: 10_000 }, (_, i) => ({ site: `s${i % 3}`, ms: i }));
  const { buffer, offsets, count } = batchOf(events);
  const { sites, counts } = countAccepted(buffer, offsets, count);
  expect([...sites].sort()).toEqual(['s0', 's1', 's2']);
  expect(counts.reduce((sum, n) => sum + n, 0)).toBe(10_000);
});
