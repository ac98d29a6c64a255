/** Rollups in a real Postgres equal a brute-force recount, whatever the order, the batches and the failures. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import type { CountedEvent } from '../../../src/analytics/event.ts';
import { type Prepared, Rollups } from '../../../src/analytics/rollup/rollup.ts';
import { Transaction } from '../../../src/sinks/postgres/transaction.ts';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { fastSettings, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import { distinctUsers, OTHER_TEXT } from '../recount.ts';
import { schema } from '../schema.ts';
import { assertEqual } from './compare.ts';
import { hexOf, inAnyOrder, randomEvents } from './events.ts';

const PORT = 21720;
const MINUTES = 60_000;
const options = { sessionTimeoutMs: 30 * MINUTES, dimensionValuesMax: 10_000, propertiesMax: 100 };

function prepared(rollups: Rollups, events: readonly CountedEvent[]): Prepared {
  const batch = rollups.prepare();
  for (const event of events) batch.add(event);
  return batch;
}

describe('rollups equal a recount', () => {
  const scope = fileScope();
  let link: PostgresLink;
  let dsn: string;
  let nextSite = 1;
  beforeAll(async () => {
    dsn = (await startPostgres(scope, { port: PORT, settings: fastSettings })).dsn;
    link = await openLink(dsn);
    scope.onTestFinished(() => link.close());
    await link.query(schema);
  });

  /** Makes sites; their numbers go up in the whole file, so tests do not see each other's rows. */
  async function makeSites(count: number): Promise<number[]> {
    const sites = Array.from({ length: count }, () => nextSite++);
    for (const site of sites) {
      const { rows } = await link.query<{ site: number }>('INSERT INTO sites (site_id) VALUES ($1) RETURNING site', [
        `site-${site}`,
      ]);
      assert.equal(rows[0]!.site, site);
    }
    return sites;
  }

  async function apply(rollups: Rollups, events: readonly CountedEvent[], over = link): Promise<void> {
    const transaction = new Transaction(over, 'BEGIN', undefined);
    await prepared(rollups, events).apply(transaction);
    await transaction.begin();
    await transaction.commit();
  }

  test('random events of several sites and days, late, out of order, in batches, across midnight', async () => {
    const sites = await makeSites(3);
    const events = randomEvents({ seed: 1, count: 3000, sites, days: 4, visitors: 60 });
    const rollups = new Rollups(options);
    for (const batch of inAnyOrder(events, 2)) await apply(rollups, batch);
    await assertEqual(link, sites, events, options);
    await assertRevisions(link, sites);
  });

  test('one batch for all gives the same rows', async () => {
    const sites = await makeSites(2);
    const events = randomEvents({ seed: 3, count: 1500, sites, days: 3, visitors: 30 });
    await apply(new Rollups(options), events);
    await assertEqual(link, sites, events, options);
  });

  // Goal: what a failed transaction has seen leaves no trace in memory.
  // Method: every batch is rolled back once, between two that are committed, by the same object.
  test('transactions that are rolled back and come again, in halves', async () => {
    const sites = await makeSites(2);
    const events = randomEvents({ seed: 5, count: 1200, sites, days: 3, visitors: 40 });
    const rollups = new Rollups(options);
    for (const batch of inAnyOrder(events, 6)) {
      const transaction = new Transaction(link, 'BEGIN', undefined);
      await prepared(rollups, batch).apply(transaction);
      await link.query('ROLLBACK');
      const half = batch.length >> 1;
      await apply(rollups, batch.slice(0, half));
      await apply(rollups, batch.slice(half));
    }
    await assertEqual(link, sites, events, options);
  });

  // Goal: events whose id turns out to be known are not counted, and do not show in what is counted of their visitors.
  // Method: among the events of each batch stand others of the same visitors, days and sites, which are taken back. Days
  // and sites that only those have must not be touched.
  test('events that are taken back leave no trace', async () => {
    const [one, two, strange] = (await makeSites(3)) as [number, number, number];
    const events = randomEvents({ seed: 21, count: 1200, sites: [one, two], days: 2, visitors: 20 });
    const others = randomEvents({ seed: 22, count: 900, sites: [one, two, strange], days: 4, visitors: 20 });
    const rollups = new Rollups(options);
    const kept = new Set(events);
    for (const batch of inAnyOrder([...events, ...others], 23)) {
      const taken = prepared(rollups, batch);
      taken.leaveOut(
        new Set(batch.flatMap((event, number) => (kept.has(event) ? [] : [number]))),
        (number) => batch[number]!,
      );
      const transaction = new Transaction(link, 'BEGIN', undefined);
      await taken.apply(transaction);
      await transaction.begin();
      await transaction.commit();
    }
    await assertEqual(link, [one, two, strange], events, options);
    const { rows } = await link.query<{ site: number; day: number }>(
      'SELECT site, day FROM site_days WHERE site = ANY ($1)',
      [[one, two, strange]],
    );
    const days = (list: readonly { site: number; day: number }[]) =>
      [...new Set(list.map(({ site, day }) => `${site}/${day}`))].sort();
    assert.deepEqual(
      days(rows),
      days(events.map(({ site, event }) => ({ site, day: Math.floor(event.timestampMs / 86_400_000) }))),
    );
  });

  test('more values than a day has places for count under OTHER, and distinct visitors of OTHER once', async () => {
    const sites = await makeSites(2);
    const few = { ...options, dimensionValuesMax: 4 };
    const events = randomEvents({ seed: 7, count: 1500, sites, days: 3, visitors: 40 });
    // Two processes: what one has cached must not hide what the other has stored.
    const processes = [new Rollups(few), new Rollups(few)];
    for (const [index, batch] of inAnyOrder(events, 8).entries()) await apply(processes[index % 2]!, batch);
    const stored = await assertEqual(link, sites, events, few);
    assert.ok(stored.some(({ text }) => text === OTHER_TEXT));
    const { rows } = await link.query<{ most: number }>(
      `SELECT max(count)::int AS most FROM (SELECT count(*) FROM rollups WHERE grain = 1 AND dimension BETWEEN 1 AND 17
         AND value <> 1 AND site = ANY ($1) GROUP BY site, dimension, t) AS days`,
      [sites],
    );
    assert.equal(rows[0]!.most, 4);
  });

  // An order number has another value in each event, and everybody may send properties of any name.
  test('a property with many values takes no place of the others; what has none counts under the property', async () => {
    const [site] = (await makeSites(1)) as [number];
    const few = { ...options, dimensionValuesMax: 4, propertiesMax: 3 };
    const [pattern] = randomEvents({ seed: 17, count: 1, sites: [site], days: 1, visitors: 1 });
    const events = Array.from({ length: 60 }, (_, n): CountedEvent => {
      const late: Readonly<Record<string, string | number>> =
        n < 40 ? {} : { plan: n % 2 === 0 ? 'free' : 'pro', [`made-up-${n}`]: 1 };
      const event = { ...pattern!.event, eventId: `${hexOf(String(n))}`, eventType: 'order', bot: undefined };
      return { ...pattern!, event: { ...event, props: { order: n, ...late } } };
    });
    // Two processes, and batches in the order of the events: what comes later must find a place all the same.
    const processes = [new Rollups(few), new Rollups(few)];
    for (let at = 0; at < events.length; at += 10) await apply(processes[(at / 10) % 2]!, events.slice(at, at + 10));
    const stored = await assertEqual(link, [site], events, few);
    const ofDay = stored.filter(({ dimension, grain }) => dimension === 18 && grain === 1);
    const kept = ofDay.map(({ text, measures }) => `${text} ${measures.events}`).sort();
    assert.deepEqual(
      kept.map((text) => text.replace('"order",', '')),
      [
        `${OTHER_TEXT} 19`,
        '["made-up-40",1] 1',
        '["order",0] 1',
        '["order",1] 1',
        '["order",2] 1',
        '["order",3] 1',
        '["order"] 56',
        '["plan","free"] 10',
        '["plan","pro"] 10',
      ],
    );
  });

  test('a site that was removed meanwhile fails the batch before anything is counted', async () => {
    const [site] = await makeSites(1);
    const events = randomEvents({ seed: 8, count: 20, sites: [site!, -1], days: 1, visitors: 5 });
    await assert.rejects(apply(new Rollups(options), events), { name: 'SiteGone', message: /1 of 2 are gone/ });
    await link.query('ROLLBACK');
    await assertEqual(link, [site!], [], options);
  });

  // Goal: two processors that count the same site side by side lose nothing.
  test('two sessions at once', async () => {
    const sites = await makeSites(2);
    const events = randomEvents({ seed: 9, count: 2000, sites, days: 2, visitors: 25 });
    const other = await openLink(dsn);
    scope.onTestFinished(() => other.close());
    const halves = [events.filter((_, index) => index % 2 === 0), events.filter((_, index) => index % 2 === 1)];
    await Promise.all(
      halves.map(async (half, index) => {
        const rollups = new Rollups(options);
        for (const batch of inAnyOrder(half, 10 + index)) await apply(rollups, batch, index === 0 ? link : other);
      }),
    );
    await assertEqual(link, sites, events, options);
  });

  test('distinct users of any window of up to 25 hours are a sum over user_gaps', async () => {
    const sites = await makeSites(1);
    const events = randomEvents({ seed: 11, count: 800, sites, days: 4, visitors: 50 });
    const rollups = new Rollups(options);
    for (const batch of inAnyOrder(events, 12)) await apply(rollups, batch);
    const slots = events.map(({ event }) => Math.floor(event.timestampMs / (15 * MINUTES)));
    const from = Math.min(...slots) - 3;
    const windows = fc.sample(fc.tuple(fc.integer({ min: from, max: from + 400 }), fc.integer({ min: 1, max: 100 })), {
      numRuns: 60,
      seed: 13,
    });
    for (const [begin, length] of windows) {
      for (const [kind, id] of [
        ['viewers', 0],
        ['visitors', 1],
      ] as const) {
        const { rows } = await link.query<{ users: number }>(
          `SELECT coalesce(sum(users), 0)::int AS users FROM user_gaps
           WHERE site = $1 AND kind = $2 AND slot >= $3 AND slot < $4 AND gap > slot - $3`,
          [sites[0], id, begin, begin + length],
        );
        const [start, end] = [begin * 15 * MINUTES, (begin + length) * 15 * MINUTES];
        assert.equal(rows[0]!.users, distinctUsers(events, sites[0]!, kind, start, end));
      }
    }
  });
});

async function assertRevisions(link: PostgresLink, sites: readonly number[]): Promise<void> {
  const { rows } = await link.query<{ revision: number }>('SELECT revision FROM site_days WHERE site = ANY ($1)', [
    sites,
  ]);
  assert.ok(rows.length > 0 && rows.every(({ revision }) => revision > 0));
}

test('ids of values are the first 8 bytes of a SHA-256', async () => {
  const { valueId } = await import('../../../src/analytics/rollup/values.ts');
  const digest = createHash('sha256').update('7|2|/pricing').digest();
  assert.equal(valueId(7, 2, '/pricing'), digest.readBigInt64BE(0));
});
