/** Login: asks for the key of administrators, and tries it. */

import { get, Refused, signIn, wordsOf } from './api.ts';
import { h } from './dom.ts';
import { mark } from './mark.ts';

/** `probe`: a path that only the right key may read. */
export function loginPage(title: string, probe: string, done: () => void): HTMLElement {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const submit = h('button', { type: 'submit', class: 'button primary' }, 'Open');
  const input = h('input', {
    class: 'input',
    id: 'key',
    type: 'password',
    required: true,
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: 'false',
  });
  const login = async (): Promise<void> => {
    problem.textContent = '';
    submit.disabled = true;
    signIn(input.value.trim());
    try {
      await get(probe);
      done();
    } catch (error) {
      signIn('');
      problem.textContent =
        error instanceof Refused && error.status === 401 ? `This key is refused: ${error.message}` : wordsOf(error);
      input.select();
    } finally {
      submit.disabled = false;
    }
  };
  const form = h(
    'form',
    {
      class: 'login-form',
      onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        void login();
      },
    },
    h('label', { for: 'key' }, 'Key of administrators', input),
    problem,
    submit,
  );
  return h(
    'main',
    { class: 'login' },
    h(
      'div',
      { class: 'card login-card' },
      mark(),
      h('h1', {}, title),
      form,
      h('p', { class: 'hint' }, 'The value of ADMIN_KEY. It stays in this tab, and goes with it.'),
    ),
  );
}
