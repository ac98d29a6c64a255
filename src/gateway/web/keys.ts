/** Keys of a user: made, changed, rotated, revoked. What a key says is shown once, where it is made. */

import type { View } from '../../web/admin-page.ts';
import { call, get } from '../../web/api.ts';
import { h, icon } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import { Box, badge, button, card, confirmed, empty, field, form, said, table } from '../../web/parts.ts';
import type { KeyChange, KeyView, MadeKey, NewKey } from '../database/admin/contract.ts';
import { scopes } from '../model.ts';
import { ago, exact, moment } from './format.ts';
import { networksOf, numberOf } from './limits.ts';

const tones = { valid: 'good', expired: 'warn', revoked: 'quiet' } as const;
const purposes = {
  read: 'pictures and lists',
  upload: 'uploads and signed URLs',
  admin: 'administration',
} as const;

export function keysCard(userId: number): View {
  const box = new Box<{ readonly items: readonly KeyView[] }>(
    (signal) => get(`/api/v1/users/${userId}/keys`, signal),
    ({ items }) =>
      items.length === 0
        ? empty(
            'No keys yet',
            'Without a key nothing can be asked for.',
            button([icon('plus'), 'Make a key'], make, 'primary'),
          )
        : table(['Key', 'State', 'Scopes', 'Last use', 'Actions'], items.toReversed().map(rowOf), 'Keys', 'keys'),
    3,
  );

  function rowOf(key: KeyView) {
    const { id, name, state, expires_at: expires, last_used_at: used, previous_until: previous } = key;
    const notes = [
      state === 'valid' && expires !== null && `expires ${moment(expires)}`,
      key.limits.requests_per_minute !== null && `${exact(key.limits.requests_per_minute)} a minute`,
      key.limits.requests_per_hour !== null && `${exact(key.limits.requests_per_hour)} an hour`,
      key.networks.length > 0 &&
        `only from ${key.networks.slice(0, 2).join(', ')}${key.networks.length > 2 ? ', ...' : ''}`,
      previous !== null && `the secret before is good until ${moment(previous)}`,
    ].filter((note) => note !== false);
    return [
      h('div', { class: 'key-name' }, h('b', {}, name || 'without a name'), h('code', {}, id)),
      h(
        'div',
        { class: 'key-state' },
        badge(state, tones[state]),
        notes.map((note) => h('span', { class: 'hint' }, note)),
      ),
      key.scopes.join(', '),
      used === null
        ? h('span', { class: 'quiet' }, 'never')
        : h('time', { datetime: used, title: moment(used) }, ago(used)),
      state === 'revoked'
        ? h('span', { class: 'quiet' }, 'for good')
        : h(
            'div',
            { class: 'row-tools' },
            button('Change', () => change(key)),
            state === 'valid' && button('Rotate', () => rotate(key)),
            button('Revoke', () => revoke(key), 'danger-quiet'),
          ),
    ];
  }

  function make(): void {
    const overlay = openOverlay('Make a key', 'small', () => undefined);
    overlay.body.append(
      form(keyFields(), 'Make the key', async (data) => {
        const body: NewKey = { ...keyIn(data), expires_at: endIn(data) };
        const made = await call<MadeKey>('POST', `/api/v1/users/${userId}/keys`, body);
        overlay.close();
        show(made, 'The key was made');
      }),
    );
    overlay.body.querySelector('input')?.focus();
  }

  function change(key: KeyView): void {
    const overlay = openOverlay(`Change ${key.name || key.id}`, 'small', () => undefined);
    overlay.body.append(
      form(keyFields(key), 'Save the key', async (data) => {
        // An end that is left as it was stays to the second, also one that is over.
        const end = dayOf(key) === (data['expires'] ?? '') ? {} : { expires_at: endIn(data) };
        const burst = key.limits.burst;
        const { limits, ...rest } = keyIn(data);
        const body: KeyChange = { ...rest, limits: { ...limits, burst }, ...end };
        await call<KeyView>('PATCH', `/api/v1/keys/${key.id}`, body);
        overlay.close();
        said('The key was changed');
        await box.load(true);
      }),
    );
    overlay.body.querySelector('input')?.focus();
  }

  function show(made: MadeKey, title: string): void {
    void box.load(true);
    const overlay = openOverlay(title, 'small', () => undefined);
    overlay.body.append(
      h('p', { class: 'notice' }, 'Copy it now: only a digest is kept, and nobody can show it again.'),
      secret('Key', made.key),
      secret('Signing key, for signed URLs', made.signing_key),
      h('div', { class: 'form-foot' }, button('I have copied it', overlay.close, 'primary')),
    );
    overlay.body.querySelector<HTMLElement>('.copy')?.focus();
  }

  function rotate(key: KeyView): void {
    const overlay = openOverlay(`Rotate ${key.name || key.id}`, 'small', () => undefined);
    overlay.body.append(
      form(
        [
          h(
            'p',
            { class: 'quiet' },
            'The key gets another secret and another signing key. Those before stay good for a while.',
          ),
          field({
            name: 'overlap',
            label: 'Minutes that both are good',
            type: 'number',
            value: '60',
            required: true,
            hint: '0: the one before ends at once.',
          }),
        ],
        'Rotate',
        async (data) => {
          const overlap_s = Math.round(Number(data['overlap']) * 60);
          const made = await call<MadeKey>('POST', `/api/v1/keys/${key.id}/rotate`, { overlap_s });
          overlay.close();
          show(made, 'The key was rotated');
        },
      ),
    );
  }

  function revoke(key: KeyView): void {
    confirmed(
      `Revoke ${key.name || key.id}?`,
      'It is refused everywhere within a second, for good.',
      'Revoke',
      async () => {
        await call('DELETE', `/api/v1/keys/${key.id}`);
        said('The key was revoked');
        await box.load(true);
      },
    );
  }

  void box.load();
  return {
    element: card('Keys', button([icon('plus'), 'Make a key'], make), box.element),
    ticks: 2,
    refresh: () => box.tick(),
    leave: () => box.stop(),
  };
}

/** The fields of a key: of a new one, or as this one is. */
function keyFields(key?: KeyView): HTMLElement[] {
  const choice = (scope: (typeof scopes)[number]) =>
    h(
      'label',
      { class: 'check' },
      h('input', {
        type: 'checkbox',
        name: `scope-${scope}`,
        checked: key === undefined ? scope !== 'admin' : key.scopes.includes(scope),
      }),
      h('span', {}, h('b', {}, scope), ' ', h('span', { class: 'quiet' }, purposes[scope])),
    );
  const rate = (name: string, label: string, value: number | null | undefined) =>
    field({ name, label, type: 'number', value: `${value ?? ''}`, placeholder: 'those of the user' });
  return [
    field({
      ...{ name: 'name', label: 'Name', value: key?.name ?? '', placeholder: 'web shop' },
      hint: 'For people: where it is used.',
    }),
    h('fieldset', { class: 'field' }, h('legend', {}, 'May be used for'), scopes.map(choice)),
    h(
      'details',
      { class: 'more-fields', open: key !== undefined },
      h('summary', {}, 'Limits and networks of this key'),
      h(
        'div',
        { class: 'fields' },
        rate('per_minute', 'Requests per minute', key?.limits.requests_per_minute),
        rate('per_hour', 'Requests per hour', key?.limits.requests_per_hour),
        field({
          ...{ name: 'networks', label: 'Allowed networks, one a line', lines: 2, placeholder: '10.0.0.0/8' },
          value: key?.networks.join('\n') ?? '',
        }),
      ),
    ),
    field({
      ...{ name: 'expires', label: 'Expires', type: 'date', value: dayOf(key) },
      hint: 'At the end of the day in UTC; empty: never.',
    }),
  ];
}

/** The day in UTC on which it ends, as a field of a date has it. */
const dayOf = (key: KeyView | undefined): string => key?.expires_at?.slice(0, 10) ?? '';

type FormData = Readonly<Record<string, string>>;

const endIn = ({ expires = '' }: FormData): string | null => (expires === '' ? null : `${expires}T23:59:59Z`);

const keyIn = (data: FormData) => ({
  name: data['name'] ?? '',
  scopes: scopes.filter((scope) => data[`scope-${scope}`] !== undefined),
  networks: networksOf(data['networks']),
  limits: { requests_per_minute: numberOf(data['per_minute']), requests_per_hour: numberOf(data['per_hour']) },
});

function secret(label: string, text: string): HTMLElement {
  const copy = h(
    'button',
    { type: 'button', class: 'button copy', onclick: () => void copied() },
    icon('copy'),
    'Copy',
  );
  const value = h('code', { class: 'secret', tabindex: '0', 'aria-label': label }, text);
  async function copied(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      said('Copied');
    } catch {
      // Without TLS a browser copies nothing by itself: then it is marked, for the keyboard.
      getSelection()?.selectAllChildren(value);
      said('Marked: copy it with the keyboard');
    }
  }
  return h(
    'div',
    { class: 'field' },
    h('span', { class: 'label' }, label),
    h('div', { class: 'secret-row' }, value, copy),
  );
}
