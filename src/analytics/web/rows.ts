/** Rows: the table that panels and the long lists share. A row's name is a button that filters by it. */

import { type Child, h } from '../../web/dom.ts';
import type { BreakdownAnswer, BreakdownMetric, BreakdownRow, Metric } from '../api/contract.ts';
import { flag } from './flag.ts';
import { count, dimensionTitle, learnRegions, metricText, metricTitles, percent, valueText } from './format.ts';

export interface RowsOptions {
  readonly columns: readonly BreakdownMetric[];
  /** What a click does; undefined: rows are not for clicking. */
  readonly pick: ((row: BreakdownRow, exclude: boolean) => void) | undefined;
  readonly picked: (value: string) => boolean;
  /** Beside the name: a way into what the row is made of. */
  readonly more?: (row: BreakdownRow) => Child;
  /** The column that rows are ordered by, and how to order by another. */
  readonly order?: { readonly by: BreakdownMetric; readonly pick: (metric: Metric) => void };
  readonly share: boolean;
}

export function rowsTable(answer: BreakdownAnswer, options: RowsOptions): HTMLTableElement {
  const { dimension, rows, other } = answer;
  if (dimension === 'region') learnRegions(rows.map(({ value, name }) => [value, name]));
  const { columns, order, share } = options;
  const max = Math.max(...rows.map((row) => barOf(row)), 0.000_001);
  const heading = (metric: BreakdownMetric) => {
    const title = metricTitles[metric];
    const chosen = order?.by === metric;
    const sortable = order !== undefined && metric !== 'conversions' && metric !== 'conversion_rate';
    return h(
      'th',
      { scope: 'col', class: 'number', 'aria-sort': chosen ? 'descending' : undefined },
      sortable
        ? h(
            'button',
            { type: 'button', class: 'sort', onclick: () => order.pick(metric as Metric) },
            title,
            chosen && ' ↓',
          )
        : title,
    );
  };
  return h(
    'table',
    { class: 'rows' },
    h('caption', { class: 'unseen' }, `${dimensionTitle(dimension)}, ${count(answer.total)} in all`),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, dimensionTitle(dimension)),
        columns.map(heading),
        share && h('th', { scope: 'col', class: 'number' }, 'Share'),
      ),
    ),
    h(
      'tbody',
      {},
      rows.map((row) => rowOf(dimension, row, max, options)),
      other !== null && otherRow(other, max, options),
    ),
  );
}

/** The share of visitors of the whole; of goals the rate. */
const barOf = (row: BreakdownRow): number => row.conversion_rate ?? row.share ?? 0;

function rowOf(dimension: string, row: BreakdownRow, max: number, options: RowsOptions): HTMLElement {
  const text = valueText(dimension, row.value);
  const chosen = options.picked(row.value);
  const name: Child = [
    (dimension === 'country' || dimension === 'region') && flag(row.value.slice(0, 2)),
    h(
      'span',
      { class: row.value === '' ? 'name none' : 'name', title: dimension === 'region' ? row.value : text },
      text,
    ),
  ];
  const { pick } = options;
  const label =
    pick === undefined
      ? h('span', { class: 'row-name' }, name)
      : h(
          'button',
          {
            type: 'button',
            class: 'row-name',
            'aria-pressed': String(chosen),
            onclick: (event: MouseEvent) => pick(row, event.altKey),
          },
          name,
        );
  return h(
    'tr',
    { class: chosen ? 'picked' : undefined },
    h('th', { scope: 'row' }, bar(barOf(row) / max), label, options.more?.(row)),
    numbers(row, options),
  );
}

function otherRow(row: BreakdownRow, max: number, options: RowsOptions): HTMLElement {
  const title = 'Values beyond the number that is counted one by one each day, together';
  return h(
    'tr',
    { class: 'other' },
    h(
      'th',
      { scope: 'row' },
      bar(Math.min(1, barOf(row) / max)),
      h('span', { class: 'row-name', title }, h('span', { class: 'name' }, '(other)')),
    ),
    numbers(row, options),
  );
}

function numbers(row: BreakdownRow, { columns, share }: RowsOptions): Child {
  const cell = (metric: BreakdownMetric) => {
    const value = row[metric];
    const rough = metric === 'visitors' && row.error !== null && row.error > 0;
    const title =
      value === undefined
        ? undefined
        : `${metricText(metric, value, true)}${rough ? ` ± ${count(Math.round(row.error!))}, an estimate` : ''}`;
    return h(
      'td',
      { class: 'number', title },
      value === undefined ? '–' : `${rough ? '≈' : ''}${metricText(metric, value)}`,
    );
  };
  return [
    columns.map(cell),
    share && h('td', { class: 'number quiet' }, row.share === null ? '–' : percent(row.share)),
  ];
}

function bar(part: number): HTMLElement {
  const element = h('span', { class: 'bar' });
  element.style.setProperty('--part', String(Math.max(0, Math.min(1, part))));
  return element;
}

export function rowsSkeleton(lines: number): HTMLElement {
  const bone = (_: unknown, i: number) => {
    const element = h('i', { class: 'bone row-bone' });
    element.style.setProperty('--part', String(0.85 - (i * 0.62) / lines));
    return element;
  };
  return h('div', { class: 'rows-bones', 'aria-hidden': 'true' }, Array.from({ length: lines }, bone));
}
