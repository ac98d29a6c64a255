/**
 * Live: who is there now, by server-sent events. One stream feeds the badge and the view over the page; it is closed
 * when nobody has looked at the tab for a minute. The browser opens it again by itself when it breaks; a stream that was answered with
 * an error (a server that starts, a proxy without one) is asked for again here, with a pause that doubles.
 */

import { fill, h } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import type { LiveEvent, LiveTick } from '../api/contract.ts';
import { type App, type Part, siteUrl } from './app.ts';
import { flag } from './flag.ts';
import { brief, clockText, count, valueText } from './format.ts';
import { sparkline } from './sparkline.ts';

const EVENTS_MAX = 40;
/** Visitors of so many seconds are those of now. */
const WHOLE_S = 299;
/** Rates that are drawn: about a minute and a half at one a second. */
const RATES_MAX = 90;
const RATE_MS = 1000;
const AGAIN_MS = 2000;
const HIDDEN_MS = 60_000;
const AGAIN_MAX_MS = 60_000;

export interface Live extends Part {
  /** Opens the view; returns what closes it. */
  open(closed: () => void): () => void;
}

export function livePart(app: App): Live {
  const number = h('b', {}, '–');
  const words = h('span', { class: 'live-words' });
  const dot = h('i', { class: 'dot' });
  const element = h(
    'button',
    {
      type: 'button',
      class: 'live-badge',
      hidden: true,
      title: 'Open the live view (L)',
      onclick: () => app.go({ ...app.view, live: true }),
    },
    dot,
    number,
    ' ',
    words,
  );
  let site = '';
  let share = '';
  let stream: EventSource | undefined;
  let tick: LiveTick = { visitors: 0, window_s: 0, events_per_second: 0, last: [] };
  let events: readonly LiveEvent[] = [];
  let rates: number[] = [];
  let drawn: (() => void) | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let hiding: ReturnType<typeof setTimeout> | undefined;
  let pauseMs = AGAIN_MS;

  function listen(): void {
    clearTimeout(again);
    stream?.close();
    stream = undefined;
    if (site === '') return;
    const query = share === '' ? '' : `?share=${encodeURIComponent(share)}`;
    const opened = new EventSource(siteUrl(site, `live${query}`));
    stream = opened;
    // Each time it is opened, also by the browser itself, it begins with the last events there were.
    let begins = true;
    opened.addEventListener('open', () => {
      begins = true;
    });
    opened.addEventListener('live', (event) => {
      pauseMs = AGAIN_MS;
      tick = JSON.parse((event as MessageEvent<string>).data) as LiveTick;
      events = [...tick.last, ...(begins ? [] : events)].slice(0, EVENTS_MAX);
      rates = [...(tick.rates ?? rates)];
      begins = false;
      draw();
    });
    opened.addEventListener('error', () => {
      lost();
      if (opened !== stream || opened.readyState !== EventSource.CLOSED) return;
      again = setTimeout(listen, pauseMs);
      pauseMs = Math.min(2 * pauseMs, AGAIN_MAX_MS);
    });
  }

  /** What it showed may have changed since. */
  function lost(): void {
    element.hidden = false;
    element.classList.add('off');
    number.textContent = '–';
    words.textContent = 'not connected';
    element.title = 'The live view is not connected; it is asked for again';
    drawn?.();
  }

  function draw(): void {
    element.hidden = false;
    element.classList.remove('off');
    element.classList.toggle('quiet', tick.visitors === 0);
    number.textContent = count(tick.visitors);
    const who = tick.visitors === 1 ? 'visitor' : 'visitors';
    words.textContent = tick.window_s < WHOLE_S ? `${who} in the last ${windowText(tick.window_s)}` : `${who} now`;
    element.title = `Visitors of the last ${windowText(tick.window_s)}: open the live view (L)`;
    drawn?.();
  }

  const clock = setInterval(() => {
    if (stream === undefined || element.classList.contains('off')) return;
    rates = [...rates, tick.events_per_second].slice(-RATES_MAX);
    drawn?.();
  }, RATE_MS);
  /** A look at another tab ends nothing: whoever comes back within a minute finds the view as it goes on. */
  function looked(): void {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(leave, HIDDEN_MS);
    else if (stream === undefined) listen();
  }
  function leave(): void {
    clearTimeout(again);
    stream?.close();
    stream = undefined;
  }
  document.addEventListener('visibilitychange', looked);

  return {
    element,
    update(view) {
      if (view.site === site && view.share === share) return;
      ({ site, share } = view);
      events = [];
      rates = [];
      pauseMs = AGAIN_MS;
      listen();
    },
    leave() {
      clearInterval(clock);
      clearTimeout(hiding);
      document.removeEventListener('visibilitychange', looked);
      leave();
    },
    open(closed) {
      const overlay = openOverlay('Live', 'live-view', () => {
        drawn = undefined;
        closed();
      });
      const visitors = h('div', { class: 'live-number' });
      const rate = h('div', { class: 'live-number' });
      const span = h('span');
      const line = h('div', { class: 'live-line' });
      const list = h('ol', { class: 'live-events', 'aria-label': 'Events as they come', tabindex: '0' });
      overlay.body.append(
        h(
          'div',
          { class: 'live-figures' },
          h('div', {}, visitors, h('span', {}, span)),
          h('div', {}, rate, h('span', {}, 'events per second')),
        ),
        line,
        list,
      );
      let newest: LiveEvent | undefined;
      drawn = () => {
        const off = element.classList.contains('off');
        visitors.textContent = off ? '–' : count(tick.visitors);
        span.textContent = off ? 'not connected, trying again' : `visitors in the last ${windowText(tick.window_s)}`;
        rate.textContent = off ? '–' : brief(tick.events_per_second);
        fill(line, sparkline(rates.map((value, i) => ({ at: String(i), value }))));
        if (events.length === 0) fill(list, h('li', { class: 'empty' }, 'Waiting for the next event.'));
        else if (newest !== events[0]) {
          const known = newest === undefined ? -1 : events.indexOf(newest);
          const fresh = known < 0 ? events : events.slice(0, known);
          if (known < 0) fill(list);
          list.prepend(...fresh.map(eventRow));
          while (list.children.length > EVENTS_MAX) list.lastElementChild?.remove();
          newest = events[0];
        }
      };
      drawn();
      return overlay.close;
    },
  };
}

/** A server that has just been started, or keeps no journal, knows less than five minutes. */
function windowText(seconds: number): string {
  if (seconds < 2) return 'second';
  return seconds < 60
    ? `${Math.round(seconds)} seconds`
    : seconds < 120
      ? 'minute'
      : `${Math.floor(seconds / 60)} minutes`;
}

function eventRow({ at, event_type: type, path, country, device }: LiveEvent): HTMLElement {
  const view = type === 'page_view';
  return h(
    'li',
    {},
    h('time', { datetime: at }, clockText(at)),
    h(
      'span',
      { title: country === null ? undefined : valueText('country', country) },
      country !== null && flag(country),
    ),
    h('span', { class: 'name' }, view ? (path ?? '/') : [h('b', {}, type), path !== null && ` ${path}`]),
    h('span', { class: 'quiet' }, device === null ? '' : valueText('device', device)),
  );
}
