/** Flag: that of a country as emoji, or a plate with its letters where the system has no flags. */
import { h } from '../../web/dom.ts';

const emojiOf = (code: string): string =>
  String.fromCodePoint(...[...code].map((letter) => 0x1f1e6 + letter.charCodeAt(0) - 65));

let flags: boolean | undefined;

/** A flag is one sign; without flags its two letters stand side by side, about twice as wide. */
function hasFlags(): boolean {
  if (flags !== undefined) return flags;
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) return false;
  context.font = '32px sans-serif';
  const width = (text: string) => context.measureText(text).width;
  flags = width(emojiOf('DE')) < 1.5 * width(emojiOf('D'));
  return flags;
}

/** Says nothing to a screen reader: the name of the country stands beside it. */
export function flag(code: string): HTMLElement {
  const known = /^[A-Z]{2}$/.test(code);
  const plate = !known || !hasFlags();
  return h(
    'span',
    { class: plate ? 'flag plate' : 'flag', 'aria-hidden': 'true' },
    known ? (plate ? code : emojiOf(code)) : '–',
  );
}
