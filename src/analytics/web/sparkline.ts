/** Sparkline: a series without axes, as SVG. It stretches with its box; lines keep their width. */

import { svg } from '../../web/dom.ts';
import type { Point } from '../api/contract.ts';

const WIDTH = 200;
const HEIGHT = 48;

export function sparkline(points: readonly Point[]): SVGElement {
  const values = points.flatMap(({ value }) => (value === null ? [] : [value]));
  const max = Math.max(...values, 1);
  const step = WIDTH / Math.max(points.length - 1, 1);
  const at = values.map(
    (value, i) => `${(i * step).toFixed(1)} ${(HEIGHT - 2 - (value / max) * (HEIGHT - 6)).toFixed(1)}`,
  );
  const line = at.length === 0 ? '' : `M${at.join('L')}`;
  const end = ((values.length - 1) * step).toFixed(1);
  return svg(
    'svg',
    { class: 'sparkline', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    line !== '' && svg('path', { class: 'spark-area', d: `${line}L${end} ${HEIGHT}L0 ${HEIGHT}Z` }),
    line !== '' && svg('path', { class: 'spark-line', d: line, 'vector-effect': 'non-scaling-stroke' }),
  );
}
