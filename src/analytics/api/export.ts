/**
 * Export: the series of a site with all metrics, or all values of a dimension, as CSV or JSON. It is written page by
 * page: the next page is asked for when the client has taken the one before, so neither side holds more than one. All
 * values are written, the most frequent first: by a sum, which needs no sketches and is the whole order. Pages are read
 * one after the other; values that change their rank meanwhile may stand in two of them, or in none.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { admitted } from '../../http/admitted.ts';
import { serializerOf } from '../../http/json.ts';
import { later } from '../../http/reply.ts';
import type { ReplyStream } from '../../http/reply-stream.ts';
import { type Parameter, parametersOf, textFrom, wordFrom, wrong } from '../query/parameter.ts';
import { LIMIT_MAX, type Metric, metrics } from '../query/types.ts';
import type { BreakdownAnswer, BreakdownRow, Dimension, SeriesAnswer } from './contract.ts';
import { csvLine } from './csv.ts';
import { ordersOf, targetOf } from './dimension.ts';
import {
  type ApiQuestion,
  type AskedBreakdown,
  askedSite,
  dimensionFrom,
  intervalFrom,
  SEARCH_MAX,
} from './questions.ts';
import { breakdownRowSchema } from './schemas.ts';

const formats = ['csv', 'json'] as const;
type Format = (typeof formats)[number];
const types: Readonly<Record<Format, string>> = {
  csv: 'text/csv; charset=utf-8; header=present',
  json: 'application/json',
};

interface ExportDeps {
  ask(question: ApiQuestion): Promise<unknown>;
  /** Rejects for who may not read the site. */
  permit(req: HttpRequest, siteId: string): Promise<unknown>;
  readonly now: () => number;
  /** What broke an answer that was under way. */
  readonly failed: (error: unknown) => void;
}

/** One page of what is exported, as it is written. */
interface Page {
  readonly text: string;
  readonly more: boolean;
}

export function exportHandler(deps: ExportDeps, siteIn: (req: HttpRequest) => string) {
  return later(async (reply, req) => {
    const siteId = siteIn(req);
    const read = () => wishesIn(siteId, parametersOf(req), deps.now());
    const [, { format, asked, dimension, search, interval }] = await admitted(deps.permit(req, siteId), read);
    const pages =
      dimension === undefined
        ? seriesPage(await deps.ask({ name: 'series', ...asked, interval }), format)
        : breakdownPages(deps, { ...asked, dimension, search, order: orderOf(dimension), ...first }, format);
    // What is wrong with the question shows before anything is written.
    const head = await pages.next();
    const name = `${siteId}-${dimension ?? 'series'}.${format}`.replaceAll(/[^\w.-]+/g, '_');
    const headers = { 'Content-Disposition': `attachment; filename="${name}"` };
    const stream = reply.stream(200, types[format], headers, () => undefined);
    if (stream === undefined || head.done === true) return;
    await writeAll(stream, head.value, pages, deps.failed);
  });
}

const wishesIn = (siteId: string, parameter: Parameter, nowMs: number) => ({
  format: formatFrom(parameter),
  asked: askedSite(siteId, parameter, nowMs),
  dimension: parameter('dimension') === undefined ? undefined : dimensionFrom(parameter),
  search: textFrom(parameter, 'search', SEARCH_MAX),
  interval: intervalFrom(parameter),
});

const first = { limit: LIMIT_MAX, offset: 0 } as const;

/** A sum: exact, and the same on every page. */
function orderOf(dimension: Dimension): Metric {
  const orders = ordersOf(targetOf(dimension)!);
  return (['visits', 'events'] as const).find((metric) => orders.includes(metric)) ?? orders[0]!;
}

function formatFrom(parameter: Parameter): Format {
  if (parameter('format') === undefined) throw wrong('format', `be one of ${formats.join(', ')}`, undefined);
  return wordFrom(parameter, 'format', formats, 'csv');
}

async function writeAll(
  stream: ReplyStream,
  begin: Page,
  pages: AsyncIterator<Page>,
  failed: (error: unknown) => void,
): Promise<void> {
  try {
    for (let page = begin; ; ) {
      if (!stream.write(page.text)) await stream.drained();
      if (!stream.open) return;
      const next = page.more ? await pages.next() : undefined;
      if (next === undefined || next.done === true) break;
      page = next.value;
    }
    stream.end();
  } catch (error) {
    failed(error);
    stream.breakOff();
  }
}

const rowText = serializerOf<BreakdownRow>({ $id: 'row', ...breakdownRowSchema });

async function* breakdownPages(deps: ExportDeps, asked: AskedBreakdown, format: Format): AsyncGenerator<Page> {
  for (let offset = 0; ; offset += LIMIT_MAX) {
    const page = (await deps.ask({ name: 'breakdown', ...asked, offset })) as BreakdownAnswer;
    const { more } = page;
    const rows = [...page.rows, ...(more || page.other === null ? [] : [page.other])];
    yield { text: format === 'csv' ? csvRows(page, rows, offset) : jsonRows(page, rows, offset, more), more };
  }
}

function csvRows(
  { dimension, metrics: columns }: BreakdownAnswer,
  rows: readonly BreakdownRow[],
  offset: number,
): string {
  const head = offset === 0 ? csvLine([dimension, ...columns, 'share', 'visitors_error']) : '';
  const lines = rows.map((row) => csvLine([row.value, ...columns.map((name) => row[name]), row.share, row.error]));
  return head + lines.join('');
}

function jsonRows(page: BreakdownAnswer, rows: readonly BreakdownRow[], offset: number, more: boolean): string {
  const { site_id, time_zone, from, to, until, dimension, metrics: columns, notes } = page;
  const head = JSON.stringify({ site_id, time_zone, from, to, until, dimension, metrics: columns, notes });
  const begin = offset === 0 ? `${head.slice(0, -1)},"rows":[` : rows.length > 0 ? ',' : '';
  return begin + rows.map(rowText).join(',') + (more ? '' : ']}\n');
}

async function* seriesPage(answer: unknown, format: Format): AsyncGenerator<Page> {
  const series = answer as SeriesAnswer;
  const text =
    format === 'json'
      ? `${JSON.stringify(series)}\n`
      : csvLine(['at', ...metrics, 'visitors_error']) +
        series.rows.map((row) => csvLine([row.at, ...metrics.map((name) => row[name]), row.error])).join('');
  yield { text, more: false };
}
