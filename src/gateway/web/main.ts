/**
 * Main: the page for administrators. The part of the address behind # says what is shown: nothing, everything at a
 * glance; `user/17`, one user.
 */
import '../../web/tokens.css';
import '../../web/base.css';
import '../../web/dialog.css';
import '../../web/admin.css';
import './gateway.css';
import { startAdminPage, type View } from '../../web/admin-page.ts';
import { fill, h } from '../../web/dom.ts';
import { backendsView } from './backends.ts';
import { refusalsView } from './refusals.ts';
import { userView } from './user.ts';
import { usersView } from './users.ts';

const again = startAdminPage({
  name: 'Gateway',
  probe: '/api/v1/users?limit=1',
  tools: h('a', { class: 'header-link', href: '/openapi.json' }, 'API'),
  show,
});

function show(main: HTMLElement, title: string): readonly View[] {
  window.scrollTo(0, 0);
  const [, id] = /^#user\/(\d+)$/.exec(location.hash) ?? [];
  if (id !== undefined) {
    const user = userView(Number(id), () => open('#'));
    fill(main, user.element);
    return [user];
  }
  const [users, backends, refusals] = [usersView((user) => open(`#user/${user}`)), backendsView(), refusalsView()];
  fill(
    main,
    h('h1', { class: 'unseen' }, title),
    h('div', { class: 'overview' }, users.element, h('div', { class: 'side' }, backends.element, refusals.element)),
  );
  return [users, backends, refusals];
}

function open(hash: string): void {
  if (location.hash === hash) again();
  else location.hash = hash;
}
