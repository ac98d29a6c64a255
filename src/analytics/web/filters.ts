/** Filters: chips that show them, and the dialog that makes and changes them. */

import { fill, h, icon } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import type { BreakdownAnswer, Dimension, Filter, FilterOp, GoalsAnswer } from '../api/contract.ts';
import { type App, type Part, siteUrl } from './app.ts';
import { ask, isAbort } from './ask.ts';
import { count, dimensionTitle, isNamed, learnRegions, valueNamed, valueText } from './format.ts';
import { ops, putFilter, questionOf } from './state.ts';

export const opTexts: Readonly<Record<FilterOp, string>> = {
  is: 'is',
  is_not: 'is not',
  contains: 'contains',
  contains_not: 'does not contain',
  matches: 'matches',
  matches_not: 'does not match',
};
const dimensions: readonly Dimension[] = [
  'path',
  'entry_page',
  'exit_page',
  'source',
  'referrer',
  'utm_campaign',
  'utm_source',
  'utm_medium',
  'utm_content',
  'utm_term',
  'country',
  'region',
  'device',
  'browser',
  'os',
  'event_type',
  'goal',
];
const SUGGESTIONS = 8;
/** Of values that are searched here, by their names. */
const NAMED_MAX = 1000;
const TYPED_MS = 150;

export function chipsPart(app: App): Part {
  const element = h('div', { class: 'chips', role: 'group', 'aria-label': 'Filters' });
  return {
    element,
    update(view) {
      element.hidden = view.filters.length === 0;
      const clear = h(
        'button',
        { type: 'button', class: 'clear', onclick: () => app.go({ ...app.view, filters: [] }) },
        'Clear all',
      );
      fill(
        element,
        view.filters.map((filter) => chip(app, filter)),
        view.filters.length > 1 && clear,
      );
    },
  };
}

function chip(app: App, filter: Filter): HTMLElement {
  const [op, dimension, values] = filter;
  const title = dimensionTitle(dimension);
  const text = values.map((value) => valueText(dimension, value)).join(' or ');
  const remove = () => app.go({ ...app.view, filters: app.view.filters.filter((one) => one !== filter) });
  return h(
    'span',
    { class: 'chip' },
    h(
      'button',
      {
        type: 'button',
        class: 'chip-text',
        title: `${title} ${opTexts[op]} ${text}`,
        onclick: () => openFilter(app, filter),
      },
      `${title} ${opTexts[op]} `,
      h('b', {}, text),
    ),
    h(
      'button',
      {
        type: 'button',
        class: 'chip-close',
        'aria-label': `Remove filter: ${title} ${opTexts[op]} ${text}`,
        onclick: remove,
      },
      icon('close'),
    ),
  );
}

/** Opens the editor, for a new filter or for one there is. */
export function openFilter(app: App, old?: Filter): void {
  let [op, dimension, values]: [FilterOp, Dimension, readonly string[]] =
    old === undefined ? ['is', 'path', []] : [...old];
  const asked = new AbortController();
  let turn: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const overlay = openOverlay(old === undefined ? 'Add a filter' : 'Change the filter', 'filter-editor', () => {
    clearTimeout(timer);
    turn?.abort();
    asked.abort();
  });
  const of = h('select', {
    class: 'input',
    'aria-label': 'What',
    onchange: chooseDimension,
  });
  const how = h('select', {
    class: 'input',
    'aria-label': 'How',
    onchange: chooseOp,
  });
  const input = h('input', {
    type: 'text',
    class: 'input',
    'aria-label': 'Value',
    autocomplete: 'off',
    spellcheck: 'false',
    oninput: typed,
    onkeydown: enter,
  });
  const chosen = h('div', { class: 'chosen-values' });
  const list = h('div', { class: 'suggestions', role: 'group', 'aria-label': 'Values' });
  const hint = h('p', { class: 'hint' });
  const apply = h('button', { type: 'submit', class: 'button primary' }, 'Apply');
  const form = h(
    'form',
    { onsubmit: submit },
    h('div', { class: 'filter-line' }, of, how),
    chosen,
    input,
    hint,
    list,
    h(
      'footer',
      { class: 'form-foot' },
      h('button', { type: 'button', class: 'button', onclick: overlay.close }, 'Cancel'),
      apply,
    ),
  );
  overlay.body.append(form);
  const listed = dimensions.includes(dimension) ? dimensions : [...dimensions, dimension];
  fill(
    of,
    listed.map((one) => h('option', { value: one, selected: one === dimension }, dimensionTitle(one))),
  );

  function chooseDimension(): void {
    dimension = of.value as Dimension;
    values = [];
    // Those of another dimension must not be chosen while these are on their way.
    fill(list);
    choose();
  }

  function chooseOp(): void {
    op = how.value as FilterOp;
    choose();
  }

  const exact = () => op === 'is' || op === 'is_not';

  function choose(): void {
    const possible = dimension === 'goal' ? ops.slice(0, 2) : ops;
    if (!possible.includes(op)) op = 'is';
    fill(
      how,
      possible.map((one) => h('option', { value: one, selected: one === op }, opTexts[one])),
    );
    input.placeholder = exact()
      ? 'Search, or type a value and press Enter'
      : op.startsWith('matches')
        ? '/blog/* or /docs/**'
        : 'Part of the value';
    hint.textContent = op.startsWith('matches') ? '* stands for any text without a slash, ** for any text.' : '';
    drawChosen();
    suggest();
  }

  function put(next: readonly string[]): void {
    values = next;
    drawChosen();
  }

  function drawChosen(): void {
    const remove = (value: string) => {
      put(values.filter((one) => one !== value));
      suggest();
    };
    fill(
      chosen,
      values.map((value) =>
        h(
          'button',
          {
            type: 'button',
            class: 'value-chip',
            'aria-label': `Remove ${valueText(dimension, value)}`,
            onclick: () => remove(value),
          },
          valueText(dimension, value),
          icon('close'),
        ),
      ),
    );
    apply.disabled = values.length === 0 && input.value === '';
  }

  function typed(): void {
    apply.disabled = values.length === 0 && input.value === '';
    clearTimeout(timer);
    timer = setTimeout(suggest, TYPED_MS);
  }

  function enter(event: KeyboardEvent): void {
    if (event.key !== 'Enter' || input.value === '') return;
    event.preventDefault();
    put(withTyped());
    input.value = '';
    suggest();
  }

  /** What is chosen, and what is typed: the name of a value, or a part or a pattern of one. */
  const withTyped = (): readonly string[] =>
    input.value === '' ? values : [...new Set([...values, exact() ? valueNamed(dimension, input.value) : input.value])];

  function suggest(): void {
    turn?.abort();
    list.hidden = !exact();
    if (!exact()) return;
    turn = new AbortController();
    // Values that the filter itself would hide must be there to be chosen.
    const query = questionOf({ ...app.view, filters: app.view.filters.filter((one) => one !== old) });
    query.set('dimension', dimension);
    query.set('limit', String(isNamed(dimension) ? NAMED_MAX : SUGGESTIONS));
    if (input.value !== '' && !isNamed(dimension)) query.set('search', input.value);
    const question =
      dimension === 'goal'
        ? goals(turn.signal)
        : ask<BreakdownAnswer>(siteUrl(app.view.site, `breakdown?${query}`), turn.signal).then(({ rows }) => rows);
    question.then(
      (rows) => {
        if (dimension === 'region') learnRegions(rows.map((row) => [row.value, 'name' in row ? row.name : undefined]));
        const wanted = input.value.toLowerCase();
        const here = isNamed(dimension) || dimension === 'goal';
        const fits = ({ value }: { readonly value: string }) =>
          !here || valueText(dimension, value).toLowerCase().includes(wanted);
        draw(rows.filter(fits).slice(0, SUGGESTIONS));
      },
      (error) =>
        !isAbort(error) && fill(list, h('p', { class: 'hint' }, 'Values cannot be listed now; one can be typed.')),
    );
  }

  async function goals(signal: AbortSignal): Promise<readonly { value: string; visitors?: number }[]> {
    const query = app.view.share === '' ? '' : `?share=${encodeURIComponent(app.view.share)}`;
    const { goals: known } = await ask<GoalsAnswer>(siteUrl(app.view.site, `goals${query}`), signal);
    return known.map(({ name }) => ({ value: name }));
  }

  function draw(rows: readonly { readonly value: string; readonly visitors?: number }[]): void {
    const box = (value: string) =>
      h('input', {
        type: 'checkbox',
        checked: values.includes(value),
        onchange: () => put(values.includes(value) ? values.filter((one) => one !== value) : [...values, value]),
      });
    fill(
      list,
      rows.map(({ value, visitors }) =>
        h(
          'label',
          { class: 'suggestion' },
          box(value),
          h('span', { class: 'name' }, valueText(dimension, value)),
          visitors !== undefined && h('span', { class: 'quiet number' }, count(visitors)),
        ),
      ),
    );
  }

  function submit(event: SubmitEvent): void {
    event.preventDefault();
    const last = withTyped();
    if (last.length === 0) return;
    overlay.close();
    const there = app.view.filters.find((one) => one === old);
    app.go(putFilter(app.view, there, [op, dimension, last]));
  }

  choose();
  (old === undefined ? of : input).focus();
}
