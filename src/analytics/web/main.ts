/**
 * Main: the dashboard. It reads the view from the address, asks who may see what, and shows the page that belongs to
 * the view; every change of the view goes through go(), which writes the address.
 */
import 'uplot/dist/uPlot.min.css';
import '../../web/tokens.css';
import '../../web/base.css';
import '../../web/dialog.css';
import './page.css';
import './parts.css';
import './print.css';
import { announce, fill, h } from '../../web/dom.ts';
import { startTheme } from '../../web/theme.ts';
import type { MeAnswer, Site, SitesAnswer } from '../api/contract.ts';
import type { App, Part } from './app.ts';
import { ask, forget, isAbort, Refused, send, useCsrf } from './ask.ts';
import { headerPart } from './header.ts';
import { lateBar } from './late.ts';
import { type Live, livePart } from './live.ts';
import { PATIENCE_MS, refusals } from './loader.ts';
import { loginPage } from './login.ts';
import { overviewPart } from './overview.ts';
import { PANEL_ROWS } from './panel.ts';
import { rowsSkeleton } from './rows.ts';
import { startShortcuts } from './shortcuts.ts';
import { sitePage } from './site-page.ts';
import { formatView, home, parseView, type View } from './state.ts';
import { waitingPart } from './waiting.ts';

/** What still runs is asked for again so often while the tab is looked at. */
const TICK_MS = 30_000;

const root = document.getElementById('app')!;
const opening = document.querySelector('.opening');
const main = h('main', { id: 'main', tabindex: '-1' });
let view = parseView(location.search);
let answer: SitesAnswer = { me: null, sites: [], paths: { tracker: '', events: '' } };
let page: { readonly name: string; readonly part: Part } | undefined;
let live: Live | undefined;

const app: App = {
  get view() {
    return view;
  },
  get me() {
    return answer.me;
  },
  get sites() {
    return answer.sites;
  },
  get paths() {
    return answer.paths;
  },
  go(wanted, how = 'push') {
    const next = settled(wanted);
    const address = formatView(next);
    if (address !== formatView(view)) history[how === 'push' ? 'pushState' : 'replaceState'](null, '', address);
    show(next);
  },
  reload: start,
};
const header = headerPart(app, () => void leaveSession());

/** Where one site is all there is, its page is the first. */
function settled(next: View): View {
  return next.site === '' && answer.sites.length === 1 ? { ...next, site: answer.sites[0]!.site_id } : next;
}

function show(next: View): void {
  const before = view;
  view = settled(next);
  document.title = view.site === '' ? 'Ringmain Analytics' : `${view.site} · Ringmain Analytics`;
  const site = answer.sites.find(({ site_id }) => site_id === view.site);
  // A name that is not known yet may be one that is about to send its first event.
  const waits = answer.sites.length === 0 || (view.site !== '' && site?.has_events !== true);
  const name = waits ? `waiting ${view.site}` : view.site === '' ? 'overview' : `site ${view.site}`;
  if (page?.name !== name) {
    page?.part.leave?.();
    live?.leave?.();
    live = name.startsWith('site ') ? livePart(app) : undefined;
    header.showLive(live?.element);
    page = { name, part: waits ? waitingPart(app) : live === undefined ? overviewPart(app) : sitePage(app, live) };
    fill(main, page.part.element);
    if (before !== view) window.scrollTo(0, 0);
  }
  header.update(view);
  page.part.update(view);
  live?.update(view);
}

const isListed = (site: string): boolean => answer.sites.some(({ site_id }) => site_id === site);

/** The site that a name leads to: its own, or one that it had before. */
async function siteOf(name: string, query: string): Promise<string> {
  if (name === '' || isListed(name)) return name;
  try {
    const site = await ask<Site>(`/api/sites/${encodeURIComponent(name)}${query}`);
    if (!isListed(site.site_id)) answer = { ...answer, sites: [...answer.sites, site] };
    return site.site_id;
  } catch (error) {
    if (error instanceof Refused) return name;
    throw error;
  }
}

/** What stands there while nobody knows yet who may see what: the outlines of a page. */
function outlines(): HTMLElement {
  const card = () => h('div', { class: 'card outline' }, rowsSkeleton(PANEL_ROWS));
  return h('main', { class: 'outlines', 'aria-hidden': 'true' }, h('div', { class: 'card outline' }), card(), card());
}

async function start(): Promise<void> {
  forget();
  const waiting = setTimeout(() => {
    if (!root.hasChildNodes()) fill(root, outlines());
  }, PATIENCE_MS);
  try {
    const query = view.share === '' ? '' : `?share=${encodeURIComponent(view.share)}`;
    answer = await ask<SitesAnswer>(`/api/sites${query}`);
    const found = settled({ ...view, site: await siteOf(view.site, query) });
    // A link that is sent to somebody goes on to say which site it is of.
    if (found.site !== view.site) history.replaceState(null, '', formatView(found));
    view = found;
    // A token against forged requests is for people who are logged in.
    if (answer.me !== null) useCsrf((await ask<MeAnswer>('/api/me')).csrf);
  } catch (error) {
    if (!isAbort(error)) refuse(error);
    return;
  } finally {
    clearTimeout(waiting);
  }
  opening?.remove();
  if (!root.contains(main))
    fill(
      root,
      h('a', { class: 'skip', href: '#main' }, 'Skip to the numbers'),
      header.element,
      lateBar,
      main,
      h('footer', { class: 'page-foot' }, h('span', {}, 'Counted by Ringmain: no cookies, no addresses kept.')),
    );
  page?.part.leave?.();
  page = undefined;
  show(view);
}

function refuse(error: unknown): void {
  opening?.remove();
  page?.part.leave?.();
  live?.leave?.();
  page = undefined;
  live = undefined;
  const again = () => void start();
  if (error instanceof Refused && error.status === 401) {
    fill(root, loginPage(error, view.share, again));
    root.querySelector<HTMLElement>('input')?.focus();
    return;
  }
  const text = error instanceof Error ? error.message : String(error);
  fill(
    root,
    h(
      'main',
      { class: 'login' },
      h(
        'div',
        { class: 'card login-card failure', role: 'alert' },
        h('h1', {}, 'The dashboard cannot be shown'),
        h('p', {}, text),
        h('button', { type: 'button', class: 'button primary', onclick: again }, 'Try again'),
      ),
    ),
  );
}

async function leaveSession(): Promise<void> {
  await send('POST', '/api/logout').catch(() => undefined);
  useCsrf(null);
  history.replaceState(null, '', '/');
  view = home;
  await start();
}

window.addEventListener('popstate', () => show(parseView(location.search)));
// Each panel that is refused says so; the login is asked for once.
let asking = false;
window.addEventListener('signed-out', () => {
  if (asking) return;
  asking = true;
  void start().finally(() => {
    asking = false;
  });
});
window.addEventListener('clear-filters', () => app.go({ ...view, filters: [] }));
setInterval(() => {
  if (!document.hidden && page !== undefined && !page.name.startsWith('waiting')) page.part.update(view, true);
}, TICK_MS);
const region = h('div', { id: 'announcements', class: 'unseen', role: 'status', 'aria-live': 'polite' });
document.body.append(region, refusals);
startTheme();
startShortcuts(app, () => header.menus);
announce('Loading');
void start();
