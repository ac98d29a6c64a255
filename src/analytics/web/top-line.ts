/** Top line: the figures of the period, each a button that draws it, with its change against the comparison. */

import { fill, h } from '../../web/dom.ts';
import type { Figure, Metric, SummaryAnswer } from '../api/contract.ts';
import type { App } from './app.ts';
import { changeText, count, datesText, isSame, metricText, metricTitles, percent, sameText } from './format.ts';
import { metricNames } from './state.ts';

/** Fewer of these are better. */
const downIsGood: readonly Metric[] = ['bounce_rate'];

export class TopLine {
  readonly element = h('div', { class: 'top-line', role: 'group', 'aria-label': 'Figures of the period' });
  readonly #app: App;
  #answer: SummaryAnswer | undefined;

  constructor(app: App) {
    this.#app = app;
  }

  draw(answer: SummaryAnswer): void {
    this.#answer = answer;
    const { view } = this.#app;
    const focused = (document.activeElement as HTMLElement | null)?.dataset['metric'];
    const shown = metricNames.filter((metric) => metric !== 'engaged_time' || isKnown(answer.metrics.engaged_time));
    fill(
      this.element,
      shown.map((metric) => this.#figure(metric, answer.metrics[metric], metric === view.metric)),
    );
    if (focused !== undefined) this.element.querySelector<HTMLElement>(`[data-metric="${focused}"]`)?.focus();
  }

  /** Another metric is drawn. */
  redraw(): void {
    if (this.#answer !== undefined) this.draw(this.#answer);
  }

  skeleton(): void {
    const grey = (metric: Metric) =>
      h(
        'div',
        { class: 'figure' },
        h('span', { class: 'figure-name' }, metricTitles[metric]),
        h('span', { class: 'figure-value' }, h('i', { class: 'bone wide' })),
        h('span', { class: 'figure-change' }, h('i', { class: 'bone' })),
      );
    fill(this.element, metricNames.filter((metric) => metric !== 'engaged_time').map(grey));
  }

  #figure(metric: Metric, figure: Figure, chosen: boolean): HTMLElement {
    const { value, previous, error } = figure;
    // Before the first event there is nothing that could have changed.
    const nothing = this.#answer?.metrics.events.previous === 0;
    return h(
      'button',
      {
        type: 'button',
        class: 'figure',
        'data-metric': metric,
        'aria-pressed': String(chosen),
        onclick: () => this.#app.go({ ...this.#app.view, metric }, 'replace'),
      },
      h('span', { class: 'figure-name' }, metricTitles[metric]),
      h(
        'span',
        { class: 'figure-value', title: metricText(metric, value, true) },
        metricText(metric, value),
        error !== null &&
          error > 0 &&
          h('small', { title: 'An estimate, with its standard error' }, ` ±${estimate(metric, value, error)}`),
      ),
      h(
        'span',
        { class: 'figure-change' },
        previous === null || nothing
          ? metric === 'visitors' && nothing && h('span', { class: 'before' }, 'nothing to compare')
          : [
              change(metric, figure),
              h('span', { class: 'before', title: beforeTitle(this.#answer!) }, `from ${metricText(metric, previous)}`),
            ],
      ),
    );
  }
}

function change(metric: Metric, { change: by, value, previous }: Figure): HTMLElement | false {
  if (by === null) return value > 0 && previous === 0 && h('span', { class: 'change new' }, 'new');
  if (isSame(by)) return h('span', { class: 'change' }, sameText);
  const good = by > 0 !== downIsGood.includes(metric);
  const text = metric === 'bounce_rate' ? `${percent(Math.abs(by)).replace(/\s?%/, '')} pt` : changeText(by);
  const words = `${by > 0 ? 'up' : 'down'} ${text}`;
  return h(
    'span',
    { class: `change ${good ? 'good' : 'bad'}` },
    h('span', { 'aria-hidden': 'true' }, `${by > 0 ? '↑' : '↓'} ${text}`),
    h('span', { class: 'unseen' }, words),
  );
}

const isKnown = (figure: Figure): boolean => figure.value > 0 || (figure.previous ?? 0) > 0;
const estimate = (metric: Metric, value: number, error: number): string =>
  value > 0 && metric !== 'bounce_rate' ? percent(error / value) : metricText(metric, error);
const beforeTitle = ({ compare }: SummaryAnswer): string => (compare === null ? '' : datesText(compare));

/** What else is true of the figures, in quiet words under the chart. */
export function footnotes({ bots, notes }: SummaryAnswer): readonly HTMLElement[] {
  const left = bots?.events ?? 0;
  const lines =
    left === 0
      ? []
      : [`${count(left)} ${left === 1 ? 'event of a bot is' : 'events of bots are'} left out of these numbers.`];
  return [...lines, ...notes].map((text) => h('li', {}, text));
}
