/**
 * Admin page: what surrounds the views of a page for administrators: login, header, skip link. The part of the address
 * behind # says what is shown; it is asked for again every few seconds while the tab is looked at.
 */
import { isSignedIn, signIn } from './api.ts';
import { type Child, fill, h, icon } from './dom.ts';
import { loginPage } from './login.ts';
import { mark } from './mark.ts';
import { startTheme, themeButton } from './theme.ts';

const TICK_MS = 5000;

export interface View {
  readonly element: HTMLElement;
  /** Asks again for what may have changed. */
  refresh(): void;
  /** It is refreshed in every so many ticks of the page; left out: in each. */
  readonly ticks?: number;
  leave(): void;
}

export interface AdminPage {
  /** What stands behind Ringmain. */
  readonly name: string;
  /** A path that only the right key may read. */
  readonly probe: string;
  /** In the header: behind the name, and before the tools of every page. */
  readonly choice?: Child;
  readonly tools?: Child;
  /** Fills `main` with what the address asks for; returns the views in it. `title`: of the page. */
  show(main: HTMLElement, title: string): readonly View[];
}

/** Starts the page. Returns what shows it anew. */
export function startAdminPage({ name, probe, choice, tools, show: showViews }: AdminPage): () => void {
  const title = `Ringmain ${name}`;
  const root = document.getElementById('app')!;
  const main = h('main', { id: 'main', tabindex: '-1' });
  let views: readonly View[] = [];

  function leave(): void {
    for (const view of views) view.leave();
    views = [];
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  }

  function show(): void {
    leave();
    document.title = title;
    if (!isSignedIn()) {
      fill(root, loginPage(title, probe, show));
      root.querySelector('input')?.focus();
      return;
    }
    if (!root.contains(main))
      fill(root, h('a', { class: 'skip', href: '#main', onclick: skip }, 'Skip to the content'), header(), main);
    views = showViews(main, title);
  }

  /** The part of the address belongs to the views: the link moves the focus alone. */
  function skip(event: Event): void {
    event.preventDefault();
    main.focus();
  }

  const header = (): HTMLElement =>
    h(
      'header',
      { class: 'header' },
      h(
        'div',
        { class: 'header-inner' },
        h('a', { class: 'brand', href: '#' }, mark(), h('span', {}, 'Ringmain ', h('b', {}, name))),
        choice,
        h(
          'div',
          { class: 'tools' },
          tools,
          themeButton(),
          h('button', { type: 'button', class: 'button', onclick: signOut }, icon('out'), 'Sign out'),
        ),
      ),
    );

  function signOut(): void {
    signIn('');
    show();
  }

  window.addEventListener('hashchange', show);
  window.addEventListener('signed-out', () => {
    if (isSignedIn() && root.contains(main)) signOut();
  });
  let ticks = 0;
  setInterval(() => {
    ticks += 1;
    if (!document.hidden) for (const view of views) if (ticks % (view.ticks ?? 1) === 0) view.refresh();
  }, TICK_MS);
  document.body.append(h('div', { id: 'announcements', class: 'unseen', role: 'status', 'aria-live': 'polite' }));
  startTheme();
  show();
  return show;
}
