/**
 * Waiting: a site without events, a name that is no site's (yet), or no site at all. Shows what to put into a page, and
 * moves on with the first event.
 */

import { announce, fill, h } from '../../web/dom.ts';
import type { SitesAnswer } from '../api/contract.ts';
import type { App, Part } from './app.ts';
import { ask, isAbort, Refused } from './ask.ts';
import { snippet } from './snippet.ts';

const LOOK_MS = 2000;
const LISTENING = 'Listening. This page moves on by itself with the first event.';

export function waitingPart(app: App): Part {
  const title = h('h1', {});
  const steps = h('div', { class: 'steps' });
  const status = h('p', { class: 'quiet', role: 'status' }, LISTENING);
  const element = h(
    'section',
    { class: 'card waiting' },
    h('div', { class: 'pulse', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')),
    title,
    steps,
    status,
  );
  const asked = new AbortController();
  let site: string | undefined;
  const timer = setInterval(look, LOOK_MS);

  async function look(): Promise<void> {
    if (document.hidden) return;
    const query = app.view.share === '' ? '' : `?share=${encodeURIComponent(app.view.share)}`;
    try {
      const { sites } = await ask<SitesAnswer>(`/api/sites${query}`, asked.signal);
      say(LISTENING);
      const there =
        site === '' ? sites.length > 0 : sites.some(({ site_id, has_events }) => site_id === site && has_events);
      if (!there) return;
      clearInterval(timer);
      announce('The first event has come.');
      await app.reload();
    } catch (error) {
      if (isAbort(error)) return;
      if (error instanceof Refused && error.status === 401) window.dispatchEvent(new Event('signed-out'));
      else say(`${(error as Error).message} It is asked again.`);
    }
  }

  /** A screen reader hears it when it changes. */
  function say(text: string): void {
    if (status.textContent !== text) status.textContent = text;
    element.classList.toggle('away', text !== LISTENING);
  }

  return {
    element,
    update(view) {
      if (site === view.site) return;
      site = view.site;
      const isKnown = app.sites.some(({ site_id }) => site_id === site);
      title.textContent =
        site === ''
          ? 'No site yet'
          : isKnown
            ? `Waiting for the first event of ${site}`
            : `There is no site called ${site} yet`;
      const name = site === '' ? 'example.com' : site;
      const { tracker, events } = app.paths;
      const { origin } = location;
      const script = `<script defer src="${origin}${tracker}" data-site="${name.replace(/&/g, '&amp;').replace(/"/g, '&quot;')}"></script>
<noscript><img src="${origin}/px.gif?site_id=${encodeURIComponent(name)}" referrerpolicy="no-referrer-when-downgrade" alt=""></noscript>`;
      const body = JSON.stringify({ site_id: name, event_type: 'page_view', path: '/' });
      const curl = `curl -H 'content-type: application/json' -d '${body.replace(/'/g, `'\\''`)}' ${origin}${events}`;
      const register = [h('p', {}, 'Register a site on the server:'), snippet(`ringmain site add ${name}`)];
      fill(
        steps,
        site === '' && register,
        site !== '' &&
          !isKnown &&
          h('p', {}, 'Please check the name in the address, or choose a site above. A new site begins like this:'),
        h('p', {}, 'Put these lines into the ', h('code', {}, '<head>'), ' of every page:'),
        snippet(script),
        h('p', {}, 'Or send an event by hand:'),
        snippet(curl),
        site !== '' && !isKnown && register,
      );
    },
    leave() {
      clearInterval(timer);
      asked.abort();
    },
  };
}
