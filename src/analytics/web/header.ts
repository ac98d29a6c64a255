/** Header: which site, who is there now, which days, which comparison; and what is the same on every page. */

import { fill, h, icon } from '../../web/dom.ts';
import { mark } from '../../web/mark.ts';
import { themeButton } from '../../web/theme.ts';
import type { App, Part } from './app.ts';
import { openFilter } from './filters.ts';
import { compareMenu, compareText, periodMenu, periodText } from './period.ts';
import { choice, popover } from './popover.ts';
import { openShares } from './shares.ts';
import { type Menus, openHelp } from './shortcuts.ts';
import { formatView, home } from './state.ts';

/** More sites than this are searched, not scrolled through. */
const SEARCHED_FROM = 8;

export interface Header extends Part {
  readonly menus: Menus;
  showLive(badge: HTMLElement | undefined): void;
}

export function headerPart(app: App, logout: () => void): Header {
  const sites = popover('Sites', siteChoices, 'site-button');
  const period = periodMenu(app);
  const compare = compareMenu(app);
  const theme = themeButton();
  const filter = h(
    'button',
    { type: 'button', class: 'button filter-button', onclick: () => openFilter(app) },
    icon('filter'),
    h('span', { class: 'label' }, 'Filter'),
  );
  const help = h(
    'button',
    {
      type: 'button',
      class: 'icon-button help-button',
      'aria-label': 'Keyboard shortcuts',
      title: 'Keyboard shortcuts (?)',
      onclick: openHelp,
    },
    icon('help'),
  );
  const leave = h(
    'button',
    { type: 'button', class: 'icon-button', 'aria-label': 'Log out', title: 'Log out', onclick: logout },
    icon('out'),
  );
  const share = h(
    'button',
    {
      type: 'button',
      class: 'icon-button',
      'aria-label': 'Share this site',
      title: 'Share this site',
      onclick: () => openShares(app),
    },
    icon('share'),
  );
  const brand = h('a', { class: 'brand', href: '/', 'aria-label': 'All sites', onclick: goHome }, mark());
  const live = h('div', { class: 'live-slot' });
  const tools = h('div', { class: 'tools' }, filter, period.button, period.panel, compare.button, compare.panel);
  const always = h('div', { class: 'always' }, share, theme, help, leave);
  const element = h(
    'header',
    { class: 'header' },
    h(
      'div',
      { class: 'header-inner' },
      h('div', { class: 'where' }, brand, sites.button, sites.panel, live),
      tools,
      always,
    ),
  );

  const overview = () => ({
    ...home,
    share: app.view.share,
    period: app.view.period,
    from: app.view.from,
    to: app.view.to,
    compare: app.view.compare,
  });
  function goHome(event: MouseEvent): void {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    app.go(overview());
  }

  function siteChoices(): readonly HTMLElement[] {
    const pick = (site: string) => {
      sites.close();
      app.go({ ...overview(), site });
    };
    const list = h('div', { class: 'choices' });
    const draw = (wanted: string) => {
      const found = app.sites.filter(({ site_id }) => site_id.toLowerCase().includes(wanted));
      fill(
        list,
        wanted === '' && choice('All sites', app.view.site === '', () => pick('')),
        found.map(({ site_id }) => choice(site_id, site_id === app.view.site, () => pick(site_id))),
        found.length === 0 && h('p', { class: 'hint' }, 'No site is called so.'),
      );
    };
    draw('');
    const search = h('input', {
      type: 'search',
      class: 'input',
      placeholder: 'Find a site',
      'aria-label': 'Find a site',
      oninput: () => draw(search.value.toLowerCase()),
    });
    return app.sites.length > SEARCHED_FROM ? [search, list] : [list];
  }

  return {
    element,
    get menus() {
      return {
        openSites: sites.button.disabled ? undefined : sites.toggle,
        openPeriod: period.openDates,
        toggleTheme: () => theme.click(),
      };
    },
    showLive: (badge) => fill(live, badge),
    update(view) {
      const site = app.sites.find(({ site_id }) => site_id === view.site);
      const quiet = app.sites.length === 0 || (view.site !== '' && site?.has_events !== true);
      tools.hidden = quiet;
      filter.hidden = view.site === '';
      sites.button.hidden = app.sites.length === 0;
      sites.button.disabled = app.sites.every(({ site_id }) => site_id === view.site);
      sites.label(view.site === '' ? 'All sites' : view.site);
      period.label(icon('calendar'), h('span', {}, periodText(view)));
      compare.label(compareText(view));
      compare.button.hidden = view.period === 'all';
      // Links are made by owners who are logged in.
      share.hidden = quiet || view.site === '' || app.me?.role !== 'owner';
      leave.hidden = app.me === null;
      if (app.me !== null) leave.title = `Log out ${app.me.user}`;
      brand.href = formatView(overview());
    },
  };
}
