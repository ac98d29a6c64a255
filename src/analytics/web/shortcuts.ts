/** Shortcuts: single keys, off while somebody types or a dialog is open; ? lists them. */

import { h } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import type { App } from './app.ts';
import { openFilter } from './filters.ts';
import { periodTitles } from './format.ts';
import { periodKeys } from './period.ts';
import { compares, home, periods } from './state.ts';

export interface Menus {
  /** Undefined: there is no such menu now. */
  readonly openSites: (() => void) | undefined;
  readonly openPeriod: () => void;
  readonly toggleTheme: () => void;
}

const others: readonly (readonly [key: string, text: string])[] = [
  ['C', 'next comparison'],
  ['F', 'add a filter'],
  ['X', 'clear all filters'],
  ['L', 'live view'],
  ['S', 'switch site'],
  ['O', 'overview of all sites'],
  ['H', 'light, dark or as the system'],
  ['?', 'this list'],
];

export function startShortcuts(app: App, menus: () => Menus): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target as HTMLElement;
    if (target.matches('input, select, textarea, [contenteditable]') || document.querySelector('dialog[open]') !== null)
      return;
    if (press(app, event.key.toUpperCase(), menus())) event.preventDefault();
  });
}

function press(app: App, key: string, menus: Menus): boolean {
  const { view } = app;
  const period = periods.find((one) => periodKeys[one] === key);
  if (key === '?') openHelp();
  else if (key === 'S' && menus.openSites !== undefined) menus.openSites();
  else if (key === 'O' && app.sites.length > 1)
    app.go({ ...home, share: view.share, period: view.period, from: view.from, to: view.to, compare: view.compare });
  else if (key === 'H') menus.toggleTheme();
  else if (period === 'custom') menus.openPeriod();
  else if (period !== undefined) app.go({ ...view, period, from: '', to: '', interval: undefined });
  else if (key === 'C') app.go({ ...view, compare: compares[(compares.indexOf(view.compare) + 1) % compares.length]! });
  else if (view.site === '') return false;
  else if (key === 'F') openFilter(app);
  else if (key === 'X' && view.filters.length > 0) app.go({ ...view, filters: [] });
  else if (key === 'L') app.go({ ...view, live: true });
  else return false;
  return true;
}

export function openHelp(): void {
  const { body } = openOverlay('Keyboard', 'help', () => undefined);
  const row = (key: string, text: string) => h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, text));
  body.append(
    h(
      'dl',
      { class: 'keys' },
      periods.map((period) => row(periodKeys[period]!, period === 'custom' ? 'choose dates' : periodTitles[period])),
      others.map(([key, text]) => row(key, text)),
      row('Alt click', 'on a row: everything but it'),
      row('Esc', 'close'),
    ),
  );
}
