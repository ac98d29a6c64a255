/**
 * What must hold when nothing is under way any more: the raw events are those that the clients had a 2xx for, each once;
 * every rollup, every answer and the books equal a recount of them.
 */
import assert from 'node:assert/strict';
import type { CountedEvent } from '../../src/analytics/event.ts';
import { openLink, type PostgresLink } from '../../src/store/postgres/connection.ts';
import type { Clients, SentEvent } from './clients.ts';
import { assertBrought, type Brought, isForeigners } from './foreigner.ts';
import { assertEqual } from './rollup/compare.ts';

const MINUTES = 60_000;
const options = { sessionTimeoutMs: 30 * MINUTES, dimensionValuesMax: 10_000, propertiesMax: 100 };

export const zones = ['UTC', 'Asia/Kathmandu', 'Europe/Berlin', 'America/St_Johns'] as const;

interface RawRow extends Record<string, unknown> {
  readonly event_id: string;
  readonly site_id: string;
  readonly event_type: string;
  readonly path: string | null;
  readonly user_id: string | null;
  readonly ms: number;
  readonly received: number;
  readonly site: number;
  readonly visitor: string | null;
  readonly source: string;
}

/** All raw events, as the recount takes them. */
export async function readRaw(link: PostgresLink): Promise<CountedEvent[]> {
  const { rows } = await link.query<RawRow>(
    `SELECT *, replace(visitor::text, '-', '') AS visitor, (extract(epoch FROM "timestamp") * 1000)::float8 AS ms,
       (extract(epoch FROM received_at) * 1000)::float8 AS received FROM events`,
  );
  return rows.map((row) => {
    const text = (key: string) => (row[key] as string | null) ?? undefined;
    return {
      site: row.site,
      visitor: row.visitor ?? undefined,
      signedIn: row.user_id !== null,
      source: row.source,
      event: {
        eventId: row.event_id,
        siteId: row.site_id,
        eventType: row.event_type,
        path: text('path'),
        userId: text('user_id'),
        timestampMs: row.ms,
        receivedMs: row.received,
        referrer: text('referrer'),
        props: (row['props'] as CountedEvent['event']['props'] | null) ?? undefined,
        utm_source: text('utm_source'),
        utm_medium: text('utm_medium'),
        utm_campaign: text('utm_campaign'),
        utm_term: text('utm_term'),
        utm_content: text('utm_content'),
        country: text('country'),
        region: text('region'),
        device: text('device'),
        browser: text('browser'),
        os: text('os'),
        bot: text('bot'),
      },
    };
  });
}

interface Books extends Record<string, unknown> {
  readonly accepted: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: number;
}

export async function booksOf(link: PostgresLink): Promise<Books> {
  const { rows } = await link.query<Books>(
    `SELECT (SELECT coalesce(sum(accepted), 0)::int FROM accepted_hours) AS accepted,
       coalesce(sum(stored), 0)::int AS stored, coalesce(sum(duplicates), 0)::int AS duplicates,
       coalesce(sum(rejected), 0)::int AS rejected FROM outcome_hours`,
  );
  return rows[0]!;
}

/** Whether the stored event is what was sent. The texts of the ledger are those that intake keeps unchanged. */
function isSent({ event }: CountedEvent, sent: SentEvent): boolean {
  return (
    event.siteId === sent.site_id &&
    event.eventType === sent.event_type &&
    event.path === sent.path &&
    event.userId === sent.user_id &&
    event.referrer === sent.referrer &&
    event.utm_source === sent.utm_source &&
    JSON.stringify(Object.entries(event.props ?? {}).sort()) ===
      JSON.stringify(Object.entries(sent.props ?? {}).sort()) &&
    (sent.timestamp === undefined
      ? event.timestampMs === Math.floor(event.receivedMs)
      : event.timestampMs === Date.parse(sent.timestamp))
  );
}

/** The raw events are those of the ledger. */
export function assertLedger(events: readonly CountedEvent[], taken: ReadonlyMap<string, readonly SentEvent[]>): void {
  const byId = new Map<string, SentEvent[]>();
  for (const [id, variants] of taken) byId.set(id.toLowerCase(), [...(byId.get(id.toLowerCase()) ?? []), ...variants]);
  const ids = events.map(({ event }) => event.eventId);
  assert.equal(new Set(ids).size, ids.length, 'an event stands in the table twice');
  const lost = [...byId.keys()].filter((id) => !new Set(ids).has(id));
  assert.deepEqual(lost.slice(0, 5), [], `${lost.length} of ${byId.size} events with a 2xx are lost`);
  for (const counted of events) {
    const variants = byId.get(counted.event.eventId);
    assert.ok(variants !== undefined, `nobody has sent ${counted.event.eventId}`);
    assert.ok(
      variants.some((sent) => isSent(counted, sent)),
      `stored ${JSON.stringify(counted)}, sent ${JSON.stringify(variants)}`,
    );
  }
}

const formats = new Map<string, Intl.DateTimeFormat>();
/** The date of an instant in a time zone. */
function dateIn(zone: string, ms: number): string {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
    formats.set(zone, format);
  }
  return format.format(ms);
}

const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** GET /stats by brute force, for every site and date that has events. */
export function expectedStats(events: readonly CountedEvent[], zone: string): Map<string, object> {
  const days = Map.groupBy(
    events.filter(({ event }) => event.bot === undefined),
    ({ event }) => JSON.stringify([event.siteId, dateIn(zone, event.timestampMs)]),
  );
  const answers = new Map<string, object>();
  for (const [key, list] of days) {
    const [siteId, date] = JSON.parse(key) as [string, string];
    const views = list.filter(({ event }) => event.eventType === 'page_view');
    const paths = new Map<string, number>();
    for (const { event } of views) if (event.path) paths.set(event.path, (paths.get(event.path) ?? 0) + 1);
    answers.set(key, {
      site_id: siteId,
      date,
      total_views: views.length,
      unique_users: new Set(views.map(({ event }) => event.userId).filter((user) => user !== undefined)).size,
      top_paths: [...paths]
        .map(([path, n]) => ({ path, views: n }))
        .sort((a, b) => b.views - a.views || byCodePoint(a.path, b.path))
        .slice(0, 10),
    });
  }
  return answers;
}

/** Questions under way at a time: below what an api lets wait. */
const WIDTH = 6;

async function assertAnswers(url: string, events: readonly CountedEvent[]): Promise<number> {
  const questions = zones.flatMap((zone) =>
    [...expectedStats(events, zone)].map(([key, expected]) => ({ zone, key, expected })),
  );
  const left = questions.values();
  const ask = async () => {
    for (const { zone, key, expected } of left) {
      const [site, date] = JSON.parse(key) as [string, string];
      const query = new URLSearchParams({ site_id: site, date, tz: zone });
      const answer = await fetch(`${url}/stats?${query}`);
      assert.deepEqual([answer.status, await answer.json()], [200, expected], `${zone} ${key}`);
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, ask));
  return questions.length;
}

interface Reconciled {
  readonly accepted: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: number;
  readonly pending: number;
}

async function assertReconciled(url: string, events: readonly CountedEvent[]): Promise<void> {
  const days = Map.groupBy(events, ({ event }) =>
    JSON.stringify([event.siteId, new Date(event.receivedMs).toISOString().slice(0, 10)]),
  );
  for (const [key, list] of days) {
    const [site, date] = JSON.parse(key) as [string, string];
    const answer = await fetch(`${url}/reconcile?${new URLSearchParams({ site_id: site, date })}`);
    const books = (await answer.json()) as Reconciled;
    assert.equal(books.stored, list.length, key);
    assert.equal(books.pending, 0, key);
    assert.equal(books.accepted, books.stored + books.duplicates + books.rejected, `${key} ${JSON.stringify(books)}`);
  }
}

/** Everything. `url`: of an api that answers. `foreign`: what the topic holds that no api has taken. */
export async function assertAllCounted(
  dsn: string,
  url: string,
  clients: Clients,
  foreign?: { readonly broker: string; readonly brought: Brought },
): Promise<string> {
  assert.deepEqual(clients.wrong, []);
  const link = await openLink(dsn);
  try {
    const events = await readRaw(link);
    assertLedger(
      events.filter((one) => !isForeigners(one)),
      clients.taken,
    );
    if (foreign !== undefined) await assertBrought(foreign.broker, foreign.brought, events);
    const books = await booksOf(link);
    assert.equal(books.rejected, foreign?.brought.poison.length ?? 0);
    assert.equal(books.stored, events.length);
    assert.equal(books.accepted, books.stored + books.duplicates + books.rejected, JSON.stringify(books));
    assert.ok(books.accepted >= clients.accepted, `${books.accepted} accepted, 2xx for ${clients.accepted}`);
    const sites = [...new Set(events.map(({ site }) => site))];
    await assertEqual(link, sites, events, options);
    const answers = await assertAnswers(url, events);
    await assertReconciled(url, events);
    return `${events.length} events, ${books.rejected} rejected, ${books.duplicates} duplicates, ${clients.refused} requests sent again, ${answers} answers`;
  } finally {
    await link.close();
  }
}
