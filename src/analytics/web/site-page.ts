/**
 * Site page: all about one site. Its parts live as long as the site is looked at; a change of the view updates them.
 */

import { announce, fill, h } from '../../web/dom.ts';
import { onTheme } from '../../web/theme.ts';
import type { Dimension, Interval, SummaryAnswer, TimeseriesAnswer } from '../api/contract.ts';
import { type App, type Part, siteUrl } from './app.ts';
import { Chart } from './chart.ts';
import { openDetails } from './details.ts';
import { chipsPart } from './filters.ts';
import { addDays, datesText, learnRegions, metricText, metricTitles, pointText } from './format.ts';
import { openGoals } from './goals.ts';
import type { Live } from './live.ts';
import { Loader } from './loader.ts';
import { panelPart } from './panel.ts';
import { panelSpecs } from './panel-specs.ts';
import { popover } from './popover.ts';
import { intervals, questionOf, type View } from './state.ts';
import { footnotes, TopLine } from './top-line.ts';

const intervalTitles: Readonly<Record<Interval, string>> = {
  quarter: 'Quarter hours',
  hour: 'Hours',
  day: 'Days',
  week: 'Weeks',
  month: 'Months',
};

export function sitePage(app: App, live: Live): Part {
  const chips = chipsPart(app);
  const topLine = new TopLine(app);
  const chart = new Chart((at, interval) => openPoint(app, at, interval));
  const chartBox = h('div', { class: 'chart-box' }, chart.element);
  const values = h('div', { class: 'unseen' });
  const dates = h('span', { class: 'dates' });
  const interval = popover('Interval', () => choicesOfInterval(app, () => interval.close()), 'tab');
  const notes = h('ul', { class: 'notes' });
  const series = h(
    'div',
    { class: 'chart-head' },
    dates,
    h('span', { class: 'files' }),
    interval.button,
    interval.panel,
  );
  const mayChange = () => app.view.share === '' && (app.me === null || app.me.role === 'owner');
  const askAgain = () => {
    for (const panel of panels) panel.update(app.view, true);
  };
  const editGoals = () =>
    mayChange() &&
    h('button', { type: 'button', class: 'tab edit', onclick: () => openGoals(app, askAgain) }, 'Edit goals');
  const panels = panelSpecs.map((spec) => panelPart(app, spec, spec.title === 'Goals' ? editGoals : undefined));
  const element = h(
    'div',
    { class: 'site-page' },
    h('h1', { class: 'unseen' }, app.view.site),
    chips.element,
    h('section', { class: 'card summary', 'aria-label': 'Summary' }, topLine.element, series, chartBox, values, notes),
    h(
      'div',
      { class: 'panels' },
      panels.map((panel) => panel.element),
    ),
  );
  let overlay: { readonly name: string; close(): void } | undefined;

  const summary = new Loader<SummaryAnswer>(topLine.element, {
    draw(answer) {
      topLine.draw(answer);
      // A link may filter by a region that no row on the page names.
      if (learnRegions(Object.entries(answer.names))) chips.update(app.view);
      fill(notes, footnotes(answer));
      announce(`${metricText('visitors', answer.metrics.visitors.value, true)} visitors, ${datesText(answer)}`);
    },
    skeleton: () => topLine.skeleton(),
  });
  const timeseries = new Loader<TimeseriesAnswer>(chartBox, {
    draw(answer) {
      chart.draw(answer);
      chart.element.setAttribute('aria-label', `${metricTitles[answer.metric]}, ${datesText(answer)}`);
      fill(
        dates,
        h('span', { class: 'now' }, h('i'), datesText(answer)),
        answer.compare !== null &&
          h(
            'span',
            { class: 'then' },
            h('i'),
            h('span', { class: 'unseen' }, 'compared with'),
            datesText(answer.compare),
          ),
      );
      interval.label(intervalTitles[answer.interval]);
      fill(values, valuesTable(answer));
    },
    skeleton: () => undefined,
  });
  const forget = onTheme(() => chart.redraw());

  /** Opens what the address says is open, and closes what it says is not. */
  function showOverlay(view: View): void {
    const name = view.details !== '' ? `details ${view.details}` : view.live ? 'live' : '';
    if (overlay?.name === name) return;
    const old = overlay;
    overlay = undefined;
    old?.close();
    if (name === '') return;
    const closed = () => {
      if (overlay !== mine) return;
      overlay = undefined;
      app.go({ ...app.view, details: '', live: false });
    };
    const mine: { readonly name: string; close(): void } = { name, close: () => undefined };
    overlay = mine;
    mine.close = view.details !== '' ? openDetails(app, view.details as Dimension, closed) : live.open(closed);
  }

  return {
    element,
    update(view, again) {
      chips.update(view);
      topLine.redraw();
      summary.load(siteUrl(view.site, `summary?${questionOf(view)}`), again);
      const query = questionOf(view);
      query.set('metric', view.metric);
      if (view.interval !== undefined && fits(view.interval, view)) query.set('interval', view.interval);
      timeseries.load(siteUrl(view.site, `timeseries?${query}`), again);
      for (const panel of panels) panel.update(view, again);
      fill(series.querySelector('.files')!, seriesFiles(view));
      showOverlay(view);
    },
    leave() {
      const open = overlay;
      overlay = undefined;
      open?.close();
      summary.stop();
      timeseries.stop();
      for (const panel of panels) panel.leave?.();
      forget();
    },
  };
}

function seriesFiles(view: View): readonly HTMLElement[] {
  return ['csv', 'json'].map((format) => {
    const query = questionOf(view);
    query.set('format', format);
    if (view.interval !== undefined && fits(view.interval, view)) query.set('interval', view.interval);
    return h(
      'a',
      {
        href: siteUrl(view.site, `export?${query}`),
        download: true,
        'aria-label': `Time series as ${format.toUpperCase()}`,
      },
      format.toUpperCase(),
    );
  });
}

/** Days of a series of such points, at most: the server draws 4,000. */
const daysMax: Readonly<Partial<Record<Interval, number>>> = { quarter: 41, hour: 160 };
const periodDays: Readonly<Partial<Record<View['period'], number>>> = {
  today: 1,
  yesterday: 1,
  '7d': 7,
  '30d': 30,
  month: 31,
  last_month: 31,
};

/** Whether its points fit the period. All time is as long as it is: there the server says so. */
function fits(interval: Interval, { period, from, to }: View): boolean {
  if (period === 'all') return interval !== 'quarter';
  const days = period === 'custom' ? (Date.parse(to) - Date.parse(from)) / 86_400_000 + 1 : (periodDays[period] ?? 366);
  return days <= (daysMax[interval] ?? Number.POSITIVE_INFINITY);
}

function choicesOfInterval(app: App, close: () => void): readonly HTMLElement[] {
  const choice = (interval: Interval | undefined, title: string) =>
    h(
      'button',
      {
        type: 'button',
        class: 'choice',
        'aria-current': app.view.interval === interval ? 'true' : undefined,
        onclick: () => {
          close();
          app.go({ ...app.view, interval }, 'replace');
        },
      },
      title,
    );
  const fitting = intervals.filter((interval) => fits(interval, app.view));
  return [choice(undefined, 'Automatic'), ...fitting.map((interval) => choice(interval, intervalTitles[interval]))];
}

/** The same numbers for those who do not see the chart. */
function valuesTable({ points, previous, metric, interval }: TimeseriesAnswer): HTMLElement {
  const text = (value: number | null | undefined) =>
    value === null || value === undefined ? '–' : metricText(metric, value, true);
  return h(
    'table',
    {},
    h('caption', {}, `${metricTitles[metric]} over time`),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col' }, 'Begin'),
        h('th', { scope: 'col' }, metricTitles[metric]),
        previous !== null && h('th', { scope: 'col' }, 'Comparison'),
      ),
    ),
    h(
      'tbody',
      {},
      points.map(({ at, value, running }, i) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, pointText(at, interval), running && ', so far'),
          h('td', {}, text(value)),
          previous !== null && h('td', {}, text(previous[i]?.value)),
        ),
      ),
    ),
  );
}

/** A click on a point looks into it: a month, a week, a day. */
function openPoint(app: App, at: string, interval: Interval): void {
  if (interval === 'hour' || interval === 'quarter') return;
  const from = at.slice(0, 10);
  const days = {
    day: 0,
    week: 6,
    month: new Date(Date.UTC(Number(from.slice(0, 4)), Number(from.slice(5, 7)), 0)).getUTCDate() - 1,
  }[interval];
  app.go({ ...app.view, period: 'custom', from, to: addDays(from, days), interval: undefined });
}
