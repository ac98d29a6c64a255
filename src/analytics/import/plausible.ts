/**
 * Plausible's export: CSV files of daily totals, one kind of table in each
 * (https://plausible.io/docs/csv-import, "imported_visitors" and so on). The kind is told by the columns, in any order;
 * those that we have no use for are passed over. visit_duration is the sum of seconds.
 *
 * All files of one run are one transaction: a kind is emptied when its first file comes, so files that share a kind
 * (one for each year) add up, and those of an earlier import are replaced.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { IMPORTED_VALUES_MAX } from '../api/imported.ts';
import { type Dimension, dimensions } from '../dimensions.ts';
import { analyticsErrors } from '../errors.ts';
import { limits } from '../event.ts';
import { parseDate } from '../query/range.ts';
import { splitCsv } from './csv.ts';
import type { Work } from './import-command.ts';
import { linesOf, TOO_LONG } from './lines.ts';

interface Kind {
  /** Columns that tell it from the others. */
  readonly by: readonly string[];
  /** What it is counted by, and the column of the value. */
  readonly values: Readonly<Partial<Record<Dimension, string>>>;
  /** Columns of our sums that have another name there. */
  readonly visits?: string;
}

const kinds: Readonly<Record<string, Kind>> = {
  pages: { by: ['page', 'hostname'], values: { path: 'page' } },
  entry_pages: { by: ['entry_page'], values: { entry_page: 'entry_page' }, visits: 'entrances' },
  exit_pages: { by: ['exit_page'], values: { exit_page: 'exit_page' }, visits: 'exits' },
  sources: {
    by: ['source'],
    values: {
      source: 'source',
      referrer: 'referrer',
      utm_source: 'utm_source',
      utm_medium: 'utm_medium',
      utm_campaign: 'utm_campaign',
      utm_content: 'utm_content',
      utm_term: 'utm_term',
    },
  },
  locations: { by: ['country'], values: { country: 'country', region: 'region' } },
  devices: { by: ['device'], values: { device: 'device' } },
  browsers: { by: ['browser'], values: { browser: 'browser' } },
  operating_systems: { by: ['operating_system'], values: { os: 'operating_system' } },
  custom_events: { by: ['name', 'events'], values: { event_type: 'name' } },
  visitors: { by: ['visitors', 'pageviews', 'visits', 'bounces'], values: {} },
};

interface Sums {
  readonly kind: string;
  readonly dimension: number;
  readonly day: number;
  readonly value: string;
  readonly numbers: number[];
}

const sums = ['visitors', 'visits', 'views', 'bounces', 'duration_ms', 'events'] as const;
/** Rows of one statement. */
const BATCH = 2000;
/** Of a value: it is part of a key, of which an index of Postgres holds 2704 bytes. */
const VALUE_BYTES_MAX = 2400;

export async function importDays(link: PostgresLink, site: number, work: Work): Promise<void> {
  const seen = new Set<string>();
  await link.query('BEGIN');
  try {
    let before = 0;
    for (const file of work.files) before += await importFile(link, site, file, before, seen, work);
    if (!work.interrupt.wanted && !work.report.useless) await tellWide(link, site, work);
    await link.query(work.interrupt.wanted || work.report.useless ? 'ROLLBACK' : 'COMMIT');
  } catch (error) {
    if (link.broken === undefined) await link.query('ROLLBACK');
    throw error;
  }
}

/** Dimensions with more values than panels and files show by themselves (api/imported.ts). */
async function tellWide(link: PostgresLink, site: number, { report }: Work): Promise<void> {
  const { rows } = await link.query<{ dimension: number; count: number }>(
    `SELECT dimension, count(DISTINCT value)::int AS count FROM imported_days WHERE site = $1
     GROUP BY dimension HAVING count(DISTINCT value) > $2 ORDER BY dimension`,
    [site, IMPORTED_VALUES_MAX],
  );
  const most = IMPORTED_VALUES_MAX.toLocaleString('en-US');
  for (const { dimension, count } of rows) {
    const [name] = Object.entries(dimensions).find(([, { id }]) => id === dimension)!;
    report.note(
      `${name}: ${count.toLocaleString('en-US')} values were imported; panels and files name the ${most} with the most ` +
        'visitors of a period, the others stand together under (other)',
    );
  }
}

/** Returns the bytes of the file. */
async function importFile(
  link: PostgresLink,
  site: number,
  file: string,
  before: number,
  seen: Set<string>,
  { interrupt, progress, report }: Work,
): Promise<number> {
  report.begin(file === '-' ? 'standard input' : file);
  let reader: DayReader | undefined;
  let bytes = 0;
  let rows = new Map<string, Sums>();
  let lines = 0;
  const flush = async () => {
    if (rows.size > 0) await add(link, site, [...rows.values()]);
    report.added(lines, lines);
    rows = new Map();
    lines = 0;
    progress.at(before + bytes);
  };
  for await (const { number, text } of linesOf(file, (read) => (bytes = read))) {
    if (interrupt.wanted) return bytes;
    if (reader === undefined) {
      reader = new DayReader(splitCsv((text ?? '').replace(/^\uFEFF/, '')) ?? [], file);
      report.line(number, undefined);
      if (seen.has(reader.kind)) continue;
      seen.add(reader.kind);
      await link.query('DELETE FROM imported_days WHERE site = $1 AND kind = $2', [site, reader.kind]);
      continue;
    }
    const found = text === undefined ? TOO_LONG : text === '' ? undefined : reader.read(text);
    report.line(number, found);
    if (typeof found !== 'object') continue;
    lines += 1;
    for (const one of found) {
      const key = `${one.dimension} ${one.day} ${one.value}`;
      const known = rows.get(key);
      if (known === undefined) rows.set(key, one);
      else for (const [i, some] of one.numbers.entries()) known.numbers[i]! += some;
    }
    if (rows.size >= BATCH) await flush();
  }
  await flush();
  return bytes;
}

async function add(link: PostgresLink, site: number, rows: readonly Sums[]): Promise<void> {
  const columns = sums.map((_, i) => rows.map(({ numbers }) => numbers[i]));
  await link.query(
    `INSERT INTO imported_days AS d (site, kind, dimension, day, value, ${sums.join(', ')})
     SELECT $1, * FROM unnest($2::text[], $3::smallint[], $4::int[], $5::text[],
       ${sums.map((_, i) => `$${i + 6}::bigint[]`).join(', ')})
     ON CONFLICT (site, kind, dimension, day, value) DO UPDATE SET
       ${sums.map((name) => `${name} = d.${name} + excluded.${name}`).join(', ')}`,
    [
      site,
      rows.map(({ kind }) => kind),
      rows.map(({ dimension }) => dimension),
      rows.map(({ day }) => day),
      rows.map(({ value }) => value),
      ...columns,
    ],
  );
}

/** Reads the lines of one file. */
class DayReader {
  readonly kind: string;
  readonly #columns: ReadonlyMap<string, number>;
  readonly #values: readonly (readonly [dimension: Dimension, column: number])[];
  readonly #visits: string;

  constructor(header: readonly string[], file: string) {
    this.#columns = new Map(header.map((name, at) => [name.trim(), at]));
    const has = (name: string) => this.#columns.has(name);
    const [kind, found] = Object.entries(kinds).find(([, { by }]) => has('date') && by.every(has)) ?? [];
    if (kind === undefined || found === undefined)
      throw analyticsErrors.SITE_REFUSED({
        reason: `the first line must name the columns of a file of Plausible's export (date, visitors, ...): file=${file}`,
      });
    this.kind = kind;
    this.#visits = found.visits !== undefined && has(found.visits) ? found.visits : 'visits';
    this.#values =
      Object.keys(found.values).length === 0
        ? [['site', -1]]
        : Object.entries(found.values).flatMap(([dimension, column]) =>
            has(column) ? [[dimension as Dimension, this.#columns.get(column)!] as const] : [],
          );
  }

  /** The rows of a line; a text: why it is bad. */
  read(text: string): readonly Sums[] | string {
    const cells = splitCsv(text);
    if (cells === undefined || cells.length !== this.#columns.size)
      return `a line must have ${this.#columns.size} values: found=${cells?.length ?? 'an open quote'}`;
    const day = parseDate(cells[this.#columns.get('date')!]!);
    if (day === undefined)
      return `date must be like 2025-11-15: found=${cells[this.#columns.get('date')!]!.slice(0, 40)}`;
    const names = ['visitors', this.#visits, 'pageviews', 'bounces', 'visit_duration', 'events'];
    const numbers = names.map((name) => this.#number(cells, name));
    if (numbers.some(Number.isNaN)) return 'totals must be whole numbers from 0 on';
    numbers[4]! *= 1000;
    // Each of their page views is an event, as it is here.
    if (this.kind !== 'custom_events') numbers[5] = numbers[2]!;
    return this.#values.flatMap(([dimension, column]) => {
      const value = column < 0 ? '' : namedHere(dimension, cells[column]!);
      if (value === '' && dimension !== 'site' && dimension !== 'source') return [];
      return [{ kind: this.kind, dimension: dimensions[dimension].id, day, value, numbers: [...numbers] }];
    });
  }

  #number(cells: readonly string[], name: string): number {
    const at = this.#columns.get(name);
    if (at === undefined) return 0;
    return /^\d{1,12}$/.test(cells[at]!) ? Number(cells[at]) : Number.NaN;
  }
}

/** Names that Plausible (ua_inspector) and events here (ua-parser-js) have of the same thing. */
const namesHere: Readonly<Partial<Record<Dimension, Readonly<Record<string, string>>>>> = {
  source: { 'Direct / None': '' },
  os: { Mac: 'Mac OS', 'GNU/Linux': 'Linux', 'Chrome OS': 'Chromium OS' },
  browser: {
    'Microsoft Edge': 'Edge',
    'Internet Explorer': 'IE',
    'Samsung Browser': 'Samsung Internet',
    'UC Browser': 'UCBrowser',
    'Yandex Browser': 'Yandex',
  },
};

/** As it is called here. */
function namedHere(dimension: Dimension, text: string): string {
  const clean = cut(text.replaceAll('\0', '\ufffd').slice(0, limits.text).toWellFormed());
  if (dimension === 'device') return clean.toLowerCase();
  const names = namesHere[dimension] ?? {};
  return Object.hasOwn(names, clean) ? names[clean]! : clean;
}

function cut(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= VALUE_BYTES_MAX) return text;
  let end = VALUE_BYTES_MAX;
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
