/**
 * Chart: a time series with its comparison behind it. Points stand one behind the other at equal distances, whatever
 * the clock did that day. The running interval is a dashed line to a hollow point; what lies ahead is left out.
 */
import uPlot from 'uplot';
import { fill, h } from '../../web/dom.ts';
import type { Interval, Metric, TimeseriesAnswer } from '../api/contract.ts';
import { arrowed, axisText, metricText, metricTitles, pointText } from './format.ts';

const LABEL_WIDTH = 76;
const DASH = [5, 5];
const durations: readonly Metric[] = ['visit_duration', 'engaged_time'];
const wholeSteps = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500]
  .flatMap((n) => [n, n * 1e3, n * 1e6])
  .sort((a, b) => a - b);
const steps: Partial<Record<Metric, number[]>> = {
  views_per_visit: [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50],
  bounce_rate: [0.01, 0.02, 0.05, 0.1, 0.2, 0.25],
};
const durationSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400];

type Values = (number | null)[];

export class Chart {
  readonly element = h('div', { class: 'chart', role: 'img' });
  readonly #tip = h('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
  readonly #pick: (at: string, interval: Interval) => void;
  #plot: uPlot | undefined;
  #answer: TimeseriesAnswer | undefined;

  /** `pick`: somebody clicked on the point that begins then. */
  constructor(pick: (at: string, interval: Interval) => void) {
    this.#pick = pick;
    let width = 0;
    const seen = new ResizeObserver(() => {
      if (this.element.clientWidth === width) return;
      width = this.element.clientWidth;
      this.redraw();
    });
    seen.observe(this.element);
    this.element.addEventListener('click', () => {
      const at = this.#plot?.cursor.idx;
      const point = typeof at === 'number' ? this.#answer?.points[at] : undefined;
      if (point !== undefined) this.#pick(point.at, this.#answer!.interval);
    });
  }

  draw(answer: TimeseriesAnswer): void {
    this.#answer = answer;
    this.redraw();
  }

  redraw(): void {
    const answer = this.#answer;
    const { clientWidth: width, clientHeight: height } = this.element;
    if (answer === undefined || width === 0) return;
    this.#plot?.destroy();
    const { points, previous, metric, interval } = answer;
    const behind = previous?.slice(0, Math.max(points.length, 1));
    const runs = points.findIndex(({ running }) => running === true);
    const over: Values = points.map(({ value }, i) => (runs >= 0 && i >= runs ? null : value));
    const running: Values = points.map(({ value }, i) => (runs >= 0 && (i === runs || i === runs - 1) ? value : null));
    const before: Values = points.map((_, i) => behind?.[i]?.value ?? null);
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const few = points.length <= 2;
    const every = Math.max(1, Math.ceil(points.length / Math.max(1, Math.floor((width - 50) / LABEL_WIDTH))));
    const days = new Set(points.map(({ at }) => at.slice(0, 10))).size;
    const manyDays = days > 1;
    // Hours of several days: one label a day, at its begin.
    const perDay = manyDays && interval === 'hour' ? Math.ceil((every * days) / points.length) * 24 : every;
    const font = `12px ${style.fontFamily || 'sans-serif'}`;
    const label = (i: number) => (points[i] === undefined ? '' : axisText(points[i].at, interval, manyDays));
    this.#plot = new uPlot(
      {
        width,
        height,
        padding: [14, 26, 0, 4],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => [few ? -0.5 : 0, few ? points.length - 0.5 : points.length - 1] },
          y: { range: (_, __, max) => [0, top(max, metric)] },
        },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: {
            size: 9,
            width: 2,
            stroke: () => colour('--card'),
            fill: (_, i) => colour(i === 1 ? '--compare' : '--accent'),
          },
        },
        axes: [
          {
            font,
            stroke: colour('--quiet'),
            size: 34,
            gap: 8,
            grid: { show: false },
            ticks: { show: false },
            splits: () => points.flatMap((_, i) => (i % perDay === 0 ? [i] : [])),
            values: (_, splits) => splits.map(label),
          },
          {
            font,
            stroke: colour('--quiet'),
            size: 50,
            gap: 8,
            space: 44,
            incrs: durations.includes(metric) ? durationSteps : (steps[metric] ?? wholeSteps),
            grid: { stroke: colour('--line'), width: 1 },
            ticks: { show: false },
            values: (_, splits) => splits.map((value) => metricText(metric, value)),
          },
        ],
        series: [
          {},
          { stroke: colour('--compare'), width: 1.75, points: { show: few, size: 8, fill: colour('--compare') } },
          {
            stroke: colour('--accent'),
            width: 2.25,
            fill: (plot) => {
              const shade = plot.ctx.createLinearGradient(0, plot.bbox.top, 0, plot.bbox.top + plot.bbox.height);
              shade.addColorStop(0, colour('--shade-top'));
              shade.addColorStop(1, colour('--shade-bottom'));
              return shade;
            },
            points: { show: few || undefined, size: 8, fill: colour('--accent') },
          },
          {
            stroke: colour('--accent'),
            width: 2.25,
            dash: DASH,
            points: { show: true, size: 8, width: 2, fill: colour('--card'), filter: () => (runs >= 0 ? [runs] : []) },
          },
        ],
        hooks: { setCursor: [(plot) => this.#point(plot)] },
      },
      [points.map((_, i) => i), before, over, running] as uPlot.AlignedData,
      this.element,
    );
    this.element.append(this.#tip);
    this.#tip.hidden = true;
  }

  #point(plot: uPlot): void {
    const { idx, left = -1 } = plot.cursor;
    const answer = this.#answer!;
    const point = typeof idx === 'number' ? answer.points[idx] : undefined;
    if (point === undefined || left < 0) {
      this.#tip.hidden = true;
      return;
    }
    const { metric, interval } = answer;
    const before = answer.previous?.[idx!];
    const change = point.value !== null && before?.value ? (point.value - before.value) / before.value : undefined;
    fill(
      this.#tip,
      h(
        'div',
        { class: 'tip-title' },
        metricTitles[metric],
        change !== undefined && metric !== 'bounce_rate' && h('span', {}, arrowed(change)),
      ),
      line(
        'now',
        point.value === null ? '–' : metricText(metric, point.value, true),
        pointText(point.at, interval),
        point.running,
      ),
      before !== undefined &&
        line(
          'before',
          before.value === null ? '–' : metricText(metric, before.value, true),
          pointText(before.at, interval),
        ),
    );
    this.#tip.hidden = false;
    const x = plot.valToPos(idx!, 'x') + plot.over.offsetLeft;
    const room = this.element.clientWidth - this.#tip.offsetWidth - 8;
    this.#tip.style.left = `${Math.max(8, Math.min(x > room - 24 ? x - this.#tip.offsetWidth - 16 : x + 16, room))}px`;
  }
}

function line(kind: string, value: string, when: string, running?: boolean): HTMLElement {
  return h(
    'div',
    { class: `tip-line ${kind}` },
    h('i'),
    h('b', {}, value),
    h('span', {}, running ? `${when}, so far` : when),
  );
}

/** The top of the scale: a little above the highest point. */
function top(max: number | null, metric: Metric): number {
  if (max === null || max <= 0) return metric === 'bounce_rate' ? 1 : 4;
  return metric === 'bounce_rate' ? Math.min(1, max * 1.12) : max * 1.12;
}
