/** Panel: the first rows of a dimension; tabs choose among dimensions, events open into their properties. */

import { type Child, fill, h, icon } from '../../web/dom.ts';
import type { BreakdownAnswer, BreakdownMetric, BreakdownRow, Dimension } from '../api/contract.ts';
import { type App, type Part, siteUrl } from './app.ts';
import { count, dimensionTitle, propertyDimension, propertyOf, valueText } from './format.ts';
import { Loader } from './loader.ts';
import type { PanelSpec } from './panel-specs.ts';
import { popover } from './popover.ts';
import { rowsSkeleton, rowsTable } from './rows.ts';
import { questionOf, toggleFilter, type View } from './state.ts';

export const PANEL_ROWS = 9;

/** What is shown of a dimension, and whether its rows are filters. */
export function columnsOf(dimension: string): readonly BreakdownMetric[] {
  if (dimension === 'goal') return ['visitors', 'conversion_rate'];
  return dimension === 'event_type' || propertyOf(dimension) !== undefined ? ['visitors', 'events'] : ['visitors'];
}

/** A click on a row: of a key it opens the values, of anything else it filters. */
export function pickRow(
  app: App,
  dimension: Dimension,
  row: BreakdownRow,
  exclude: boolean,
  open: (dimension: Dimension) => void,
): void {
  const property = propertyOf(dimension);
  if (property !== undefined && property.key === undefined) open(propertyDimension(property.event, row.value));
  else app.go({ ...toggleFilter(app.view, exclude ? 'is_not' : 'is', dimension, row.value), details: '' });
}

export const isPicked = (view: View, dimension: Dimension, value: string): boolean =>
  view.filters.some(([op, of, values]) => op === 'is' && of === dimension && values.includes(value));

export function panelPart(app: App, spec: PanelSpec, action?: () => Child): Part {
  const { name, tabs, group } = spec;
  const known = [...tabs, ...(group?.tabs ?? [])];
  const nav = h('div', { class: 'tabs', role: 'group', 'aria-label': `What ${spec.title} shows` });
  const box = h('div', { class: spec.short === true ? 'panel-box short' : 'panel-box' });
  const foot = h('footer', { class: 'panel-foot' });
  const element = h(
    'section',
    { class: 'card panel', 'data-panel': spec.title.toLowerCase(), 'aria-label': spec.title },
    h('header', { class: 'panel-head' }, h('h2', {}, spec.title), nav),
    box,
    foot,
  );
  const show = (dimension: string) =>
    name !== undefined &&
    app.go({ ...app.view, tabs: { ...app.view.tabs, [name]: dimension === known[0]![0] ? '' : dimension } }, 'replace');
  const menu =
    group &&
    popover(
      group.title,
      () =>
        group.tabs.map(([dimension, title]) =>
          h(
            'button',
            {
              type: 'button',
              class: 'choice',
              'aria-current': dimension === dimensionOf(app.view) ? 'true' : undefined,
              onclick: () => {
                menu!.close();
                show(dimension);
              },
            },
            title,
          ),
        ),
      'tab',
    );

  function dimensionOf(view: View): Dimension {
    const wanted = name === undefined ? undefined : view.tabs[name];
    const listed = known.find(([dimension]) => dimension === wanted);
    if (listed !== undefined) return listed[0];
    return name === 'events' && wanted?.startsWith('prop:') ? (wanted as Dimension) : known[0]![0];
  }

  let tabbed: Dimension | undefined;
  function drawTabs(dimension: Dimension): void {
    // An open menu stays open when only the numbers change.
    if (tabbed === dimension) return;
    tabbed = dimension;
    const focused = nav.contains(document.activeElement);
    const tab = ([of, title]: readonly [string, string]) =>
      h(
        'button',
        { type: 'button', class: 'tab', 'aria-pressed': String(of === dimension), onclick: () => show(of) },
        title,
      );
    const property = propertyOf(dimension);
    const grouped = group?.tabs.find(([of]) => of === dimension);
    if (menu !== undefined) {
      menu.label(grouped === undefined ? group!.title : grouped[1]);
      menu.button.classList.toggle('chosen', grouped !== undefined);
    }
    if (property !== undefined)
      fill(
        nav,
        crumb('All events', () => show('event_type')),
        icon('right'),
        property.key === undefined
          ? h('span', { class: 'crumb' }, property.event)
          : [
              crumb(property.event, () => show(propertyDimension(property.event))),
              icon('right'),
              h('span', { class: 'crumb' }, property.key),
            ],
      );
    else if (known.length > 1) fill(nav, tabs.map(tab), menu?.button, menu?.panel);
    else fill(nav, action?.());
    if (focused && !nav.contains(document.activeElement))
      nav.querySelector<HTMLElement>('[aria-pressed="true"], .chosen, button')?.focus();
  }

  function draw(answer: BreakdownAnswer): void {
    const { dimension } = answer;
    // A tick of the clock must not take the focus away from a row.
    const focused = box.contains(document.activeElement) ? document.activeElement?.textContent : undefined;
    const plain = dimension !== 'goal' && dimension !== 'event_type' && !dimension.startsWith('prop:');
    const table = rowsTable(answer, {
      columns: columnsOf(dimension).filter((metric) => answer.metrics.includes(metric)),
      share: plain,
      pick: (row, exclude) => pickRow(app, dimension, row, exclude, show),
      picked: (value) => isPicked(app.view, dimension, value),
      ...(dimension === 'event_type' && {
        more: (row) =>
          h(
            'button',
            {
              type: 'button',
              class: 'icon-button into',
              'aria-label': `Properties of ${valueText(dimension, row.value)}`,
              title: 'Properties',
              onclick: () => show(propertyDimension(row.value)),
            },
            icon('right'),
          ),
      }),
    });
    const empty = answer.rows.length === 0 && answer.other === null;
    fill(
      box,
      empty
        ? h(
            'div',
            { class: 'empty' },
            h('p', {}, propertyOf(dimension) === undefined ? spec.empty : 'Nothing was sent with it.'),
          )
        : table,
    );
    drawFoot(answer, empty);
    if (focused !== undefined && focused !== null)
      [...box.querySelectorAll<HTMLElement>('button')].find((one) => one.textContent === focused)?.focus();
  }

  /** What a reader should know of these rows, behind a word that says what it is about. */
  let open = false;
  function noted(notes: readonly string[], estimated: boolean): HTMLElement {
    const element = h(
      'details',
      { class: 'noted' },
      h('summary', {}, estimated ? '≈ estimated' : 'Note'),
      notes.map((note) => h('p', {}, note)),
    );
    element.open = open;
    element.addEventListener('toggle', () => {
      open = element.open;
    });
    return element;
  }

  function drawFoot({ dimension, total, notes, rows, other }: BreakdownAnswer, empty: boolean): void {
    const file = (format: string) => {
      const query = questionOf(app.view);
      query.set('format', format);
      query.set('dimension', dimension);
      return h(
        'a',
        {
          href: siteUrl(app.view.site, `export?${query}`),
          download: true,
          'aria-label': `${dimensionTitle(dimension)} as ${format.toUpperCase()}`,
        },
        format.toUpperCase(),
      );
    };
    const openAll = () => app.go({ ...app.view, details: dimension });
    fill(
      foot,
      !empty &&
        h(
          'button',
          { type: 'button', class: 'more', 'aria-label': `Details of ${dimensionTitle(dimension)}`, onclick: openAll },
          icon('expand'),
          total > PANEL_ROWS ? `All ${count(total)}` : 'Details',
        ),
      notes.length > 0 &&
        noted(
          notes,
          [...rows, ...(other === null ? [] : [other])].some(({ error }) => (error ?? 0) > 0),
        ),
      !empty && h('span', { class: 'files' }, file('csv'), file('json')),
    );
  }

  const loader = new Loader<BreakdownAnswer>(box, {
    draw,
    skeleton: () => fill(box, rowsSkeleton(spec.short === true ? 5 : PANEL_ROWS)),
  });
  return {
    element,
    update(view, again) {
      const dimension = dimensionOf(view);
      drawTabs(dimension);
      const query = questionOf(view);
      query.set('dimension', dimension);
      query.set('limit', String(PANEL_ROWS));
      loader.load(siteUrl(view.site, `breakdown?${query}`), again);
    },
    leave: () => loader.stop(),
  };
}

const crumb = (text: string, go: () => void): HTMLElement =>
  h('button', { type: 'button', class: 'crumb', onclick: go }, text);
