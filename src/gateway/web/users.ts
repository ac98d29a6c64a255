/** Users: the list, with a search and pages, and the form for a new one. */

import type { View } from '../../web/admin-page.ts';
import { call, get } from '../../web/api.ts';
import { fill, h, icon } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import { Box, badge, button, card, empty, field, form, said, table } from '../../web/parts.ts';
import type { Page, UserView } from '../database/admin/contract.ts';
import { type Usage, usageBars } from './usage.ts';

const PAGE = 20;
const SEARCH_MS = 200;

export function stateOf({ is_active: active }: UserView): HTMLElement {
  return active ? badge('Active', 'good') : badge('Inactive', 'bad');
}

export function usersView(open: (id: number) => void): View {
  /** Where the pages begin that were seen. */
  const starts = [0];
  let search = '';
  const before = button([icon('left'), 'Before'], () => move(-1));
  const after = button(['Next', icon('right')], () => move(1));
  const foot = h('footer', { class: 'panel-foot', hidden: true }, before, after);
  let next: number | null = null;

  const box: Box<Page<UserView>> = new Box(
    (signal) => {
      const query = new URLSearchParams({ limit: String(PAGE), after: String(starts.at(-1)) });
      if (search !== '') query.set('search', search);
      return get<Page<UserView>>(`/api/v1/users?${query}`, signal);
    },
    (page) => {
      next = page.next;
      before.disabled = starts.length === 1;
      after.disabled = next === null;
      foot.hidden = before.disabled && after.disabled;
      if (page.items.length === 0)
        return search === ''
          ? empty(
              'No users yet',
              'A user has keys, limits and a quota. Add one and make its first key.',
              button([icon('plus'), 'Add a user'], add, 'primary'),
            )
          : empty('Nobody found', 'No name and no address has this text.');
      return table(
        ['User', 'State', 'Keys', 'This month'],
        page.items.map((user) => [
          h(
            'a',
            { class: 'user-link', href: `#user/${user.id}` },
            h('b', {}, user.username),
            h('span', { class: 'quiet' }, user.email),
          ),
          stateOf(user),
          String(user.keys),
          usageCell(user),
        ]),
        'Users',
        'users',
      );
    },
    6,
  );

  function move(by: 1 | -1): void {
    if (by === 1 && next !== null) starts.push(next);
    else if (by === -1) starts.pop();
    void box.load();
  }

  function add(): void {
    const overlay = openOverlay('Add a user', 'small', () => undefined);
    overlay.body.append(
      form(
        [
          field({ name: 'username', label: 'Name', required: true, placeholder: 'ada' }),
          field({ name: 'email', label: 'Email', required: true, type: 'email', placeholder: 'ada@example.com' }),
        ],
        'Add',
        async ({ username, email }) => {
          const user = await call<UserView>('POST', '/api/v1/users', { username, email });
          overlay.close();
          said(`${user.username} was added`);
          open(user.id);
        },
      ),
    );
    overlay.body.querySelector('input')?.focus();
  }

  let timer: ReturnType<typeof setTimeout> | undefined;
  const find = h('input', {
    class: 'input find',
    type: 'search',
    placeholder: 'Find a user',
    'aria-label': 'Find a user',
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        search = find.value.trim();
        starts.length = 1;
        void box.load();
      }, SEARCH_MS);
    },
  });
  const tools = h('div', { class: 'tools' }, find, button([icon('plus'), 'Add'], add, 'primary'));
  void box.load();
  return {
    element: card('Users', tools, box.element, foot),
    ticks: 6,
    refresh: () => box.tick(),
    leave: () => {
      clearTimeout(timer);
      box.stop();
    },
  };
}

/** What was answered last, by user: a list that is drawn again does not flicker. Of some pages at most. */
const known = new Map<number, Usage>();

/** Asked for by itself, so that a slow sum keeps no list waiting. */
function usageCell(user: UserView): HTMLElement {
  const before = known.get(user.id);
  const cell = h(
    'div',
    { class: 'usage-cell' },
    before === undefined ? h('span', { class: 'bone wide' }) : usageBars(before, user.quota),
  );
  get<Usage>(`/api/v1/usage?user_id=${user.id}`).then(
    (usage) => {
      if (known.size >= PAGE * 10) known.clear();
      known.set(user.id, usage);
      fill(cell, usageBars(usage, user.quota));
    },
    () => fill(cell, h('span', { class: 'quiet' }, 'unknown')),
  );
  return cell;
}
