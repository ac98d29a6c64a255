/** Snippet: text to copy, with a button that does it. */
import { announce, h, icon } from '../../web/dom.ts';

const COPIED_MS = 2000;

export function snippet(text: string): HTMLElement {
  const label = h('span', {}, 'Copy');
  const copy = async () => {
    // A browser may refuse its clipboard to a page.
    const said = await navigator.clipboard.writeText(text).then(
      () => 'Copied',
      () => 'Not copied',
    );
    label.textContent = said;
    announce(said);
    setTimeout(() => {
      label.textContent = 'Copy';
    }, COPIED_MS);
  };
  // Browsers give a page the clipboard over HTTPS and on this machine alone.
  const button =
    'clipboard' in navigator &&
    h('button', { type: 'button', class: 'button', onclick: () => void copy() }, icon('copy'), label);
  return h('div', { class: 'snippet' }, h('pre', { tabindex: '0' }, h('code', {}, text)), button);
}
