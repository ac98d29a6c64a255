/**
 * Waiting: a site without events, a name that is no site's (yet), or no site at all. Shows what to put into a page, and
 * moves on with the first event. That of a bot counts apart: it shows that the way is open, and the page waits on.
 */

import { announce, fill, h } from '../../web/dom.ts';
import type { Site, SitesAnswer } from '../api/contract.ts';
import type { App, Part } from './app.ts';
import { ask, isAbort, Refused } from './ask.ts';
import { snippet } from './snippet.ts';

const LOOK_MS = 2000;
const LISTENING = 'Listening. This page moves on by itself with the first event.';
const BOTS_ONLY =
  'Events arrive, so far of bots alone, which count apart: crawlers, headless browsers. This page moves on with the ' +
  'first visitor.';

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
  /** What is said while there is no site of this name. */
  let ofUnknown: readonly HTMLElement[] = [];
  const timer = setInterval(look, LOOK_MS);

  async function look(): Promise<void> {
    if (document.hidden) return;
    const query = app.view.share === '' ? '' : `?share=${encodeURIComponent(app.view.share)}`;
    try {
      const { sites } = await ask<SitesAnswer>(`/api/sites${query}`, asked.signal);
      const found = sites.find(({ site_id }) => site_id === site);
      tell(found);
      if (site === '' ? sites.length === 0 : found?.has_events !== true) return;
      clearInterval(timer);
      announce('The first event has come.');
      await app.reload();
    } catch (error) {
      if (isAbort(error)) return;
      if (error instanceof Refused && error.status === 401) window.dispatchEvent(new Event('signed-out'));
      else say(`${(error as Error).message} It is asked again.`, true);
    }
  }

  /** `found`: the site as it is now. */
  function tell(found: Site | undefined): void {
    say(found?.bots_only === true ? BOTS_ONLY : LISTENING);
    for (const one of ofUnknown) one.hidden = found !== undefined;
    title.textContent =
      site === ''
        ? 'No site yet'
        : found === undefined
          ? `There is no site called ${site} yet`
          : `Waiting for the first ${found.bots_only ? 'visitor' : 'event'} of ${site}`;
  }

  /** A screen reader hears it when it changes. */
  function say(text: string, away = false): void {
    if (status.textContent !== text) status.textContent = text;
    element.classList.toggle('away', away);
  }

  return {
    element,
    update(view) {
      if (site === view.site) return;
      site = view.site;
      const name = site === '' ? 'example.com' : site;
      const { tracker, events } = app.paths;
      const { origin } = location;
      const script = `<script defer src="${origin}${tracker}" data-site="${name.replace(/&/g, '&amp;').replace(/"/g, '&quot;')}"></script>
<noscript><img src="${origin}/px.gif?site_id=${encodeURIComponent(name)}" referrerpolicy="no-referrer-when-downgrade" alt=""></noscript>`;
      const body = JSON.stringify({ site_id: name, event_type: 'page_view', path: '/' });
      const curl = `curl -H 'content-type: application/json' -d '${body.replace(/'/g, `'\\''`)}' ${origin}${events}`;
      const check = 'Please check the name in the address, or choose a site above. A new site begins like this:';
      const register = [h('p', {}, 'Register a site on the server:'), snippet(`ringmain site add ${name}`)];
      ofUnknown = site === '' ? [] : [h('p', {}, check), ...register];
      fill(
        steps,
        site === '' ? register : ofUnknown[0],
        h('p', {}, 'Put these lines into the ', h('code', {}, '<head>'), ' of every page:'),
        snippet(script),
        h('p', {}, 'Or send an event by hand:'),
        snippet(curl),
        ofUnknown.slice(1),
      );
      tell(app.sites.find(({ site_id }) => site_id === site));
    },
    leave() {
      clearInterval(timer);
      asked.abort();
    },
  };
}
