/**
 * Loader: one box of the page and the question it shows the answer of.
 *
 *   at once          an answer that is kept is drawn before anything is asked
 *   after 150 ms     a box that has drawn something is dimmed, an empty one shows its skeleton; nothing moves
 *   a newer question aborts the older one
 *   a refusal        is shown with what to do and a button to try again; what was drawn before stays below it, dimmed.
 *                    Where the same question was answered before, its answer stays, dimmed, and the page says of when
 *                    it is (late.ts). Boxes that were refused in the same words are tried again together, and a screen
 *                    reader hears the words once
 */

import { h, icon } from '../../web/dom.ts';
import { ask, isAbort, isFresh, known, knownSinceMs, Refused } from './ask.ts';
import { inTime, isLate } from './late.ts';

/** Whoever waits for less notices nothing. */
export const PATIENCE_MS = 150;

/** Who shows a refusal, and its words. */
const refused = new Map<{ again(): void }, string>();
/** Says the words to a screen reader; other news does not replace them. */
export const refusals = h('div', { class: 'unseen', role: 'alert' });

function isRefused(who: { again(): void }, title: string, words: string): void {
  refused.set(who, words);
  const text = `${title}. ${words}`;
  if (refusals.textContent !== text) refusals.textContent = text;
}

function isNotRefused(who: { again(): void }): void {
  if (refused.delete(who) && refused.size === 0) refusals.textContent = '';
}

export interface Loads<T> {
  readonly draw: (answer: T) => void;
  /** Draws grey shapes where the answer will be. */
  readonly skeleton: () => void;
}

export class Loader<T> {
  readonly #box: HTMLElement;
  readonly #parts: Loads<T>;
  readonly #failure = h('div', { class: 'failure', hidden: true });
  #url = '';
  #drawn = false;
  #asked: AbortController | undefined;

  constructor(box: HTMLElement, parts: Loads<T>) {
    this.#box = box;
    this.#parts = parts;
    box.after(this.#failure);
  }

  load(url: string, again = false): void {
    // The box may have been put into the page after the loader was made.
    if (this.#failure.previousElementSibling !== this.#box) this.#box.after(this.#failure);
    const same = url === this.#url && this.#drawn;
    if (same && !again) return;
    this.#asked?.abort();
    if (url !== this.#url) inTime(this);
    this.#url = url;
    const before = known<T>(url);
    if (before !== undefined && !same) this.#draw(before);
    if (before !== undefined && isFresh(url) && !again) return;
    void this.#ask(url, before !== undefined);
  }

  stop(): void {
    inTime(this);
    isNotRefused(this);
    this.#asked?.abort();
    this.#asked = undefined;
  }

  async #ask(url: string, quietly: boolean): Promise<void> {
    const asked = new AbortController();
    this.#asked = asked;
    const timer = setTimeout(() => quietly || this.#wait(), PATIENCE_MS);
    try {
      const answer = await ask<T>(url, asked.signal);
      if (this.#asked !== asked) return;
      inTime(this);
      this.#draw(answer);
    } catch (error) {
      if (isAbort(error) || this.#asked !== asked) return;
      if (!quietly || (error as Refused).status === 401) this.#fail(error);
      else {
        // The next tick asks again.
        this.#settle();
        this.#box.classList.add('stale');
        isLate(this, knownSinceMs(url), (error as Error).message);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #wait(): void {
    this.#box.setAttribute('aria-busy', 'true');
    if (this.#drawn) this.#box.classList.add('stale');
    else this.#parts.skeleton();
  }

  #draw(answer: T): void {
    this.#settle();
    isNotRefused(this);
    this.#failure.hidden = true;
    this.#box.hidden = false;
    this.#drawn = true;
    this.#parts.draw(answer);
  }

  #settle(): void {
    this.#box.removeAttribute('aria-busy');
    this.#box.classList.remove('stale');
  }

  #fail(error: unknown): void {
    this.#settle();
    const status = error instanceof Refused ? error.status : -1;
    if (status === 401) window.dispatchEvent(new Event('signed-out'));
    const text = error instanceof Error ? error.message : String(error);
    const title = status === 0 ? 'No connection' : 'This could not be answered';
    isRefused(this, title, text);
    const retry = h('button', { type: 'button', class: 'button', onclick: () => tryAgain(text) }, 'Try again');
    // A goal may be gone that a link filters by.
    const filtered = status === 400 && new URL(this.#url, location.href).searchParams.has('filters');
    const clear = () => window.dispatchEvent(new Event('clear-filters'));
    this.#failure.replaceChildren(
      h('strong', {}, title),
      h('p', {}, text),
      filtered ? h('button', { type: 'button', class: 'button', onclick: clear }, 'Clear all filters') : retry,
    );
    this.#failure.prepend(icon('close'));
    this.#failure.hidden = false;
    if (this.#drawn) this.#box.classList.add('stale');
    else this.#box.hidden = true;
  }

  again(): void {
    this.#failure.hidden = true;
    this.#box.hidden = false;
    this.load(this.#url, true);
  }
}

/** What kept one box from its answer keeps all that were refused in these words. */
function tryAgain(words: string): void {
  // Said once more when it is refused once more.
  refusals.textContent = '';
  for (const [loader, text] of [...refused]) if (text === words) loader.again();
}
