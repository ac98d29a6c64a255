/** Parts that every view is made of: cards, boxes that load, forms that send, tables, states. */

import { isAbort, Refused, wordsOf } from './api.ts';
import { announce, type Child, fill, h, icon } from './dom.ts';
import { openOverlay } from './overlay.ts';

export function card(title: string, tools: Child, ...rest: readonly Child[]): HTMLElement {
  return h('section', { class: 'card panel' }, h('header', { class: 'panel-head' }, h('h2', {}, title), tools), rest);
}

export const button = (label: Child, onclick: () => void, kind = ''): HTMLButtonElement =>
  h('button', { type: 'button', class: `button ${kind}`, onclick }, label);

export const badge = (text: string, tone: 'good' | 'bad' | 'warn' | 'quiet'): HTMLElement =>
  h('span', { class: `badge ${tone}` }, text);

/** On a phone each row is a card; `kind` names the places of its cells. */
export function table(
  heads: readonly string[],
  rows: readonly (readonly Child[])[],
  label: string,
  kind: string,
): HTMLElement {
  return h(
    'div',
    { class: 'table-box' },
    h(
      'table',
      { class: `table ${kind}`, 'aria-label': label },
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          heads.map((head) => h('th', { scope: 'col' }, head)),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map((cells) =>
          h(
            'tr',
            {},
            cells.map((cell, i) => h('td', { 'data-head': heads[i] ?? '' }, cell)),
          ),
        ),
      ),
    ),
  );
}

export function empty(title: string, text: string, tool?: Child): HTMLElement {
  return h('div', { class: 'empty' }, h('strong', {}, title), h('p', {}, text), tool);
}

export function failure(error: unknown, again: () => void): HTMLElement {
  const lost = error instanceof Refused && error.status === 0;
  return h(
    'div',
    { class: 'failure', role: 'alert' },
    icon('close'),
    h('strong', {}, lost ? 'No connection' : 'This could not be answered'),
    h('p', {}, wordsOf(error)),
    button('Try again', again),
  );
}

const bones = (lines: number): HTMLElement =>
  h(
    'div',
    { class: 'bones', 'aria-hidden': 'true' },
    Array.from({ length: lines }, (_, i) => h('span', { class: `bone wide${i % 2 === 0 ? ' long' : ''}` })),
  );

/** Whoever waits for less notices nothing. */
const PATIENCE_MS = 150;

/** A box and the question it shows the answer of; a newer question ends the older one. */
export class Box<T> {
  readonly element = h('div', { class: 'box' });
  readonly #ask: (signal: AbortSignal) => Promise<T>;
  readonly #draw: (answer: T) => Child;
  readonly #lines: number;
  #asked: AbortController | undefined;
  #drawn = false;

  constructor(ask: (signal: AbortSignal) => Promise<T>, draw: (answer: T) => Child, lines = 4) {
    this.#ask = ask;
    this.#draw = draw;
    this.#lines = lines;
  }

  /** `quietly`: what is shown stays until the answer is there, and when there is none. */
  async load(quietly = false): Promise<void> {
    this.#asked?.abort();
    const asked = new AbortController();
    this.#asked = asked;
    const timer = setTimeout(() => this.#wait(quietly), PATIENCE_MS);
    try {
      const answer = await this.#ask(asked.signal);
      if (this.#asked === asked) this.show(answer);
    } catch (error) {
      if (isAbort(error) || this.#asked !== asked || (quietly && this.#drawn)) return;
      fill(
        this.element,
        failure(error, () => void this.load()),
      );
    } finally {
      clearTimeout(timer);
      if (this.#asked === asked) this.#settle();
    }
  }

  /** Asks again by itself; whoever is at something in the box keeps it. */
  tick(): void {
    if (!this.element.contains(document.activeElement)) void this.load(true);
  }

  show(answer: T): void {
    this.#drawn = true;
    fill(this.element, this.#draw(answer));
  }

  stop(): void {
    this.#asked?.abort();
    this.#asked = undefined;
  }

  #wait(quietly: boolean): void {
    if (quietly) return;
    this.element.setAttribute('aria-busy', 'true');
    if (this.#drawn) this.element.classList.add('stale');
    else fill(this.element, bones(this.#lines));
  }

  #settle(): void {
    this.element.removeAttribute('aria-busy');
    this.element.classList.remove('stale');
  }
}

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly value?: string;
  readonly hint?: string;
  readonly type?: string;
  readonly required?: boolean;
  readonly placeholder?: string;
  /** Lines of a text of several lines. */
  readonly lines?: number;
  /** What a number means, said beside it while it is typed. */
  readonly reads?: (value: number) => string;
}

let fields = 0;

export function field(given: Field): HTMLElement {
  const { name, label, value = '', hint, type = 'text', required = false, placeholder, lines, reads } = given;
  const id = `field-${++fields}`;
  const described = hint === undefined ? undefined : `${id}-hint`;
  const common = { id, class: 'input', name, required, placeholder, 'aria-describedby': described };
  const number = type === 'number' ? { min: 0, step: 1, inputmode: 'numeric' } : {};
  const input =
    lines === undefined
      ? h('input', { ...common, ...number, type, value, autocomplete: 'off' })
      : h('textarea', { ...common, rows: lines, spellcheck: 'false' }, value);
  const meaning = h('output', { class: 'hint meaning', for: id });
  const read = () => {
    meaning.textContent = reads === undefined || input.value === '' ? '' : reads(Number(input.value));
  };
  if (reads !== undefined) input.addEventListener('input', read);
  read();
  return h(
    'div',
    { class: 'field' },
    h('span', { class: 'field-head' }, h('label', { for: id }, label), meaning),
    input,
    hint !== undefined && h('p', { class: 'hint', id: described }, hint),
  );
}

/** A form that says why it was refused, and cannot be sent twice. */
export function form(
  inside: readonly Child[],
  label: string,
  send: (data: Readonly<Record<string, string>>, form: HTMLFormElement) => Promise<void>,
): HTMLFormElement {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const submit = h('button', { type: 'submit', class: 'button primary' }, label);
  const element = h(
    'form',
    {
      class: 'form',
      onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        void sent();
      },
    },
    inside,
    problem,
    h('div', { class: 'form-foot' }, submit),
  );
  async function sent(): Promise<void> {
    problem.textContent = '';
    submit.disabled = true;
    try {
      await send(Object.fromEntries(new FormData(element)) as Record<string, string>, element);
    } catch (error) {
      problem.textContent = wordsOf(error);
    } finally {
      submit.disabled = false;
    }
  }
  return element;
}

/** Asks before something that cannot be taken back. */
export function confirmed(title: string, text: string, label: string, act: () => Promise<void>): void {
  const overlay = openOverlay(title, 'small', () => undefined);
  const body = form([h('p', { class: 'quiet' }, text)], label, async () => {
    await act();
    overlay.close();
  });
  body.querySelector('.primary')!.classList.add('danger');
  body.querySelector('.form-foot')!.prepend(button('Cancel', overlay.close));
  overlay.body.append(body);
}

/** A short word that something was done; a screen reader hears it as well. */
export function said(text: string): void {
  announce(text);
  const toast = h('div', { class: 'toast', 'aria-hidden': 'true' }, icon('check'), text);
  document.body.append(toast);
  setTimeout(() => toast.remove(), 2500);
}
