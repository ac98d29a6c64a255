/** Overview: all sites side by side, each with its visitors, their change and their course. */

import { fill, h } from '../../web/dom.ts';
import type { Point, Site, SummaryAnswer, TimeseriesAnswer } from '../api/contract.ts';
import { type App, type Part, siteUrl } from './app.ts';
import { arrowed, brief, isSame, metricText } from './format.ts';
import { Loader } from './loader.ts';
import { sparkline } from './sparkline.ts';
import { formatView, home, questionOf, type View } from './state.ts';

export function overviewPart(app: App): Part {
  const list = h('ul', { class: 'sites' });
  const element = h(
    'section',
    { class: 'overview', 'aria-labelledby': 'sites-title' },
    h('h1', { id: 'sites-title' }, 'Sites'),
    list,
  );
  let cards: readonly Card[] = [];
  let made: readonly Site[] | undefined;
  // Of hundreds of sites those that are looked at are asked about, and no others.
  const looked = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries)
        cards.find(({ element: card }) => card === target)?.look(isIntersecting);
    },
    { rootMargin: '200px' },
  );
  return {
    element,
    update(view, again) {
      if (made !== app.sites) {
        for (const card of cards) card.leave?.();
        looked.disconnect();
        made = app.sites;
        cards = made.map((site) => siteCard(app, site));
        fill(
          list,
          cards.map(({ element: card }) => card),
        );
        for (const { element: card } of cards) looked.observe(card);
      }
      for (const card of cards) card.update(view, again);
    },
    leave: () => {
      looked.disconnect();
      for (const card of cards) card.leave?.();
    },
  };
}

interface Card extends Part {
  /** Whether somebody may see it. */
  look(seen: boolean): void;
}

/** Without the interval that still runs, unless it is all there is: its fall is none. */
function wholeOf(points: readonly Point[]): readonly Point[] {
  const whole = points.filter(({ running }) => running !== true);
  return whole.some(({ value }) => value !== null && value > 0) ? whole : points;
}

function siteCard(app: App, site: Site): Card {
  const figures = h('div', { class: 'site-figures' });
  const spark = h('div', { class: 'site-spark' });
  const link = h('a', { class: 'site-link', onclick: open }, site.site_id);
  const element = h('li', { class: 'card site' }, h('h2', {}, link), figures, spark);
  let view = app.view;
  let seen = false;

  function open(event: MouseEvent): void {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    app.go(viewOf(app.view));
  }
  const viewOf = (of: View): View => ({
    ...home,
    share: of.share,
    period: of.period,
    from: of.from,
    to: of.to,
    compare: of.compare,
    site: site.site_id,
  });

  const summary = new Loader<SummaryAnswer>(figures, {
    draw({ metrics: { visitors, views } }) {
      const { change, previous } = visitors;
      fill(
        figures,
        h('b', { class: 'site-visitors' }, brief(visitors.value)),
        h('span', {}, visitors.value === 1 ? 'visitor' : 'visitors'),
        change !== null &&
          h(
            'span',
            {
              class: `change ${isSame(change) ? '' : change > 0 ? 'good' : 'bad'}`,
              title: `from ${metricText('visitors', previous ?? 0, true)}`,
            },
            arrowed(change),
          ),
        h('span', { class: 'site-views' }, `${brief(views.value)} ${views.value === 1 ? 'view' : 'views'}`),
      );
    },
    skeleton: () => fill(figures, h('i', { class: 'bone wide' })),
  });
  const series = new Loader<TimeseriesAnswer>(spark, {
    draw: ({ points }) => fill(spark, sparkline(wholeOf(points))),
    skeleton: () => fill(spark),
  });
  const load = (again?: boolean): void => {
    summary.load(siteUrl(site.site_id, `summary?${questionOf(view)}`), again);
    series.load(siteUrl(site.site_id, `timeseries?${questionOf(view)}`), again);
  };
  return {
    element,
    update(next, again) {
      view = { ...next, site: site.site_id, filters: [] };
      link.href = formatView(viewOf(next));
      if (!site.has_events) {
        fill(figures, h('span', { class: 'quiet' }, site.bots_only ? 'only bots so far' : 'waits for its first event'));
        return;
      }
      if (seen) load(again);
    },
    look(now) {
      seen = now;
      if (seen && site.has_events) load();
    },
    leave() {
      summary.stop();
      series.stop();
    },
  };
}
