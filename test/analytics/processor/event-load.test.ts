/**
 * Goal: every record of a topic becomes one row, one duplicate or one dead letter, once, whatever comes again.
 * Method: a real Postgres with the schema; batches as the runner hands them over; the tables are read afterwards.
 */
import pg from 'pg';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { RecordsRefused, SinkBatch } from '../../../src/delivery/contract.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';
import {
  batchOf,
  HOUR,
  laneBatch,
  migrate,
  ours,
  outcomesOf,
  piece,
  processor,
  RECEIVED,
  sql,
  taken,
  theirs,
  uuid,
} from './fixture.ts';

const file = fileScope();
let server: PostgresServer;
let dsn = '';
beforeAll(async () => {
  server = await startPostgres(file, { port: 21810, settings: fastSettings, own: true });
  ({ dsn } = server);
  await migrate(dsn);
});
afterEach(async () => {
  await sql(dsn, 'TRUNCATE events, event_ids, refused_events, outcome_hours, accepted_hours, kept_from, sites CASCADE');
});

const ids = async (): Promise<string[]> =>
  (await sql<{ event_id: string }>(dsn, 'SELECT event_id FROM events ORDER BY event_id')).map((row) => row.event_id);
/** Whole numbers below a bound, the same for each seed (Park and Miller, "minimal standard"). */
const chances = (seed: number) => {
  let state = seed * 7919;
  return (below: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
};
const books = { site_id: 'site', hour: HOUR, accepted: 0, stored: 0, duplicates: 0, rejected: 0 };

test('a row has every field of its event, and who it was', async () => {
  const one = await processor(dsn, { sourceOf: () => 'Google' });
  const line = ours(1, {
    user_id: undefined,
    visitor: '0123456789abcdef0123456789abcdef',
    url: 'https://example.com/p1?q=ä',
    referrer: 'https://google.com/',
    title: 'Grüße 😀',
    props: { plan: 'pro', n: 1.5, paid: true },
    utm_source: 'a',
    utm_medium: 'b',
    utm_campaign: 'c',
    utm_term: 'd',
    utm_content: 'e',
    country: 'DE',
    region: 'BE',
    device: 'desktop',
    browser: 'Firefox',
    os: 'Linux',
    bot: 'Googlebot',
    strange: { key: [1] },
  });
  await one.write(batchOf([line, ours(2, { timestamp: '1999-12-31T23:59:59.999Z' })]));
  const [row, before2000] = await sql(dsn, 'SELECT * FROM events ORDER BY event_id');
  expect(row).toMatchObject({
    site_id: 'site',
    event_type: 'page_view',
    path: '/p1',
    user_id: null,
    timestamp: new Date(RECEIVED + 1),
    received_at: new Date(RECEIVED + 1),
    event_id: uuid(1),
    source: 'Google',
    title: 'Grüße 😀',
    url: 'https://example.com/p1?q=ä',
    referrer: 'https://google.com/',
    props: { plan: 'pro', n: 1.5, paid: true },
    utm_source: 'a',
    utm_medium: 'b',
    utm_campaign: 'c',
    utm_term: 'd',
    utm_content: 'e',
    country: 'DE',
    region: 'BE',
    device: 'desktop',
    browser: 'Firefox',
    os: 'Linux',
    bot: 'Googlebot',
  });
  expect(before2000).toMatchObject({ timestamp: new Date('1999-12-31T23:59:59.999Z'), user_id: 'user-2', props: null });
  expect(one.counted.map(({ signedIn }) => signedIn)).toEqual([false, true]);
  expect(String(row!['visitor']).replaceAll('-', '')).toBe(one.counted[0]!.visitor);
  const [site] = await sql<{ site: number }>(dsn, 'SELECT site FROM sites JOIN site_names USING (site_id, site)');
  expect(row!['site']).toBe(site!.site);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 2 }]);
});

test('an id counts once: within a batch, across batches, partitions and months', async () => {
  const one = await processor(dsn);
  await one.write(batchOf([ours(1), ours(2), taken(1, 1, { path: '/again' })]));
  await one.write(batchOf([taken(2, 2, { timestamp: '2025-01-01T00:00:00.000Z' }), ours(3)], { from: 3 }));
  await one.write(batchOf([taken(3, 3), taken(1, 4), ours(4)], { partition: 1 }));
  expect(await ids()).toEqual([1, 2, 3, 4].map(uuid));
  expect(await sql(dsn, `SELECT path FROM events WHERE event_id = '${uuid(1)}'`)).toEqual([{ path: '/p1' }]);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 4, duplicates: 4 }]);
});

// Goal: the row of an event that turns out to be known is taken out from among the others, and those stay whole.
// Method: rows of many lengths, of which some are known, in the begin, in the middle and at the end of a batch.
test('the rows around events that are known already are whole', async () => {
  const one = await processor(dsn);
  const length = (n: number) => 'x'.repeat((n * 37) % 200);
  const line = (n: number) => ours(n, { title: length(n), props: n % 5 === 0 ? { n } : undefined });
  const all = Array.from({ length: 60 }, (_, n) => n);
  const before = new Set([0, 1, 7, 8, 9, 30, 58, 59]);
  await one.write(batchOf([...before].map(line)));
  await one.write(batchOf(all.map(line), { partition: 1 }));
  const rows = await sql(dsn, 'SELECT event_id, path, user_id, title, props FROM events ORDER BY event_id');
  expect(rows).toEqual(
    all.map((n) => ({
      event_id: uuid(n),
      path: `/p${n % 10}`,
      user_id: `user-${n % 7}`,
      title: length(n) || null,
      props: n % 5 === 0 ? { n } : null,
    })),
  );
  expect(one.counted.map(({ event }) => event.eventId).sort()).toEqual(all.map(uuid));
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 60 }]);
});

// Goal: what the pipe repeats counts nowhere, what a client repeats is a duplicate, whatever comes in which order.
// Method: acceptances of few ids, foreign records and such as are no events, each delivered up to four times, in batches
// at other places of other partitions, by two groups. The books must be those of the acceptances.
test.each([1, 2, 3, 4])(
  'the books hold each acceptance once, however often its record comes: seed %i',
  async (seed) => {
    const pick = chances(seed);
    const accepted: { value: string; outcome: 'event' | 'rejected'; id: string }[] = [];
    for (let n = 0; n < 40; n += 1) {
      const id = pick(15);
      const bad = pick(5) === 0;
      const value = taken(id, n, bad ? { event_type: '' } : {});
      accepted.push({ value, outcome: bad ? 'rejected' : 'event', id: uuid(id) });
    }
    const delivered = accepted.flatMap((one) => Array.from({ length: 1 + pick(4) }, () => one));
    for (let i = delivered.length - 1; i > 0; i -= 1) {
      const j = pick(i + 1);
      [delivered[i], delivered[j]] = [delivered[j]!, delivered[i]!];
    }
    const foreign = [
      theirs(1, { event_id: uuid(100) }),
      theirs(2),
      theirs(2),
      theirs(3, { user_id: 'u'.repeat(101) }),
      '{',
    ];
    const repeats: number[] = [];
    const told = {
      stored: () => {},
      duplicates: () => {},
      rejected: () => {},
      repeats: (n: number) => repeats.push(n),
    };
    const one = await processor(dsn, { told });
    let from = 0;
    while (from < delivered.length) {
      const values = delivered.slice(from, from + 1 + pick(12)).map(({ value }) => value);
      await one.write(batchOf(values, { from }));
      from += values.length;
    }
    await one.write(batchOf([...foreign, theirs(4, { event_id: uuid(100) })], { partition: 1 }));
    const events = accepted.filter(({ outcome }) => outcome === 'event');
    const stored = new Set(events.map(({ id }) => id)).size;
    const rejected = accepted.length - events.length;
    const expected = [
      { ...books, site_id: '', accepted: 1, rejected: 1 },
      {
        ...books,
        accepted: 5,
        stored: stored + 3,
        duplicates: events.length - stored + 1,
        rejected: rejected + 1,
      },
    ];
    expect(await outcomesOf(dsn)).toEqual(expected);
    const sum = () => repeats.reduce((all, each) => all + each, 0);
    expect(sum()).toBe(delivered.length - accepted.length);
    // Another group reads all of it from the begin.
    const other = await processor(dsn, { told });
    await other.write(batchOf(delivered.map(({ value }) => value)));
    await other.write(batchOf([...foreign, theirs(4, { event_id: uuid(100) })], { partition: 1 }));
    expect(await outcomesOf(dsn)).toEqual(expected);
    expect(sum()).toBe(2 * delivered.length - accepted.length + foreign.length + 1);
  },
);

test('a batch that comes again changes nothing', async () => {
  const one = await processor(dsn, {}, { group: 'again' });
  const batch = batchOf([ours(1), theirs(2), 'no JSON']);
  await one.write(batch);
  const other = await processor(dsn, {}, { group: 'again' });
  await expect(other.write(batch)).rejects.toThrow();
  // A group of another name reads from the begin: the ids are known, those that we have made too.
  const third = await processor(dsn, {}, { group: 'another' });
  await third.write(batch);
  expect(await sql(dsn, 'SELECT count(*)::int AS n FROM events')).toEqual([{ n: 2 }]);
});

test('a record that is no event is a dead letter, in the books too; the good ones around it are stored', async () => {
  const one = await processor(dsn);
  const bad = [
    'no JSON',
    '[]',
    '{"event_type":"page_view"}',
    theirs(1, { event_type: 'x'.repeat(51) }),
    theirs(1, { user_id: 'u'.repeat(101) }),
    theirs(1, { timestamp: '2026-02-30T00:00:00Z' }),
    theirs(1, { event_id: '123' }),
    ours(1, { event_id: undefined }),
    JSON.stringify({ site_id: 'x', event_type: 'y', path: 'z'.repeat(100_000) }),
  ];
  await one.write(batchOf([ours(1), ...bad, ours(2)], { key: 'key' }));
  expect(await ids()).toEqual([1, 2].map(uuid));
  expect(one.letters.map(({ offset, value, key, topic }) => [offset, String(value), String(key), topic])).toEqual(
    bad.map((value, i) => [i + 1, value, 'key', 'events']),
  );
  expect(one.letters.map(({ reason }) => /^\w+/.exec(reason)![0])).toEqual([
    'the',
    'the',
    'site_id',
    'event_type',
    'user_id',
    'timestamp',
    'event_id',
    'event_id',
    'the',
  ]);
  expect(await outcomesOf(dsn)).toEqual([
    { ...books, site_id: '', accepted: 4, rejected: 4 },
    { ...books, accepted: 4, stored: 2, rejected: 5 },
  ]);
});

test('a record that the database refuses alone is rejected; nothing that it has changed stays', async () => {
  await sql(dsn, "ALTER TABLE events ADD CONSTRAINT no_poison CHECK (path <> '/poison')");
  const one = await processor(dsn);
  const batch = batchOf([ours(1), ours(2, { path: '/poison', site_id: 'poisoned' }), ours(3)]);
  const error = await one.write(batch).catch((error: unknown) => error);
  expect(one.classify(error)).toBe('split');
  expect(await ids()).toEqual([]);
  for (const at of [0, 1, 2]) await one.write(piece(batch, at, 1));
  await one.write({ ...piece(batch, 0, 0), commit: true });
  await sql(dsn, 'ALTER TABLE events DROP CONSTRAINT no_poison');
  expect(await ids()).toEqual([1, 3].map(uuid));
  expect(one.letters.map(({ offset, reason }) => [offset, reason])).toEqual([
    [1, expect.stringContaining('no_poison')],
  ]);
  expect(one.counted.map(({ event }) => event.eventId)).toEqual([1, 3].map(uuid));
  expect(await sql(dsn, 'SELECT event_id FROM event_ids ORDER BY 1')).toEqual(
    [1, 3].map((n) => ({ event_id: uuid(n) })),
  );
  expect(await outcomesOf(dsn)).toEqual([
    { ...books, site_id: 'poisoned', rejected: 1 },
    { ...books, stored: 2 },
  ]);
});

test('an event that was refused and is taken later leaves the count of rejected events', async () => {
  const one = await processor(dsn);
  const poison = (acceptance: number) => taken(1, acceptance, { path: '/poison' });
  const foreign = theirs(2, { path: '/poison', event_id: uuid(2) });
  const write = (value: string, from: number) => one.write(batchOf([value], { from, brokerTime: false }));
  await sql(dsn, "ALTER TABLE events ADD CONSTRAINT no_poison CHECK (path <> '/poison')");
  // Refused, a repeat of it, an acceptance of the same event, another event by somebody else.
  for (const [at, value] of [poison(1), poison(1), poison(2), foreign].entries()) await write(value, at);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, accepted: 1, rejected: 3 }]);
  await sql(dsn, 'ALTER TABLE events DROP CONSTRAINT no_poison');
  await write(poison(2), 4);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, accepted: 1, stored: 1, rejected: 2 }]);
  // As another group reads it.
  const other = await processor(dsn, { now: () => RECEIVED + 3_600_000 });
  await other.write(batchOf([poison(1), poison(1), poison(2), foreign], { brokerTime: false }));
  const later = { ...books, hour: HOUR + 1, accepted: 1, stored: 1 };
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 1, duplicates: 1 }, later]);
  await other.write(batchOf([poison(1)], { from: 4 }));
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 1, duplicates: 1 }, later]);
  expect(await sql(dsn, 'SELECT * FROM refused_events')).toEqual([]);
});

test('a dead letter of a lane that is sent again: refused anew it counts once, taken it is stored', async () => {
  const one = await processor(dsn);
  const lane = laneBatch([taken(1, 1, { path: '/poison' })]);
  await sql(dsn, "ALTER TABLE events ADD CONSTRAINT no_poison CHECK (path <> '/poison')");
  const refused = (batch: SinkBatch) => one.write(batch).catch((error: unknown) => one.classify(error));
  expect(await refused(lane)).toBe('split');
  // A replay has a strand of its own (delivery/dead-letter-replay.ts).
  const replay = { ...lane, lane: { life: 0, lane: 0 } };
  expect(await refused({ ...replay, commit: false })).toBe('split');
  expect(await outcomesOf(dsn)).toEqual([{ ...books, rejected: 1 }]);
  await sql(dsn, 'ALTER TABLE events DROP CONSTRAINT no_poison');
  await one.write({ ...replay, commit: false });
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 1 }]);
});

test('texts that ask for more stay texts, in every field', async () => {
  const one = await processor(dsn);
  const attack = `'); DROP TABLE events; --"\\\u2028\${7*7}%s$1{{x}}`;
  const keys = [
    'path',
    'url',
    'referrer',
    'title',
    'utm_source',
    'utm_term',
    'country',
    'region',
    'browser',
    'os',
    'bot',
  ];
  const fields = Object.fromEntries(keys.map((key) => [key, attack]));
  const line = ours(1, {
    site_id: attack,
    event_type: attack.slice(0, 50),
    user_id: attack,
    props: { [attack]: attack },
    ...fields,
  });
  await one.write(
    batchOf([line, ours(2, { path: 'a\0b\ud800', props: { 'k\0': '\udfff' } }), ours(3, { site_id: '\0' })]),
  );
  const [row, mended] = await sql(dsn, 'SELECT * FROM events ORDER BY event_id');
  expect(row).toMatchObject({ site_id: attack, user_id: attack, props: { [attack]: attack }, ...fields });
  expect(mended).toMatchObject({ path: 'a\ufffdb\ufffd', props: { 'k\ufffd': '\ufffd' } });
  expect(await sql(dsn, 'SELECT site_id FROM sites ORDER BY 1')).toEqual([{ site_id: attack }, { site_id: 'site' }]);
  expect(one.letters).toHaveLength(1);
});

test('an event that is older than its site keeps them is rejected, by each of its names', async () => {
  const one = await processor(dsn);
  await sql(
    dsn,
    `WITH made AS (INSERT INTO sites (site_id, retention_days) VALUES ('short', 3), ('long', NULL) RETURNING site, site_id)
     INSERT INTO site_names (site_id, site) SELECT site_id, site FROM made
     UNION ALL SELECT 'before', site FROM made WHERE site_id = 'short'`,
  );
  const old = new Date(Date.UTC(2026, 10, 16, 23, 59, 59, 999)).toISOString();
  const kept = new Date(Date.UTC(2026, 10, 17)).toISOString();
  const line = (n: number, site: string, timestamp: string) => ours(n, { site_id: site, timestamp });
  const batch = [line(1, 'short', old), line(2, 'before', old), line(3, 'short', kept), line(4, 'long', old)];
  await one.write(batchOf([...batch, line(5, 'short', kept)]));
  expect(await ids()).toEqual([3, 4, 5].map(uuid));
  expect(one.letters.map(({ offset, reason }) => [offset, reason])).toEqual(
    [0, 1].map((offset) => [offset, expect.stringContaining('the retention of the site')]),
  );
  expect(await outcomesOf(dsn)).toEqual([
    { ...books, site_id: 'before', rejected: 1 },
    { ...books, site_id: 'long', stored: 1 },
    { ...books, site_id: 'short', stored: 2, rejected: 1 },
  ]);
});

test('an event of a day that a retention has deleted is rejected, also when it is longer now', async () => {
  const one = await processor(dsn, { retentionDays: 365 });
  await sql(
    dsn,
    `WITH made AS (
         INSERT INTO sites (site_id, retention_days) VALUES ('longer', 30), ('ended', NULL) RETURNING site, site_id),
       named AS (INSERT INTO site_names (site_id, site) SELECT site_id, site FROM made)
     INSERT INTO kept_from SELECT site, date '2026-11-17' - date '1970-01-01' FROM made
     UNION ALL SELECT 0, date '2026-10-01' - date '1970-01-01'`,
  );
  const line = (n: number, site: string, day: string) => ours(n, { site_id: site, timestamp: `${day}T23:59:59Z` });
  const gone = [line(1, 'longer', '2026-11-16'), line(2, 'ended', '2026-11-16'), line(3, 'new', '2026-09-30')];
  const there = [line(4, 'longer', '2026-11-17'), line(5, 'ended', '2026-11-17'), line(6, 'new', '2026-10-01')];
  await one.write(batchOf([...gone, ...there]));
  expect(await ids()).toEqual([4, 5, 6].map(uuid));
  expect(one.letters.map(({ offset, reason }) => [offset, reason])).toEqual(
    [0, 1, 2].map((offset) => [offset, expect.stringContaining('the retention of the site')]),
  );
});

test('what was stored while it was young enough counts nowhere when it comes again, and is no letter', async () => {
  const young = await processor(dsn, { retentionDays: 1 });
  const lines = [ours(1), theirs(2, { event_id: uuid(2) }), ours(3)];
  await young.write(batchOf(lines));
  const stored = await outcomesOf(dsn);
  // A group of its own reads the topic again, two months later.
  const later = await processor(dsn, { retentionDays: 1, now: () => RECEIVED + 60 * 86_400_000 });
  await later.write(batchOf([...lines, taken(1, 7), ours(4)]));
  expect(later.letters.map(({ offset }) => offset)).toEqual([4]);
  expect(stored).toEqual([{ ...books, accepted: 1, stored: 3 }]);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, accepted: 1, stored: 3, duplicates: 1, rejected: 1 }]);
});

test('refused records of a lane are named at once, and counted once', async () => {
  const one = await processor(dsn, { retentionDays: 1 });
  const old = (n: number) => taken(n, n, { timestamp: '2020-01-01T00:00:00Z' });
  const lane = laneBatch([old(1), ours(2), 'no JSON', old(1), ours(3), old(4)]);
  for (let again = 0; again < 2; again += 1) {
    const error = await one.write(lane).catch((failure: unknown) => failure);
    expect(one.classify(error)).toBe('split');
    const { reasons } = error as RecordsRefused;
    expect([...reasons.keys()]).toEqual([0, 2, 3, 5]);
    expect(reasons.get(2)).toContain('JSON');
    expect(await ids()).toEqual([]);
  }
  const rest = { offsets: lane.offsets.filter((_, i) => i === 1 || i === 4), count: 2 };
  await one.write({ ...lane, ...rest, commit: false });
  expect(await ids()).toEqual([2, 3].map(uuid));
  expect(await outcomesOf(dsn)).toEqual([
    { ...books, site_id: '', rejected: 1 },
    { ...books, stored: 2, rejected: 2 },
  ]);
});

test('while the dead topic takes no letter nothing commits', async () => {
  const letters = {
    put: async () => {
      throw new Error('the broker is away');
    },
    classify: () => 'retry' as const,
    close: async () => {},
  };
  const one = await processor(dsn, { letters });
  const error = await one.write(batchOf([ours(1), 'no JSON'])).catch((error: unknown) => error);
  expect([one.classify(error), await ids(), await outcomesOf(dsn)]).toEqual(['retry', [], []]);
});

test('a letter is sent once for its record, and again for the record at its offset in a topic that was made anew', async () => {
  const one = await processor(dsn);
  // Nothing of it commits: the letters are out, the batch comes again.
  const batch = { ...batchOf([ours(1), 'no JSON']), lane: { life: 1, lane: 0, lifeId: 'first' } };
  const failed = piece(batch, 0, 2);
  await sql(dsn, 'ALTER TABLE outcome_hours RENAME TO away');
  await expect(one.write(failed)).rejects.toThrow('outcome_hours');
  await expect(one.write(failed)).rejects.toThrow('outcome_hours');
  expect(one.letters.map(({ offset, value }) => [offset, String(value)])).toEqual([[1, 'no JSON']]);
  await sql(dsn, 'ALTER TABLE away RENAME TO outcome_hours');
  const anew = batchOf([ours(2), 'no JSON either']);
  await one.write(piece({ ...anew, lane: { life: 1, lane: 0, lifeId: 'second' } }, 0, 2));
  expect(one.letters.map(({ offset, value }) => [offset, String(value)])).toEqual([
    [1, 'no JSON'],
    [1, 'no JSON either'],
  ]);
});

test('a clock that is ahead counts as the receipt; a foreign one is judged by the broker, or by the time of reading', async () => {
  const ahead = new Date(RECEIVED + 6 * 60_000).toISOString();
  const one = await processor(dsn, { ageMsMax: 86_400_000 });
  await one.write(
    batchOf([
      theirs(1, { event_id: uuid(1), timestamp: ahead }),
      theirs(2, { event_id: uuid(2), timestamp: undefined }),
    ]),
  );
  await one.write(batchOf([theirs(3, { event_id: uuid(3), timestamp: ahead })], { from: 2, brokerTime: false }));
  await one.write(batchOf([theirs(4, { timestamp: '2026-11-19T09:59:59.999Z' })], { from: 3 }));
  const rows = await sql<{ timestamp: Date; received_at: Date }>(dsn, 'SELECT * FROM events ORDER BY event_id');
  expect(rows.map((row) => [row.timestamp.getTime() - RECEIVED, row.received_at.getTime() - RECEIVED])).toEqual([
    [0, 0],
    [0, 0],
    [5000, 5000],
  ]);
  expect(one.letters.map(({ reason }) => reason)).toEqual([
    'timestamp must not be older than MAX_EVENT_AGE, RETENTION_DAYS and the retention of the site allow',
  ]);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, accepted: 4, stored: 3, rejected: 1 }]);
});

test('a site that was removed while its number was in memory is made anew', async () => {
  const one = await processor(dsn);
  await one.write(batchOf([ours(1)]));
  await sql(dsn, 'DELETE FROM sites');
  const again = batchOf([ours(2)], { from: 1 });
  const error = await one.write(again).catch((error: unknown) => error);
  expect([one.classify(error), String(error)]).toEqual(['retry', expect.stringContaining('are gone')]);
  await one.write(again);
  expect(await ids()).toEqual([1, 2].map(uuid));
});

test('a batch sees what was committed before it got its lock, whatever the database has as its default', async () => {
  const [database] = await sql<{ name: string }>(dsn, 'SELECT quote_ident(current_database()) AS name');
  await sql(dsn, `ALTER DATABASE ${database!.name} SET default_transaction_isolation = 'serializable'`);
  try {
    let level: unknown;
    const rollups: Parameters<typeof processor>[1] = {
      rollups: {
        prepare: () => ({
          add: () => {},
          leaveOut: () => {},
          apply: async (transaction) => {
            level = (await transaction.query('SHOW transaction_isolation')).rows[0]!['transaction_isolation'];
          },
        }),
        forget: () => {},
      },
    };
    await (await processor(dsn, rollups)).write(batchOf([ours(1)]));
    expect(level).toBe('read committed');
  } finally {
    await sql(dsn, `ALTER DATABASE ${database!.name} RESET default_transaction_isolation`);
  }
});

test('two processors store the same events at the same time: each once, and no deadlock ends in an error', async () => {
  const processors = await Promise.all([processor(dsn), processor(dsn)]);
  const lines = Array.from({ length: 2000 }, (_, n) => ours(n));
  const again = lines.map((_, n) => taken(n, n + 1)).toReversed();
  await Promise.all([processors[0]!.write(batchOf(lines)), processors[1]!.write(batchOf(again))]);
  expect(await sql(dsn, 'SELECT count(*)::int AS n, count(DISTINCT event_id)::int AS ids FROM events')).toEqual([
    { n: 2000, ids: 2000 },
  ]);
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 2000, duplicates: 2000 }]);
  // Both find that they have had everything, one of them what the other had.
  const all = [...again, ...lines.toReversed()];
  await Promise.all(
    processors.map((each, n) => each.write(batchOf(n === 0 ? all : all.toReversed(), { partition: 1 }))),
  );
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 2000, duplicates: 2000 }]);
});

test('Postgres restarts between two batches, and dies within one: each event is stored once', async () => {
  const one = await processor(dsn);
  await one.write(batchOf([ours(1)]));
  await server.restart();
  const second = batchOf([ours(2)], { from: 1 });
  await expect.poll(() => one.write(second).then(() => 'stored', String)).toBe('stored');
  const holder = new pg.Client({ connectionString: dsn });
  holder.on('error', () => {});
  await holder.connect();
  await holder.query('BEGIN; UPDATE sites SET registered = true');
  const third = batchOf([ours(3)], { from: 2 });
  const failed = one.write(third).then(
    () => 'stored',
    (error: unknown) => one.classify(error),
  );
  const waits = async () =>
    (await sql<{ n: number }>(dsn, 'SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted'))[0]!.n;
  await expect.poll(waits).toBeGreaterThan(0);
  await server.kill9();
  expect(await failed).toBe('retry');
  await holder.end().catch(() => {});
  await server.restart();
  await expect.poll(() => one.write(third).then(() => 'stored', String)).toBe('stored');
  expect(await ids()).toEqual([1, 2, 3].map(uuid));
  expect(await outcomesOf(dsn)).toEqual([{ ...books, stored: 3 }]);
});

test('a record of a lane that is no event is counted once, and left to the runner', async () => {
  const one = await processor(dsn);
  const lane = laneBatch([ours(1), '{"event_id":1}', ours(2)]);
  const refused = (batch: SinkBatch) => one.write(batch).catch((error: unknown) => one.classify(error));
  expect(await refused(lane)).toBe('split');
  await one.write(piece(lane, 0, 1));
  expect([await refused(piece(lane, 1, 1)), await refused(piece(lane, 1, 1))]).toEqual(['split', 'split']);
  await one.write(piece(lane, 2, 1));
  await one.write({ ...piece(lane, 0, 0), commit: true });
  expect(await ids()).toEqual([1, 2].map(uuid));
  expect(await outcomesOf(dsn)).toEqual([
    { ...books, site_id: '', rejected: 1 },
    { ...books, stored: 2 },
  ]);
  expect(one.letters).toEqual([]);
});
