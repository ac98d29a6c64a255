/**
 * Answers questions from the columns in the database. A day that is sealed (seal.ts) is read as columns, only those
 * that the question needs; they come in one binary COPY and are scanned while the server sends the next. Any other day,
 * and one whose events have changed since, is built from its raw events. All of it is one snapshot.
 *
 * COPY, for `pg` makes texts of the fields of a query's rows, binary ones too.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { copyOut } from '../../store/postgres/copy.ts';
import { DAY_MS } from '../dimensions.ts';
import type { ScanQuestion, ScanRow } from '../query/types.ts';
import { ColumnCache } from './cache.ts';
import { type ColumnName, columnNames, Day, packDay, readHead } from './format.ts';
import { buildFromRaw, integer, type SiteDay, SORT_MEMORY } from './raw.ts';
import { columnsOf, DayScan } from './scan.ts';

export interface ColumnsOptions {
  /** SESSION_TIMEOUT, ms. */
  readonly gapMs: number;
  /** Most bytes of columns that stay in memory between questions. */
  readonly cacheBytes: number;
}

export interface ScanAnswer {
  readonly rows: readonly ScanRow[];
  /** 1: visitors are exact. Else users are a sample, and each stands for this many (user-set.ts has the error). */
  readonly userWeight: number;
  /** There were too many values; those that came last are missing. */
  readonly cut: boolean;
}

/** How long the parts of an answer took, ms. */
export interface ScanTimes {
  /** Waiting for columns and decoding them; without the scans between. */
  readMs: number;
  scanMs: number;
  /** Reading raw events and building columns. */
  buildMs: number;
  daysSealed: number;
  daysRaw: number;
  daysCached: number;
  bytesRead: number;
}

interface DayRow extends Record<string, unknown> {
  readonly day: number;
  readonly revision: number;
  /** Revision of its columns. */
  readonly sealed: number | null;
}

export class Columns {
  readonly #gapMs: number;
  readonly #cache: ColumnCache;
  /** Of the last answer. */
  times: ScanTimes = noTimes();

  constructor(options: ColumnsOptions) {
    this.#gapMs = options.gapMs;
    this.#cache = new ColumnCache(options.cacheBytes);
  }

  get cacheBytes(): number {
    return this.#cache.bytes;
  }

  /** Opens the snapshot itself: the session must be in no transaction. */
  async answer(link: PostgresLink, question: ScanQuestion): Promise<ScanAnswer> {
    await link.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    try {
      return await this.answerWithin(link, question);
    } finally {
      if (link.broken === undefined) await link.query('ROLLBACK');
    }
  }

  /** Within the snapshot that the session's transaction has: it must be REPEATABLE READ. */
  async answerWithin(link: PostgresLink, question: ScanQuestion): Promise<ScanAnswer> {
    const times = noTimes();
    const scan = new DayScan(question);
    const wanted = columnsOf(question);
    const add = (day: number, columns: Day): void => {
      const begin = performance.now();
      scan.add(day, columns);
      times.scanMs += performance.now() - begin;
    };
    const begin = performance.now();
    const missing: DayRow[] = [];
    for (const row of await daysOf(link, question)) {
      const cached = this.#cache.get({ site: question.site, day: row.day }, row.revision, wanted);
      if (cached === undefined) missing.push(row);
      else {
        times.daysCached += 1;
        add(row.day, cached);
      }
    }
    const sealed = missing.filter(({ sealed, revision }) => sealed === revision);
    if (sealed.length > 0) await this.#read(link, question.site, sealed, wanted, times, add);
    times.daysSealed = sealed.length;
    times.readMs = performance.now() - begin - times.scanMs;
    // The rows of a day are sorted: in memory, when they are not many millions. For this transaction alone.
    if (sealed.length < missing.length) await link.query(`SET LOCAL work_mem = '${SORT_MEMORY}'`);
    for (const row of missing) {
      if (row.sealed !== row.revision) add(row.day, await this.#build(link, question, row, wanted, times));
    }
    this.times = times;
    const { tally } = scan;
    return { rows: tally.rows(), userWeight: tally.users.weight, cut: tally.cut };
  }

  async #read(
    link: PostgresLink,
    site: number,
    days: readonly DayRow[],
    wanted: ReadonlySet<ColumnName>,
    times: ScanTimes,
    add: (day: number, columns: Day) => void,
  ): Promise<void> {
    const revisions = new Map(days.map(({ day, revision }) => [day, revision]));
    let current: { readonly day: number; readonly packed: Map<ColumnName, Uint8Array<ArrayBuffer>> } | undefined;
    let head: Uint8Array<ArrayBuffer> | undefined;
    const finish = (): void => {
      if (current === undefined) return;
      const { day, packed } = current;
      if (head === undefined) throw new Error(`the columns of a day must have a head: site=${site}, day=${day}`);
      const columns = readHead(head, packed);
      add(day, columns);
      this.#cache.put({ site, day }, revisions.get(day)!, columns);
      current = undefined;
      head = undefined;
    };
    await copyOut(link, selectOf(site, [...revisions.keys()], wanted), ([dayField, nameField, bytesField]) => {
      const day = dayField!.readInt32BE(0);
      if (current?.day !== day) {
        finish();
        current = { day, packed: new Map() };
      }
      const name = nameField!.toString('latin1');
      // A copy of its own: the field is part of what the socket gave, and not aligned.
      const bytes = new Uint8Array(bytesField!);
      times.bytesRead += bytes.length;
      if (name === 'head') head = bytes;
      else current!.packed.set(name as ColumnName, bytes);
    });
    finish();
  }

  async #build(
    link: PostgresLink,
    { site }: ScanQuestion,
    { day, revision }: DayRow,
    wanted: ReadonlySet<ColumnName>,
    times: ScanTimes,
  ): Promise<Day> {
    const begin = performance.now();
    const built = await buildFromRaw(link, { site, day }, this.#gapMs, wanted);
    // Columns that were not asked for are empty, not true.
    const columns = new Day(built.counts, new Map([...built.packed].filter(([name]) => wanted.has(name))));
    this.#cache.put({ site, day }, revision, columns);
    times.daysRaw += 1;
    times.buildMs += performance.now() - begin;
    return columns;
  }
}

/** Days that have events, and which revision of them is sealed. */
async function daysOf(link: PostgresLink, { site, range }: ScanQuestion): Promise<readonly DayRow[]> {
  const { rows } = await link.query<DayRow>(
    `SELECT d.day, d.revision, c.revision AS sealed FROM site_days d
       LEFT JOIN day_columns c ON c.site = d.site AND c.day = d.day AND c.name = 'head'
       WHERE d.site = $1 AND d.day BETWEEN $2 AND $3`,
    [site, Math.floor(range.fromMs / DAY_MS), Math.floor((range.toMs - 1) / DAY_MS)],
  );
  return rows;
}

/** COPY takes no parameters: integers, and names that are looked up in the list of all columns. */
function selectOf(site: number, days: readonly number[], wanted: ReadonlySet<ColumnName>): string {
  const names = columnNames.filter((name) => wanted.has(name)).map((name) => `'${name}'`);
  return `COPY (SELECT day, name, bytes FROM day_columns
    WHERE site = ${integer(site)} AND day IN (${days.map(integer).join(', ')}) AND name IN ('head', ${names.join(', ')})
    ORDER BY day) TO STDOUT (FORMAT binary)`;
}

/** Replaces the columns of a day. */
export async function writeDay(
  link: PostgresLink,
  { site, day }: SiteDay,
  revision: number,
  columns: Day,
): Promise<void> {
  await link.query('DELETE FROM day_columns WHERE site = $1 AND day = $2', [site, day]);
  for (const [name, bytes] of packDay(columns)) {
    await link.query('INSERT INTO day_columns (site, day, name, revision, bytes) VALUES ($1, $2, $3, $4, $5)', [
      site,
      day,
      name,
      revision,
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    ]);
  }
}

function noTimes(): ScanTimes {
  return { readMs: 0, scanMs: 0, buildMs: 0, daysSealed: 0, daysRaw: 0, daysCached: 0, bytesRead: 0 };
}
