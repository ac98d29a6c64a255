/**
 * Login: asks who somebody is, or for the password of a share link, in the place of the page; then that page is there.
 */

import { h } from '../../web/dom.ts';
import { mark } from '../../web/mark.ts';
import { Refused, send } from './ask.ts';

/** `refused`: why the server asks. */
export function loginPage(refused: Refused, share: string, done: () => void): HTMLElement {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const submit = h('button', { type: 'submit', class: 'button primary' }, share === '' ? 'Log in' : 'Open');
  const field = (label: string, name: string, type: string, complete: string) =>
    h(
      'label',
      {},
      label,
      h('input', { class: 'input', name, type, required: true, autocomplete: complete, autocapitalize: 'none' }),
    );
  const form = h(
    'form',
    { class: 'login-form', onsubmit: (event: SubmitEvent) => void send_(event) },
    share === '' && field('User', 'user', 'text', 'username'),
    field('Password', 'password', 'password', 'current-password'),
    problem,
    submit,
  );

  async function send_(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const data = Object.fromEntries(new FormData(form)) as Record<string, string>;
    problem.textContent = '';
    submit.disabled = true;
    try {
      await (share === '' ? send('POST', '/api/login', data) : send('POST', '/api/share/unlock', { share, ...data }));
      done();
    } catch (error) {
      problem.textContent = error instanceof Refused ? error.message : String(error);
      form.querySelector<HTMLInputElement>('[name="password"]')?.select();
    } finally {
      submit.disabled = false;
    }
  }

  if (refused.code === 'SHARE_INVALID')
    return page(
      'This link has ended',
      h('p', { class: 'quiet' }, 'It was taken back or has expired. Ask whoever sent it for a new one.'),
    );
  if (refused.code === 'SHARE_LOCKED')
    return page('A shared dashboard', h('p', { class: 'quiet' }, 'Enter the password that came with the link.'), form);
  return page('Log in', form);
}

function page(title: string, ...rest: readonly HTMLElement[]): HTMLElement {
  return h('main', { class: 'login' }, h('div', { class: 'card login-card' }, mark(), h('h1', {}, title), ...rest));
}
