/** User: one user with usage, keys, limits, quota and networks. */

import type { View } from '../../web/admin-page.ts';
import { call, get } from '../../web/api.ts';
import { fill, h, icon } from '../../web/dom.ts';
import { Box, button, card, confirmed, empty, field, form, said } from '../../web/parts.ts';
import type { QuotaLimits, RateLimits, UserView } from '../database/admin/contract.ts';
import { bytes, exact, moment } from './format.ts';
import { keysCard } from './keys.ts';
import { networksOf, numberOf } from './limits.ts';
import { type Usage, usageBars } from './usage.ts';
import { stateOf } from './users.ts';

/** A number of many digits, with its thousands apart. */
const grouped = (value: number): string => (value < 10_000 ? '' : exact(value));
const textOf = (value: number | null): string => (value === null ? '' : String(value));

export function userView(id: number, home: () => void): View {
  const path = `/api/v1/users/${id}`;
  const title = h('h1', {}, 'User');
  const line = h('p', { class: 'quiet user-line' });
  const actions = h('div', { class: 'tools' });
  const parts = h('div', { class: 'user-parts' });
  let user: UserView | undefined;
  const usage = new Box<Usage>(
    (signal) => get<Usage>(`/api/v1/usage?user_id=${id}`, signal),
    (answer) => (user === undefined ? undefined : usageBars(answer, user.quota)),
    2,
  );
  const keys = keysCard(id);
  const box = new Box<UserView>((signal) => get<UserView>(path, signal), draw);

  function head(found: UserView): void {
    user = found;
    document.title = `${found.username} · Ringmain Gateway`;
    fill(title, found.username, ' ', stateOf(found));
    fill(line, found.email, h('span', {}, `id ${found.id}`), h('span', {}, `since ${moment(found.created_at)}`));
    fill(
      actions,
      button(found.is_active ? 'Deactivate' : 'Activate', () => void turn(found)),
      button([icon('bin'), 'Delete'], () => remove(found), 'danger-quiet'),
    );
  }

  async function turn(found: UserView): Promise<void> {
    const is_active = !found.is_active;
    const act = async () => {
      head(await call<UserView>('PATCH', path, { is_active }));
      said(`${found.username} is ${is_active ? 'active' : 'inactive'}`);
    };
    if (is_active) await act().catch(() => void box.load());
    else
      confirmed(
        `Deactivate ${found.username}?`,
        'Its keys and signed URLs are refused within a second. It can be activated again.',
        'Deactivate',
        act,
      );
  }

  function remove(found: UserView): void {
    confirmed(
      `Delete ${found.username}?`,
      'Its keys, limits and quota are removed for good. Its requests and its usage stay in the log.',
      'Delete',
      async () => {
        await call('DELETE', path);
        said(`${found.username} was deleted`);
        home();
      },
    );
  }

  function draw(found: UserView) {
    head(found);
    void usage.load();
    fill(
      parts,
      card('Usage this month', undefined, h('div', { class: 'card-body' }, usage.element)),
      keys.element,
      card('Limits', undefined, limitsForm(found)),
      card('Quota', undefined, quotaForm(found)),
      card('Networks', undefined, networksForm(found)),
    );
    return parts;
  }

  const limitsForm = ({ limits }: UserView) =>
    form(
      [
        h(
          'div',
          { class: 'fields' },
          field({
            name: 'requests_per_minute',
            label: 'Requests per minute',
            type: 'number',
            value: textOf(limits.requests_per_minute),
            reads: grouped,
            placeholder: 'server default',
          }),
          field({
            name: 'requests_per_hour',
            label: 'Requests per hour',
            type: 'number',
            value: textOf(limits.requests_per_hour),
            reads: grouped,
            placeholder: 'no limit',
          }),
          field({
            name: 'burst',
            label: 'At once',
            type: 'number',
            value: textOf(limits.burst),
            placeholder: 'the whole window',
          }),
        ),
      ],
      'Save limits',
      async (data) => {
        const body = {
          requests_per_minute: numberOf(data['requests_per_minute']),
          requests_per_hour: numberOf(data['requests_per_hour']),
          burst: numberOf(data['burst']),
        } satisfies RateLimits;
        await call('PUT', `${path}/limits`, body);
        said('The limits were saved');
      },
    );

  const quotaForm = ({ quota }: UserView) =>
    form(
      [
        h(
          'div',
          { class: 'fields' },
          field({
            name: 'monthly_requests',
            label: 'Requests per month',
            type: 'number',
            value: textOf(quota.monthly_requests),
            reads: grouped,
            placeholder: 'no limit',
          }),
          field({
            name: 'monthly_bytes',
            label: 'Bytes per month',
            type: 'number',
            value: textOf(quota.monthly_bytes),
            reads: bytes,
            placeholder: 'no limit',
          }),
          field({
            name: 'storage_bytes',
            label: 'Bytes of uploads',
            type: 'number',
            value: textOf(quota.storage_bytes),
            reads: bytes,
            placeholder: 'no limit',
          }),
        ),
      ],
      'Save quota',
      async (data) => {
        const body = {
          monthly_requests: numberOf(data['monthly_requests']),
          monthly_bytes: numberOf(data['monthly_bytes']),
          storage_bytes: numberOf(data['storage_bytes']),
        } satisfies QuotaLimits;
        const saved = await call<QuotaLimits>('PUT', `${path}/quota`, body);
        if (user !== undefined) user = { ...user, quota: saved };
        said('The quota was saved');
        void usage.load(true);
      },
    );

  const networksForm = ({ networks }: UserView) =>
    form(
      [
        field({
          name: 'networks',
          label: 'Allowed networks, one a line',
          lines: 4,
          value: networks.join('\n'),
          placeholder: '10.0.0.0/8',
          hint: 'None: every network. Viewers of signed URLs are not bound by them.',
        }),
      ],
      'Save networks',
      async (data, element) => {
        const wanted = networksOf(data['networks']);
        const saved = await call<readonly string[]>('PUT', `${path}/networks`, wanted);
        element.querySelector('textarea')!.value = saved.join('\n');
        said('The networks were saved');
      },
    );

  const back = h('a', { class: 'back', href: '#' }, icon('left'), 'Users');
  const element = h(
    'div',
    { class: 'user-page' },
    h('div', { class: 'user-head' }, h('div', {}, back, title, line), actions),
    box.element,
  );
  if (Number.isSafeInteger(id)) void box.load();
  else fill(box.element, empty('No such user', 'The address of this page names none.'));
  return {
    element,
    ticks: 2,
    refresh: () => {
      void usage.load(true);
      keys.refresh();
    },
    leave: () => {
      box.stop();
      usage.stop();
      keys.leave();
    },
  };
}
