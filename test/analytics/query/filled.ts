/**
 * A database whose tables hold what the plain recount (../recount.ts) says of some events, and the events themselves:
 * what is asked of it is tested without the part that counts.
 */
import { createHash } from 'node:crypto';
import { OTHER } from '../../../src/analytics/dimensions.ts';
import type { AnalyticsEvent, CountedEvent } from '../../../src/analytics/event.ts';
import { entryOf, withEntries } from '../../../src/analytics/rollup/sketch.ts';
import type { PostgresLink } from '../../../src/store/postgres/connection.ts';
import { type Expected, measureNames, OTHER_TEXT, type RecountOptions, recount } from '../recount.ts';

const MINUTE = 60_000;

/** Event `n` of a site, by somebody (`user`) or nobody. */
export function eventOf(
  n: number,
  siteId: string,
  site: number,
  timestampMs: number,
  more: Partial<AnalyticsEvent> = {},
): CountedEvent {
  const eventId = `00000000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;
  const event = { eventId, siteId, eventType: 'page_view', timestampMs, receivedMs: timestampMs, ...more };
  const day = Math.floor(timestampMs / (1440 * MINUTE));
  const who = event.userId ?? (event.visitor === undefined ? undefined : `${day}/${event.visitor}`);
  const visitor = who === undefined ? undefined : createHash('sha256').update(who).digest('hex').slice(0, 32);
  const source = event.referrer ?? '';
  return { event, site, visitor, signedIn: event.userId !== undefined, source };
}

export const valueId = (site: number, dictionary: number, text: string): bigint =>
  text === OTHER_TEXT ? OTHER : createHash('sha256').update(`${site}/${dictionary}/${text}`).digest().readBigInt64BE();

/** Columns of a table from rows, for unnest. */
const columnsOf = <T>(rows: readonly T[], ...reads: ((row: T) => unknown)[]) => reads.map((read) => rows.map(read));

/** `dictionaryOf`: the dictionary of a dimension's number. */
export async function fill(
  link: PostgresLink,
  events: readonly CountedEvent[],
  dictionaryOf: (dimension: number) => number,
  options: RecountOptions = { sessionTimeoutMs: 30 * MINUTE },
): Promise<Expected> {
  const expected = recount(events, options);
  const rows = [...expected.rollups.values()];
  const idOf = (row: (typeof rows)[number]) =>
    (row.dimension === 0 ? 0n : valueId(row.site, dictionaryOf(row.dimension), row.text)).toString();
  await link.query(
    `INSERT INTO sites (site, site_id) OVERRIDING SYSTEM VALUE SELECT DISTINCT * FROM unnest($1::int[], $2::text[])
     ON CONFLICT DO NOTHING`,
    columnsOf(
      events,
      ({ site }) => site,
      ({ event }) => event.siteId,
    ),
  );
  await link.query('INSERT INTO site_names SELECT site_id, site FROM sites ON CONFLICT DO NOTHING');
  await link.query(
    `INSERT INTO dimension_values SELECT DISTINCT * FROM unnest($1::int[], $2::smallint[], $3::bigint[], $4::text[])
     ON CONFLICT DO NOTHING`,
    columnsOf(
      rows.filter(({ dimension, text }) => dimension !== 0 && text !== OTHER_TEXT),
      ({ site }) => site,
      ({ dimension }) => dictionaryOf(dimension),
      idOf,
      ({ text }) => text,
    ),
  );
  await link.query(
    `INSERT INTO rollups (site, dimension, grain, t, value, sketch, ${measureNames.join(', ')})
     SELECT * FROM unnest($1::int[], $2::smallint[], $3::smallint[], $4::int[], $5::bigint[], $6::bytea[]
       ${measureNames.map((_, i) => `, $${i + 7}::bigint[]`).join('')})`,
    columnsOf(
      rows,
      ({ site }) => site,
      ({ dimension }) => dimension,
      ({ grain }) => grain,
      ({ t }) => t,
      idOf,
      ({ signedIn }) => (signedIn.size === 0 ? null : Buffer.from(withEntries(undefined, [...signedIn].map(entryOf)))),
      ...measureNames.map((name) => (row: (typeof rows)[number]) => row[name]),
    ),
  );
  await link.query(
    'INSERT INTO user_gaps SELECT * FROM unnest($1::int[], $2::smallint[], $3::int[], $4::smallint[], $5::int[])',
    columnsOf(
      [...expected.gaps].map(([key, users]) => [...key.split('|').map(Number), users]),
      ...[0, 1, 2, 3, 4].map((i) => (row: number[]) => row[i]),
    ),
  );
  await link.query(
    `INSERT INTO events (site_id, event_type, path, user_id, "timestamp", event_id, received_at, site, visitor, bot,
       source, referrer, browser, props)
     SELECT s, t, p, u, to_timestamp(ms / 1000), e::uuid, to_timestamp(ms / 1000), site, v::uuid, bot, src, r, b, props::jsonb
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::int[], $8::text[], $9::text[],
       $10::text[], $11::text[], $12::text[], $13::text[]) AS n (s, t, p, u, ms, e, site, v, bot, src, r, b, props)`,
    columnsOf(
      events,
      ({ event }) => event.siteId,
      ({ event }) => event.eventType,
      ({ event }) => event.path,
      ({ event }) => event.userId,
      ({ event }) => event.timestampMs,
      ({ event }) => event.eventId,
      ({ site }) => site,
      ({ visitor }) => visitor,
      ({ event }) => event.bot,
      ({ source }) => source,
      ({ event }) => event.referrer,
      ({ event }) => event.browser,
      ({ event }) => event.props && JSON.stringify(event.props),
    ),
  );
  await link.query(
    `INSERT INTO site_days (site, day, revision) SELECT DISTINCT site, floor(extract(epoch FROM "timestamp") / 86400), 1
     FROM events`,
  );
  return expected;
}
