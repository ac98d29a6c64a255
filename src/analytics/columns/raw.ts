/**
 * Reads the raw events of a site's day, in the order of the columns, and builds the columns from them.
 *
 * The rows are found by the contract's own index on (site_id, timestamp), under every name that the site has had: no
 * index of ours makes storing an event dearer. Postgres sorts them, on disk when they do not fit into `work_mem`, and
 * they stream through the builder, so this process never holds the events of a day.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { type CopyFields, copyOut, POSTGRES_EPOCH_MS } from '../../store/postgres/copy.ts';
import { DAY_MS } from '../dimensions.ts';
import { ENGAGEMENT, engagedMs, type PropValue } from '../event.ts';
import { DayBuilder, type RawEvent } from './build.ts';
import { attributes, type ColumnName, type Day } from './format.ts';

/** `work_mem` of a transaction that reads raw events. */
export const SORT_MEMORY = '48MB';

export interface SiteDay {
  readonly site: number;
  /** UTC day since 1970. */
  readonly day: number;
}

/**
 * `wanted`: the columns that will be asked for; the others of the day are then empty and must not be used. Left out:
 * all. `gapMs`: a longer pause begins a new visit.
 */
export async function buildFromRaw(
  link: PostgresLink,
  { site, day }: SiteDay,
  gapMs: number,
  wanted?: ReadonlySet<ColumnName>,
): Promise<Day> {
  const builder = new DayBuilder(day * DAY_MS, gapMs);
  const row = new RawRow();
  await copyOut(link, selectOf(site, day, wanted), (fields) => builder.add(row.with(fields)));
  return builder.finish();
}

/** COPY takes no parameters. What stands in it are two integers and names of ours. */
function selectOf(site: number, day: number, wanted: ReadonlySet<ColumnName> | undefined): string {
  const instant = (ms: number): string => `to_timestamp(${integer(ms) / 1000})`;
  const column = (name: string, ...uses: readonly ColumnName[]): string =>
    wanted === undefined || uses.some((use) => wanted.has(use)) ? `e.${name}` : 'NULL';
  const columns = [
    'e.visitor',
    'e.user_id IS NOT NULL',
    'e."timestamp"',
    'e.event_type',
    column('path', 'path', 'entry_page', 'exit_page', 'engaged_path'),
    wanted === undefined || wanted.has('prop')
      ? 'e.props'
      : `CASE WHEN e.event_type = '${ENGAGEMENT}' THEN e.props END`,
    ...attributes.map((name) => column(name, name)),
  ];
  return `COPY (SELECT ${columns.join(', ')} FROM events e
    WHERE e.site = ${integer(site)} AND e.bot IS NULL
      AND e.site_id IN (SELECT n.site_id FROM site_names n WHERE n.site = ${integer(site)})
      AND e."timestamp" >= ${instant(day * DAY_MS)} AND e."timestamp" < ${instant((day + 1) * DAY_MS)}
    ORDER BY e.user_id IS NULL, e.visitor, e."timestamp", e.event_id) TO STDOUT (FORMAT binary)`;
}

export function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TypeError(`SQL must be made with integers only: found=${value}`);
  return value;
}

/** One object for all rows; it reads from the buffer of the row what the builder asks for. */
class RawRow implements RawEvent {
  #fields: CopyFields = [];
  visitor = '';
  signedIn = false;
  timestampMs = 0;
  eventType = '';
  path = '';
  props: readonly string[] = [];
  engagedMs = 0;

  with(fields: CopyFields): this {
    this.#fields = fields;
    this.visitor = fields[0]?.toString('latin1') ?? '';
    this.signedIn = fields[1]![0] === 1;
    const at = fields[2]!;
    // Microseconds since 2000, as two words: together they are below 2^53 for some centuries.
    const us = at.readInt32BE(0) * 0x1_0000_0000 + at.readUInt32BE(4);
    this.timestampMs = Math.floor(us / 1000) + POSTGRES_EPOCH_MS;
    this.eventType = this.#text(3);
    this.path = this.#text(4);
    const props = readProps(fields[5]);
    this.engagedMs = engagedMs(this.eventType, props);
    this.props = Object.entries(props).map(([key, value]) => JSON.stringify([this.eventType, key, value]));
    return this;
  }

  attribute(index: number): string {
    return this.#text(6 + index);
  }

  #text(index: number): string {
    return this.#fields[index]?.toString('utf8') ?? '';
  }
}

function readProps(field: Buffer | null | undefined): Readonly<Record<string, PropValue>> {
  if (!field || field.length < 4) return {};
  // jsonb in binary: the byte 1, then the text.
  return JSON.parse(field.toString('utf8', 1)) as Readonly<Record<string, PropValue>>;
}
