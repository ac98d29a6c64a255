/** Shares: the dialog of an owner that makes and ends links by which others see this site. */

import { fill, h, icon } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import type { MadeShare, NewShare, Share, SharesAnswer } from '../api/contract.ts';
import { type App, siteUrl } from './app.ts';
import { ask, send } from './ask.ts';
import { snippet } from './snippet.ts';
import { tried } from './tried.ts';

export function openShares(app: App): void {
  const url = siteUrl(app.view.site, 'shares');
  const asked = new AbortController();
  const { body } = openOverlay('Share this site', 'goals', () => asked.abort());
  const list = h('ul', { class: 'goal-list' });
  const made = h('div', { class: 'made', role: 'status' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const label = h('input', { class: 'input', 'aria-label': 'What the link is for', placeholder: 'What it is for' });
  const password = h('input', {
    class: 'input',
    type: 'password',
    'aria-label': 'Password of the link',
    placeholder: 'Password, or none',
    autocomplete: 'new-password',
  });
  const form = h(
    'form',
    { class: 'share-form', onsubmit: (event: SubmitEvent) => void add(event) },
    label,
    password,
    h('button', { type: 'submit', class: 'button primary' }, 'Make a link'),
  );
  body.append(
    h('p', { class: 'quiet' }, 'Whoever has a link sees the numbers of this site, and nothing else.'),
    list,
    form,
    problem,
    made,
  );

  async function load(): Promise<void> {
    const { shares } = await ask<SharesAnswer>(url, asked.signal);
    const end = (share: Share) =>
      tried(problem, async () => {
        await send('DELETE', `${url}/${encodeURIComponent(share.id)}`, undefined, asked.signal);
        fill(made);
        await load();
      });
    const row = (share: Share) => {
      const name = share.label === '' ? share.id : share.label;
      return h(
        'li',
        {},
        h('span', { class: 'name' }, name),
        h('span', { class: 'quiet' }, share.locked ? 'with a password' : 'for everybody who has it'),
        h(
          'button',
          {
            type: 'button',
            class: 'icon-button',
            'aria-label': `End the link ${name}`,
            onclick: () => void end(share),
          },
          icon('bin'),
        ),
      );
    };
    fill(list, shares.map(row));
  }

  async function add(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const share: NewShare = {
      ...(label.value === '' ? {} : { label: label.value }),
      ...(password.value === '' ? {} : { password: password.value }),
    };
    await tried(problem, async () => {
      const answer = await send('POST', url, share, asked.signal);
      const { token } = (await answer.json()) as MadeShare;
      form.reset();
      await load();
      const link = `${location.origin}/?share=${encodeURIComponent(token)}`;
      fill(made, h('p', { class: 'quiet' }, 'The link, shown this once:'), snippet(link));
    });
  }

  void tried(problem, load);
  label.focus();
}
