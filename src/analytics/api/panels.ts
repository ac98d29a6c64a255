/** Panels: summary, series and breakdown of a site as contract.ts has them, from what the engine of queries says. */
import { propText } from '../columns/filter.ts';
import { analyticsErrors } from '../errors.ts';
import { type Breakdown, type BreakdownQuestion, breakdown } from '../query/breakdown.ts';
import type { Snapshot } from '../query/database.ts';
import { dateText, dayIn, localTime } from '../query/range.ts';
import { type Summary, summary } from '../query/summary.ts';
import { edgesOf, type Point, timeseries } from '../query/timeseries.ts';
import {
  type AskedDimension,
  type Certainty,
  type Condition,
  type Interval,
  LIMIT_MAX,
  type Measured,
  type Metric,
  metricOf,
  metrics,
  metricUnder,
  POINTS_MAX,
  type Range,
  type Scan,
} from '../query/types.ts';
import type * as contract from './contract.ts';
import { columnsOf, engineFilters, narrowOf, type Target, targetOf } from './dimension.ts';
import { goalRows } from './goal-rows.ts';
import {
  IMPORTED_VALUES_MAX,
  importedByDay,
  importedNotes,
  importedValues,
  mergedValues,
  withImported,
} from './imported.ts';
import { datesOf, intervalOf, rangeUntil, type Stretch, type Windows, windowsOf } from './period.ts';
import type { AskedBreakdown, AskedSite } from './questions.ts';
import { namesOfFilters, withNames } from './region-names.ts';
import { type FoundSite, findSite, firstDayOf, goalsOf } from './site.ts';

/** What a question about a site is answered from. */
export interface View {
  readonly snapshot: Snapshot;
  readonly scan: Scan;
  readonly site: FoundSite;
  readonly timeZone: string;
  readonly windows: Windows;
  readonly filters: readonly Condition[];
  /** As they were asked for. */
  readonly asked: readonly contract.Filter[];
  readonly goals: readonly contract.Goal[];
  readonly nowMs: number;
}

export async function viewOf(snapshot: Snapshot, asked: AskedSite, scan: Scan): Promise<View> {
  const site = await findSite(snapshot, asked.siteId);
  const timeZone = asked.timeZone ?? site.timeZone;
  const firstDay = asked.period === 'all' ? await firstDayOf(snapshot, site.site, timeZone) : undefined;
  const goals = await goalsOf(snapshot, site.site);
  return {
    snapshot,
    scan,
    site,
    timeZone,
    windows: windowsOf(asked, timeZone, asked.nowMs, firstDay),
    filters: engineFilters(asked.filters, goals),
    asked: asked.filters,
    goals,
    nowMs: asked.nowMs,
  };
}

const headOf = ({ site, timeZone, windows }: View) => ({
  site_id: site.siteId,
  time_zone: timeZone,
  ...datesOf(windows.now),
});

const errorOf = (certainty: Certainty): number | null => (certainty.kind === 'estimate' ? certainty.error : null);

/** What a reader should know of these visitors. */
export function notesOf(measured: Iterable<Pick<Measured, 'certainty'>>, filtered: boolean): string[] {
  const kinds = new Set<Certainty['kind']>();
  for (const { certainty } of measured) kinds.add(certainty.kind);
  const notes: string[] = [];
  if (kinds.has('estimate'))
    notes.push(
      filtered
        ? 'Visitors are estimated from a sample of the signed-in ones; the standard error is stated.'
        : 'Signed-in visitors of several days are estimated by HyperLogLog; the standard error is stated.',
    );
  if (kinds.has('at_most'))
    notes.push(
      'Visitors of a part of a UTC day are at most so many: who was there before and after it, and not in it, is counted.',
    );
  return notes;
}

/** `stretch`: the days of the range, for what was imported. */
async function summaryIn(view: View, range: Range, stretch: Stretch): Promise<Summary> {
  const { snapshot, site, filters, scan } = view;
  const own = await summary(snapshot, site.site, range, filters, scan);
  return filters.length > 0 ? own : withImported(own, (await importedIn(view, stretch)).values());
}

/** Imported days that have gone by as a whole. */
const importedIn = ({ snapshot, site, timeZone }: View, { first, last, untilMs }: Stretch) =>
  importedByDay(snapshot, site.site, {
    first,
    last: untilMs === undefined ? last : Math.min(last, dayIn(untilMs, timeZone) - 1),
  });

/** What a reader should know of imported days; `hours`: the answer has stretches that are shorter than a day. */
async function importNotes(view: View, hours = false): Promise<readonly string[]> {
  const { now, before } = view.windows;
  for (const stretch of before === undefined ? [now] : [now, before]) {
    if ((await importedIn(view, stretch)).size === 0) continue;
    if (view.filters.length > 0) return [importedNotes.filtered];
    return [hours ? importedNotes.hours : importedNotes.added];
  }
  return [];
}

export async function summaryAnswer(view: View): Promise<contract.SummaryAnswer> {
  const { windows, filters } = view;
  const now = await summaryIn(view, windows.now.range, windows.now);
  const before = windows.before && (await summaryIn(view, rangeUntil(windows.before), windows.before));
  const figures = metrics.map((name) => [name, figureOf(name, now, before)] as const);
  return {
    ...headOf(view),
    compare: windows.before ? datesOf(windows.before) : null,
    metrics: Object.fromEntries(figures) as unknown as contract.SummaryAnswer['metrics'],
    bots: now.bots ?? null,
    names: await namesOfFilters(view.snapshot, view.asked),
    notes: [...notesOf(before === undefined ? [now] : [now, before], filters.length > 0), ...(await importNotes(view))],
  };
}

function figureOf(name: Metric, now: Measured, before: Measured | undefined): contract.Figure {
  const value = metricOf(name, now);
  const previous = before === undefined ? null : metricOf(name, before);
  const change =
    previous === null
      ? null
      : name === 'bounce_rate'
        ? before!.visits === 0 || now.visits === 0
          ? null
          : value - previous
        : previous === 0
          ? null
          : value / previous - 1;
  return { value, previous, change, error: name === 'visitors' ? errorOf(now.certainty) : null };
}

export async function timeseriesAnswer(
  view: View,
  metric: Metric,
  asked: Interval | undefined,
): Promise<contract.TimeseriesAnswer> {
  const { windows, filters } = view;
  const interval = asked ?? intervalOf(windows.now);
  const now = await pointsIn(view, windows.now, interval);
  const before = windows.before && (await pointsIn(view, windows.before, interval));
  const show = (point: Point): contract.Point => pointOf(point, metric, interval, view);
  return {
    ...headOf(view),
    metric,
    interval,
    points: now.map(show),
    compare: windows.before ? datesOf({ ...windows.before, untilMs: undefined }) : null,
    previous: before?.map(show) ?? null,
    notes: [
      ...(metric === 'visitors' ? notesOf([...now, ...(before ?? [])], filters.length > 0) : []),
      ...(await importNotes(view, isShort(interval))),
    ],
  };
}

/** The sums of each interval of a stretch. */
export async function pointsIn(view: View, stretch: Stretch, interval: Interval): Promise<Point[]> {
  const { snapshot, site, filters, scan, timeZone } = view;
  const { range } = stretch;
  const edges = edgesOf(range, interval);
  if (edges === undefined) {
    const must = `be long enough for the period to have at most ${POINTS_MAX} of them`;
    throw analyticsErrors.BAD_PARAMETER({ parameter: 'interval', must, found: interval });
  }
  const points = await timeseries(snapshot, site.site, range, edges, filters, scan);
  if (filters.length > 0 || isShort(interval)) return points;
  const imported = [...(await importedIn(view, { ...stretch, untilMs: undefined }))];
  return points.map((point) => {
    const from = dayIn(point.fromMs, timeZone);
    const to = dayIn(point.toMs, timeZone);
    const days = imported.filter(([day]) => day >= from && day < to).map(([, sums]) => sums);
    return days.length === 0 ? point : withImported(point, days);
  });
}

const isShort = (interval: Interval): boolean => interval === 'hour' || interval === 'quarter';

/** What an interval that begins then is called. */
export function labelOf(fromMs: number, interval: Interval, timeZone: string): string {
  return isShort(interval) ? localTime(fromMs, timeZone) : dateText(dayIn(fromMs, timeZone));
}

function pointOf(point: Point, metric: Metric, interval: Interval, { timeZone, nowMs }: View): contract.Point {
  const { fromMs, toMs } = point;
  const at = labelOf(fromMs, interval, timeZone);
  if (fromMs > nowMs) return { at, value: null };
  const value = metricOf(metric, point);
  return nowMs < toMs ? { at, value, running: true } : { at, value };
}

/** All metrics of each interval that has begun. */
export async function seriesAnswer(view: View, asked: Interval | undefined): Promise<contract.SeriesAnswer> {
  const { windows, nowMs, timeZone } = view;
  const interval = asked ?? intervalOf(windows.now);
  const points = await pointsIn(view, windows.now, interval);
  const rows = points
    .filter(({ fromMs }) => fromMs <= nowMs)
    .map((point) => ({
      at: labelOf(point.fromMs, interval, timeZone),
      ...(Object.fromEntries(metrics.map((name) => [name, metricOf(name, point)])) as Record<Metric, number>),
      error: errorOf(point.certainty),
    }));
  return { ...headOf(view), interval, rows };
}

export async function breakdownAnswer(view: View, asked: AskedBreakdown): Promise<contract.BreakdownAnswer> {
  const { windows, filters } = view;
  const target = targetOf(asked.dimension)!;
  // Of goals and properties nothing is imported: their shares are those of the site's own visitors.
  const { snapshot, site, scan } = view;
  const all =
    target.kind === 'plain'
      ? await summaryIn(view, windows.now.range, windows.now)
      : await summary(snapshot, site.site, windows.now.range, filters, scan);
  const { rows, other, total, notes } = await rowsOf(view, target, asked, all);
  return {
    ...headOf(view),
    dimension: asked.dimension,
    metrics: columnsOf(target),
    rows,
    other,
    total,
    more: asked.offset + rows.length < total,
    notes: [
      ...notesOf(notes.measured, filters.length > 0),
      ...notes.more,
      ...(target.kind === 'plain' ? await importNotes(view) : []),
    ],
  };
}

interface Rows {
  readonly rows: readonly contract.BreakdownRow[];
  readonly other: contract.BreakdownRow | null;
  readonly total: number;
  readonly notes: { readonly measured: readonly Measured[]; readonly more: readonly string[] };
}

async function rowsOf(view: View, target: Target, asked: AskedBreakdown, all: Measured): Promise<Rows> {
  if (target.kind === 'goal') {
    const rows = (await goalRows(view, all)).filter(({ row }) => contains(row.value, asked.search));
    return {
      rows: rows.slice(asked.offset, asked.offset + asked.limit).map(({ row }) => row),
      other: null,
      total: rows.length,
      notes: { measured: rows.map(({ measured }) => measured), more: [] },
    };
  }
  if (target.kind === 'keys') return keyRows(view, target, asked);
  const found =
    target.kind === 'plain' ? await withImportedValues(view, target, asked) : await valuesOf(view, target, asked);
  const dimension = target.kind === 'prop' ? 'prop' : target.dimension;
  const rows = found.values.map((value) => rowOf(value.text, dimension, value, all));
  return {
    rows: dimension === 'region' ? await withNames(view.snapshot, rows) : rows,
    other: found.other === undefined ? null : rowOf('(other)', dimension, found.other, all),
    total: found.total,
    notes: {
      measured: found.values,
      more: found.cut ? [view.filters.length > 0 ? CUT : CUT_BY_IMPORT] : [],
    },
  };
}

/** `other`: that of all properties which days had no place for; it knows nothing of events and keys. */
function uncounted(other: Measured | undefined): readonly string[] {
  if (other === undefined || other.events === 0) return [];
  const many = other.events.toLocaleString('en-US');
  return [
    `Properties beyond the number that is counted each day are missing here, those of other events too: ${many} values.`,
  ];
}

const contains = (text: string, search: string): boolean => text.toLowerCase().includes(search.toLowerCase());

/** Own values that imported ones are joined with. */
const JOINED_MAX = 10_000;

async function withImportedValues(
  view: View,
  target: Target & { readonly kind: 'plain' },
  asked: AskedBreakdown,
): Promise<Breakdown> {
  const { snapshot, site, filters, windows } = view;
  const { dimension } = target;
  const { values: imported, rest } =
    filters.length > 0
      ? { values: [], rest: undefined }
      : await importedValues(snapshot, site.site, dimension, windows.now, asked.search);
  if (imported.length === 0) return valuesOf(view, target, asked);
  const own = await valuesOf(view, target, { ...asked, limit: JOINED_MAX, offset: 0 });
  const rank = (value: Measured) => metricUnder(dimension, asked.order, value);
  const per = dimension === 'path' ? 'views' : 'visits';
  const values = mergedValues(own.values, imported, rank, per);
  const cut = own.cut || own.total > own.values.length || rest !== undefined;
  const other = rest === undefined ? own.other : own.other === undefined ? rest : withImported(own.other, [rest], per);
  return { ...own, other, values: values.slice(asked.offset, asked.offset + asked.limit), total: values.length, cut };
}

const CUT_BY_IMPORT =
  'There are too many values to join all of them with imported ones: those of the site are its first ' +
  `${JOINED_MAX.toLocaleString('en-US')}; imported ones beyond ${IMPORTED_VALUES_MAX.toLocaleString('en-US')} stand together under (other).`;
const CUT = 'There are too many values under these filters to hold all of them: those seen last are missing.';

/** Values of a dimension; those of a property without what stands around them. */
export async function valuesOf(
  { snapshot, site, windows, filters, scan }: View,
  target: Exclude<Target, { readonly kind: 'goal' }>,
  { order, limit, offset, search }: Pick<AskedBreakdown, 'order' | 'limit' | 'offset' | 'search'>,
): Promise<Breakdown> {
  const narrow = narrowOf(target, search);
  const question: BreakdownQuestion = {
    dimension: target.kind === 'plain' ? target.dimension : 'prop',
    order: { metric: order, descending: true },
    limit,
    offset,
    filters,
    narrow,
    property: target.kind === 'prop' && search === '' ? [target.eventType, target.key] : undefined,
  };
  const found = await breakdown(snapshot, site.site, windows.now.range, question, scan);
  const { prefix } = narrow ?? {};
  if (prefix === undefined) return found;
  return { ...found, values: found.values.map((value) => ({ ...value, text: propText(value.text, prefix) })) };
}

export function rowOf(
  value: string,
  dimension: AskedDimension,
  sums: Measured,
  all: Pick<Measured, 'visitors'>,
): contract.BreakdownRow {
  const columns = columnsOf(targetOfDimension(dimension)) as readonly Metric[];
  return {
    value,
    ...Object.fromEntries(columns.map((name) => [name, metricUnder(dimension, name, sums)])),
    share: all.visitors === 0 ? null : Math.min(1, sums.visitors / all.visitors),
    error: errorOf(sums.certainty),
  };
}

const targetOfDimension = (dimension: AskedDimension): Target =>
  dimension === 'prop' ? { kind: 'prop', eventType: '', key: '' } : { kind: 'plain', dimension };

/** Keys of the properties of a type of events. Visitors of a key are not known: those of its values overlap. */
async function keyRows(view: View, target: Target & { readonly kind: 'keys' }, asked: AskedBreakdown): Promise<Rows> {
  const page = { order: 'events', limit: LIMIT_MAX, offset: 0, search: '' } as const;
  const found = await valuesOf(view, target, page);
  const events = new Map<string, number>();
  for (const { text, events: some } of found.values) events.set(text, (events.get(text) ?? 0) + some);
  const rows = [...events]
    .filter(([key]) => contains(key, asked.search))
    .sort((a, b) => b[1] - a[1])
    .map(([value, some]) => ({ value, events: some, share: null, error: null }));
  const more =
    found.total > LIMIT_MAX ? [`Of ${found.total} values only the ${LIMIT_MAX} most frequent are counted.`] : [];
  return {
    rows: rows.slice(asked.offset, asked.offset + asked.limit),
    other: null,
    total: rows.length,
    notes: { measured: [], more: [...more, ...uncounted(found.other)] },
  };
}
