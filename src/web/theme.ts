/**
 * Theme: follows the system until somebody chooses; the choice is remembered in this browser. Paper is light.
 */
import { fill, h, icon } from './dom.ts';

const themes = ['auto', 'light', 'dark'] as const;
type Theme = (typeof themes)[number];
const KEY = 'ringmain-theme';
const titles = { auto: 'as the system', light: 'light', dark: 'dark' };
const icons = { auto: 'auto', light: 'sun', dark: 'moon' } as const;

function remembered(): Theme {
  try {
    return themes.find((theme) => theme === localStorage.getItem(KEY)) ?? 'auto';
  } catch {
    return 'auto';
  }
}

let theme = remembered();
const dark = matchMedia('(prefers-color-scheme: dark)');
const paper = matchMedia('print');
const listeners = new Set<() => void>();

/** Runs whenever colours have changed: what is drawn on a canvas is drawn again. */
export function onTheme(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

function apply(): void {
  const chosen = theme === 'auto' ? (dark.matches ? 'dark' : 'light') : theme;
  document.documentElement.dataset['theme'] = paper.matches ? 'light' : chosen;
  for (const changed of listeners) changed();
}

export function startTheme(): void {
  dark.addEventListener('change', apply);
  paper.addEventListener('change', apply);
  apply();
}

export function themeButton(): HTMLButtonElement {
  const button = h('button', { type: 'button', class: 'icon-button', onclick: next });
  const show = () => {
    fill(button, icon(icons[theme]));
    button.setAttribute('aria-label', `Colours: ${titles[theme]}`);
    button.title = `Colours: ${titles[theme]}`;
  };
  function next(): void {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length]!;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // A browser that keeps nothing forgets the choice with the page.
    }
    apply();
    show();
  }
  show();
  return button;
}
