/** Overlay: a dialog over the page. The browser keeps the focus in it and gives it back where it came from. */
import { type Child, h, icon } from './dom.ts';

export interface Overlay {
  readonly dialog: HTMLDialogElement;
  readonly body: HTMLElement;
  readonly title: HTMLElement;
  close(): void;
}

let made = 0;

/** Opens at once; `closed` runs once, whatever closed it. */
export function openOverlay(title: Child, kind: string, closed: () => void): Overlay {
  const id = `overlay-${++made}`;
  const heading = h('h2', { id }, title);
  const close = () => dialog.close();
  const body = h('div', { class: 'overlay-body' });
  const dialog = h(
    'dialog',
    { class: `overlay ${kind}`, 'aria-labelledby': id },
    h(
      'header',
      { class: 'overlay-head' },
      heading,
      h('button', { type: 'button', class: 'icon-button', 'aria-label': 'Close', onclick: close }, icon('close')),
    ),
    body,
  );
  // A click on the backdrop is a click on the dialog itself.
  dialog.addEventListener('mousedown', (event) => event.target === dialog && close());
  dialog.addEventListener('close', () => {
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, body, title: heading, close };
}
