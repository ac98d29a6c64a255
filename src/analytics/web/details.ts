/** Details: the whole list of a dimension over the page, with all its columns, search, order and pages. */

import { announce, fill, h, icon } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import type { BreakdownAnswer, BreakdownMetric, Dimension, Metric } from '../api/contract.ts';
import { type App, siteUrl } from './app.ts';
import { count, dimensionTitle, isNamed, valueText } from './format.ts';
import { Loader } from './loader.ts';
import { isPicked, pickRow } from './panel.ts';
import { rowsSkeleton, rowsTable } from './rows.ts';
import { questionOf } from './state.ts';

const ROWS = 50;
/** All rows of a dimension whose values are searched here, by their names. */
const NAMED_ROWS = 1000;
const TYPED_MS = 180;

/** Opens; returns what closes it. */
export function openDetails(app: App, dimension: Dimension, closed: () => void): () => void {
  let page = 1;
  let search = '';
  /** Undefined: by the first of its columns. */
  let order: Metric | undefined;
  const named = isNamed(dimension);
  const size = named ? NAMED_ROWS : ROWS;
  const overlay = openOverlay(dimensionTitle(dimension), 'details', () => {
    clearTimeout(timer);
    loader.stop();
    closed();
  });
  const input = h('input', {
    type: 'search',
    class: 'input',
    placeholder: 'Search',
    'aria-label': `Search in ${dimensionTitle(dimension)}`,
    oninput: typed,
  });
  const files = h('span', { class: 'files' });
  const box = h('div', { class: 'details-box', tabindex: '0', role: 'region', 'aria-label': 'Rows' });
  const foot = h('footer', { class: 'overlay-foot' });
  overlay.body.append(h('div', { class: 'details-tools' }, input, files), box);
  overlay.dialog.append(foot);
  const loader = new Loader<BreakdownAnswer>(box, { draw, skeleton: () => fill(box, rowsSkeleton(12)) });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last: BreakdownAnswer | undefined;

  function typed(): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      search = input.value;
      if (named && last !== undefined) draw(last);
      else turn(1);
    }, TYPED_MS);
  }

  function turn(to: number): void {
    page = to;
    const query = questionOf(app.view);
    query.set('dimension', dimension);
    if (search !== '' && !named) query.set('search', search);
    const file = new URLSearchParams(query);
    fill(
      files,
      ['csv', 'json'].map((format) => {
        file.set('format', format);
        return h(
          'a',
          { href: siteUrl(app.view.site, `export?${file}`), download: true },
          icon('download'),
          format.toUpperCase(),
        );
      }),
    );
    query.set('limit', String(size));
    if (order !== undefined) query.set('order', order);
    if (page > 1) query.set('page', String(page));
    loader.load(siteUrl(app.view.site, `breakdown?${query}`));
  }

  /** The rows that are called so. */
  function within(answer: BreakdownAnswer): BreakdownAnswer {
    const wanted = search.toLowerCase();
    const rows = answer.rows.filter(({ value }) => valueText(dimension, value).toLowerCase().includes(wanted));
    return { ...answer, rows, other: null, total: rows.length };
  }

  function orderBy(metric: Metric): void {
    order = metric;
    turn(1);
  }

  function draw(whole: BreakdownAnswer): void {
    last = whole;
    const answer = named && search !== '' ? within(whole) : whole;
    const table = rowsTable(answer, {
      columns: answer.metrics as readonly BreakdownMetric[],
      share: dimension !== 'goal',
      pick: (row, exclude) =>
        pickRow(app, dimension, row, exclude, (next) => app.go({ ...app.view, details: next }, 'replace')),
      picked: (value) => isPicked(app.view, dimension, value),
      order: { by: order ?? answer.metrics[0]!, pick: orderBy },
    });
    const empty = answer.rows.length === 0 && answer.other === null;
    fill(
      box,
      empty
        ? h('p', { class: 'empty' }, search === '' ? 'Nothing in this period.' : `Nothing contains “${search}”.`)
        : table,
      answer.notes.map((note) => h('p', { class: 'hint' }, note)),
    );
    const begin = (page - 1) * size;
    const text = empty ? '' : `${count(begin + 1)}–${count(begin + answer.rows.length)} of ${count(answer.total)}`;
    fill(
      foot,
      h('span', { class: 'quiet' }, text),
      h(
        'button',
        { type: 'button', class: 'button', disabled: page === 1, onclick: () => turn(page - 1) },
        icon('left'),
        'Back',
      ),
      h(
        'button',
        { type: 'button', class: 'button', disabled: !answer.more, onclick: () => turn(page + 1) },
        'More',
        icon('right'),
      ),
    );
    announce(text === '' ? 'Nothing found' : text);
  }

  turn(1);
  input.focus();
  return overlay.close;
}
