/**
 * Popover: a button and what it opens. The browser closes it by Escape or a click elsewhere and gives the focus back;
 * it lies in the top layer, so nothing cuts it off.
 */
import { type Child, fill, h, icon } from '../../web/dom.ts';

const GAP = 6;
const EDGE = 8;
let made = 0;

export interface Popover {
  readonly button: HTMLButtonElement;
  /** The panel: stands behind the button, so that Tab goes on into it. */
  readonly panel: HTMLElement;
  label(...children: readonly Child[]): void;
  close(): void;
  toggle(): void;
}

export function popover(name: string, build: () => Child, kind = ''): Popover {
  const id = `popover-${++made}`;
  const panel = h('div', { id, popover: 'auto', class: 'popover', role: 'group', 'aria-label': name });
  const label = h('span', { class: 'label' });
  const button = h(
    'button',
    { type: 'button', class: `button ${kind}`, popovertarget: id, 'aria-expanded': 'false' },
    label,
    icon('down'),
  );
  panel.addEventListener('beforetoggle', (event) => {
    if ((event as ToggleEvent).newState === 'open') fill(panel, build());
  });
  panel.addEventListener('toggle', (event) => {
    const open = (event as ToggleEvent).newState === 'open';
    button.setAttribute('aria-expanded', String(open));
    if (!open) return;
    place(panel, button);
    // Where one searches, else where one is.
    for (const wanted of ['[type="search"]', '[aria-current="true"]', 'button, input']) {
      const found = panel.querySelector<HTMLElement>(wanted);
      if (found !== null) return found.focus();
    }
  });
  panel.addEventListener('keydown', (event) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    // In a date the arrows are its own.
    if (step === 0 || (event.target instanceof HTMLInputElement && event.target.type !== 'search')) return;
    const items = [...panel.querySelectorAll<HTMLElement>('button')];
    const at = items.indexOf(document.activeElement as HTMLElement);
    items[(at + step + items.length) % items.length]?.focus();
    event.preventDefault();
  });
  const close = () => panel.hidePopover();
  return {
    button,
    panel,
    label: (...children) => fill(label, ...children),
    close,
    toggle: () => panel.togglePopover(),
  };
}

function place(panel: HTMLElement, button: HTMLElement): void {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const room = document.documentElement.clientWidth - width - EDGE;
  const below = at.bottom + GAP;
  const fits = below + height < window.innerHeight - EDGE || at.top < height;
  panel.style.left = `${Math.max(EDGE, Math.min(at.left + width > room + width ? at.right - width : at.left, room))}px`;
  panel.style.top = `${Math.max(EDGE, fits ? Math.min(below, Math.max(EDGE, window.innerHeight - height - EDGE)) : at.top - height - GAP)}px`;
}

/** One choice of a list. */
export function choice(text: Child, chosen: boolean, pick: () => void, key = ''): HTMLButtonElement {
  return h(
    'button',
    { type: 'button', class: 'choice', 'aria-current': chosen ? 'true' : undefined, onclick: pick },
    h('span', { class: 'choice-text' }, text),
    chosen ? icon('check') : key !== '' && h('kbd', {}, key),
  );
}
