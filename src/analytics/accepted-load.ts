/**
 * Load of the output `accepted`: how many events of each site were taken in each UTC hour, counted from the lanes by
 * the process that answered 2xx for them, in the transaction that moves the cursor. So GET /reconcile can hold what was
 * stored against a number that no later step has touched.
 *
 * Of a line only the site is read: it stands at a fixed place, behind {"event_id":"<36 characters>","site_id":".
 */
import { jsonStart, receivedMsAt } from '../events/record.ts';
import type { MakeLoad } from '../sinks/postgres/load.ts';

const HOUR_MS = 3_600_000;
const SITE_LEAD = '{"event_id":"00000000-0000-0000-0000-000000000000","site_id":"'.length;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

// Two spellings of one site in JSON are two rows of the batch and one of the table. Locks are taken in one order.
const SQL = `INSERT INTO accepted_hours AS h (site_id, hour, accepted)
  SELECT site_id, hour, sum(accepted) FROM unnest($1::text[], $2::int[], $3::bigint[]) AS n (site_id, hour, accepted)
  GROUP BY site_id, hour ORDER BY site_id, hour
  ON CONFLICT (site_id, hour) DO UPDATE SET accepted = h.accepted + excluded.accepted`;

export interface AcceptedCounts {
  readonly sites: readonly string[];
  readonly hours: readonly number[];
  readonly counts: readonly number[];
}

/** Events of a batch per site and hour. */
export function countAccepted(buffer: Buffer, offsets: Int32Array, count: number): AcceptedCounts {
  const byHour = new Map<number, Map<string, number>>();
  let hour = Number.NaN;
  let sites = new Map<string, number>();
  for (let i = 0; i < count; i += 1) {
    const record = offsets[i]!;
    const at = Math.floor(receivedMsAt(buffer, record) / HOUR_MS);
    if (at !== hour) {
      hour = at;
      sites = byHour.get(hour) ?? new Map<string, number>();
      byHour.set(hour, sites);
    }
    const from = jsonStart(record) + SITE_LEAD;
    // The text inside its quotes, a character per byte: it is decoded once per site, not once per event.
    const raw = buffer.toString('latin1', from, endOfText(buffer, from));
    sites.set(raw, (sites.get(raw) ?? 0) + 1);
  }
  const rows = [...byHour].flatMap(([of, each]) =>
    [...each].map(([raw, events]) => [siteOf(raw), of, events] as const),
  );
  return { sites: rows.map(([site]) => site), hours: rows.map(([, of]) => of), counts: rows.map(([, , n]) => n) };
}

function endOfText(buffer: Buffer, from: number): number {
  let to = from;
  while (buffer[to] !== QUOTE) to += buffer[to] === BACKSLASH ? 2 : 1;
  return to;
}

/** What stands in the table: Postgres keeps no NUL and no half of a surrogate pair. */
function siteOf(raw: string): string {
  const text = Buffer.from(raw, 'latin1').toString('utf8');
  const site = text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
  return site.toWellFormed().replaceAll('\0', '\uFFFD');
}

export default (() => () => ({
  async load(transaction, { buffer, offsets, count }) {
    const { sites, hours, counts } = countAccepted(buffer, offsets, count);
    await transaction.query(SQL, [sites, hours, counts]);
  },
})) satisfies MakeLoad;
