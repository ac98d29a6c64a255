/**
 * Chart: what became of the messages of each step, as bars of parts that stand on each other. Colour, order and the
 * legend tell the parts, and the table behind the picture says the same to whoever cannot see it.
 */
import { fill, h, svg } from '../../web/dom.ts';
import type { TimeRow } from '../reports/contract.ts';
import { clockText, compact, dayText, exact, momentText } from './format.ts';
import type { Period, Stretch } from './period.ts';

export interface Bar {
  readonly at: number;
  readonly delivered: number;
  /** The operator has them; whether the handset has is not told yet. */
  readonly sent: number;
  readonly unknown: number;
  readonly failed: number;
  /** They wait for their turn. */
  readonly waiting: number;
}

export const partNames = ['delivered', 'sent', 'waiting', 'unknown', 'failed'] as const;
export type Part = (typeof partNames)[number];
export const partTitles: Readonly<Record<Part, string>> = {
  delivered: 'Delivered',
  sent: 'At the operator',
  waiting: 'Waiting',
  unknown: 'Unknown',
  failed: 'Failed',
};

/**
 * The parts of a row. A message that failed may have been sent before: `sent` counts it as well, and so does `unknown`;
 * what is left of them has no end yet.
 */
function partsOf(rows: readonly TimeRow[]): Omit<Bar, 'at'> {
  const sum = (name: 'accepted' | 'sent' | 'delivered' | 'failed' | 'unknown') =>
    rows.reduce((all, row) => all + row[name], 0);
  const [accepted, sent, delivered, failed, unknown] = [
    sum('accepted'),
    sum('sent'),
    sum('delivered'),
    sum('failed'),
    sum('unknown'),
  ];
  const ended = delivered + failed + unknown;
  const open = Math.max(0, accepted - ended);
  const atOperator = Math.min(open, Math.max(0, sent - delivered));
  return { delivered, failed, unknown, sent: atOperator, waiting: open - atOperator };
}

/** A bar per step, also where nothing was. */
export function barsOf(rows: readonly TimeRow[], { stepMs, steps }: Period, { from }: Stretch): readonly Bar[] {
  const byStep = new Map<number, TimeRow[]>();
  for (const row of rows) {
    const step = Math.floor((Date.parse(row.time) - from) / stepMs);
    byStep.set(step, [...(byStep.get(step) ?? []), row]);
  }
  return Array.from({ length: steps }, (_, i) => ({ at: from + i * stepMs, ...partsOf(byStep.get(i) ?? []) }));
}

export const totalOf = (bar: Omit<Bar, 'at'>): number => partNames.reduce((sum, part) => sum + bar[part], 0);

/** The next value that four lines divide into round numbers. */
function ceiling(value: number): number {
  if (value <= 20) return Math.max(4, Math.ceil(value / 4) * 4);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value)!;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Distances of labels, ms: those that a clock has. */
const distances = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((minutes) => minutes * MINUTE);

/** Which bars have a label: whole minutes and hours of the clock on the wall, or every so many days. */
function labelled(bars: readonly Bar[], { stepMs }: Period, atMost: number): readonly boolean[] {
  const least = (bars.length * stepMs) / atMost;
  if (stepMs >= DAY) return bars.map((_, i) => i % Math.ceil(least / stepMs) === 0);
  const distance = distances.find((one) => one >= least && one >= stepMs) ?? DAY;
  return bars.map(({ at }) => (at - new Date(at).getTimezoneOffset() * MINUTE) % distance === 0);
}

const HEIGHT = 240;
const TOP = 12;
const BOTTOM = 26;
const LEFT = 44;
const LINES = 4;
const LABEL_WIDTH = 68;

export class Chart {
  readonly element = h('div', { class: 'chart' });
  readonly #tip = h('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
  #bars: readonly Bar[] = [];
  #period: Period | undefined;
  #width = 0;
  readonly #seen: ResizeObserver;

  constructor() {
    this.#seen = new ResizeObserver(() => {
      if (this.element.clientWidth === this.#width) return;
      this.#redraw();
    });
    this.#seen.observe(this.element);
  }

  draw(bars: readonly Bar[], period: Period): void {
    this.#bars = bars;
    this.#period = period;
    this.#redraw();
  }

  stop(): void {
    this.#seen.disconnect();
  }

  #redraw(): void {
    const period = this.#period;
    this.#width = this.element.clientWidth;
    if (period === undefined || this.#width === 0) return;
    const top = ceiling(Math.max(...this.#bars.map(totalOf)));
    const plot = this.#width - LEFT;
    const step = plot / this.#bars.length;
    const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const label = period.report === 'day' ? dayText : clockText;
    const labels = labelled(this.#bars, period, Math.max(1, Math.floor(plot / LABEL_WIDTH)));
    const picture = svg(
      'svg',
      {
        viewBox: `0 0 ${this.#width} ${HEIGHT}`,
        width: this.#width,
        height: HEIGHT,
        role: 'img',
        'aria-label': this.#words(),
      },
      Array.from({ length: LINES + 1 }, (_, i) => {
        const value = (top / LINES) * i;
        return [
          svg('line', { class: 'grid', x1: LEFT, x2: this.#width, y1: y(value), y2: y(value) }),
          svg('text', { class: 'axis', x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, compact(value)),
        ];
      }),
      this.#bars.map((bar, i) => this.#bar(bar, LEFT + i * step, step, y)),
      this.#bars.map(({ at }, i) =>
        labels[i] === true && i * step < plot - LABEL_WIDTH / 2
          ? svg('text', { class: 'axis', x: LEFT + i * step, y: HEIGHT - 6 }, label(at))
          : undefined,
      ),
    );
    fill(this.element, picture, this.#tip);
  }

  #bar(bar: Bar, x: number, step: number, y: (value: number) => number): SVGElement {
    const gap = Math.min(3, step * 0.25);
    let sum = 0;
    const parts = partNames.map((part) => {
      const value = bar[part];
      if (value === 0) return undefined;
      const [above, below] = [y(sum + value), y(sum)];
      sum += value;
      return svg('rect', { class: `part ${part}`, x: x + gap / 2, width: step - gap, y: above, height: below - above });
    });
    const show = () => this.#show(bar, x + step / 2);
    const hide = () => {
      this.#tip.hidden = true;
    };
    return svg(
      'g',
      { class: 'bar', onpointerenter: show, onpointerleave: hide },
      svg('rect', { class: 'reach', x, width: step, y: TOP, height: HEIGHT - TOP - BOTTOM }),
      parts,
    );
  }

  #show(bar: Bar, x: number): void {
    const when = this.#period?.report === 'day' ? dayText(bar.at) : momentText(bar.at);
    fill(
      this.#tip,
      h('strong', {}, when),
      partNames
        .filter((part) => bar[part] > 0)
        .map((part) => h('span', { class: `tip-row ${part}` }, partTitles[part], h('b', {}, exact(bar[part])))),
      totalOf(bar) === 0 ? h('span', { class: 'quiet' }, 'No messages') : undefined,
    );
    this.#tip.hidden = false;
    const half = this.#tip.offsetWidth / 2;
    this.#tip.style.left = `${Math.min(Math.max(x, half), this.#width - half)}px`;
  }

  #words(): string {
    const totals = partNames.map((part) => {
      const count = this.#bars.reduce((sum, bar) => sum + bar[part], 0);
      return `${partTitles[part]} ${exact(count)}`;
    });
    return `Messages over ${this.#period?.label}: ${totals.join(', ')}`;
  }
}
