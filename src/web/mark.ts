/** Mark: the ring of Ringmain. */
import { svg } from './dom.ts';

export function mark(): SVGElement {
  return svg(
    'svg',
    { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
    svg('circle', { cx: 16, cy: 16, r: 12, 'stroke-dasharray': '57 100', transform: 'rotate(-90 16 16)' }),
    svg('circle', { class: 'hub', cx: 16, cy: 16, r: 4.5 }),
  );
}
