/** Goals: the dialog of an owner that makes and removes them. */

import { fill, h, icon } from '../../web/dom.ts';
import { openOverlay } from '../../web/overlay.ts';
import type { Goal, GoalKind, GoalsAnswer, NewGoal } from '../api/contract.ts';
import { type App, siteUrl } from './app.ts';
import { ask, forget, send } from './ask.ts';
import { tried } from './tried.ts';

/** `changed`: the panels ask again. */
export function openGoals(app: App, changed: () => void): void {
  const url = siteUrl(app.view.site, 'goals');
  const asked = new AbortController();
  const { body } = openOverlay('Goals', 'goals', () => asked.abort());
  const list = h('ul', { class: 'goal-list' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const kind = h(
    'select',
    { class: 'input', name: 'kind', 'aria-label': 'Kind', onchange: explain },
    h('option', { value: 'event' }, 'Event'),
    h('option', { value: 'path' }, 'Page'),
  );
  const match = h('input', {
    class: 'input',
    name: 'match',
    required: true,
    'aria-label': 'What it counts',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const submit = h('button', { type: 'submit', class: 'button primary' }, 'Add');
  const form = h(
    'form',
    { class: 'goal-form', onsubmit: (event: SubmitEvent) => void add(event) },
    kind,
    match,
    submit,
  );
  body.append(list, form, problem);
  explain();

  function explain(): void {
    match.placeholder = kind.value === 'event' ? 'signup' : '/checkout/**';
  }

  async function load(): Promise<void> {
    const { goals } = await ask<GoalsAnswer>(url, asked.signal);
    const remove = (goal: Goal) =>
      tried(problem, async () => {
        await send('DELETE', `${url}/${goal.id}`, undefined, asked.signal);
        await again();
      });
    const row = (goal: Goal) =>
      h(
        'li',
        {},
        h('span', { class: 'name' }, goal.name),
        h('span', { class: 'quiet' }, goal.kind === 'event' ? `event ${goal.match}` : `page ${goal.match}`),
        h(
          'button',
          {
            type: 'button',
            class: 'icon-button',
            'aria-label': `Remove the goal ${goal.name}`,
            onclick: () => void remove(goal),
          },
          icon('bin'),
        ),
      );
    fill(
      list,
      goals.length === 0
        ? h(
            'li',
            { class: 'empty' },
            'A goal is an event, or a page by its path. Its rate is the share of visitors who reached it.',
          )
        : goals.map(row),
    );
  }

  async function again(): Promise<void> {
    forget();
    await load();
    changed();
  }

  async function add(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const goal: NewGoal = { kind: kind.value as GoalKind, match: match.value };
    submit.disabled = true;
    await tried(problem, async () => {
      await send('POST', url, goal, asked.signal);
      match.value = '';
      await again();
    });
    submit.disabled = false;
    match.focus();
  }

  void tried(problem, load);
  match.focus();
}
