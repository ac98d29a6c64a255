/**
 * Two plots as plain SVG: bars with their spread, and lines over a logarithmic axis. Colours are legible on white and on
 * dark; no script, no font, no dependency. Output depends on the figures only, so a diff shows what changed.
 */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly ours?: boolean;
}

export interface Line {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const ours = '#2f7ed8';
const theirs = '#8a8f98';
const palette = ['#2f7ed8', '#e08a1e', '#3a9d5d', '#c0504d', '#8064a2', '#8a8f98', '#17a2b8', '#b8860b'];
/** Between the smallest and the largest round; told from either bar and either background. */
const whisker = '#e08a1e';
const safe = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const short = (value: number): string =>
  value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3)));
const n = (value: number): string => value.toFixed(1);

function frame(width: number, height: number, title: string, body: string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" fill="${theirs}">`,
    `<title>${safe(title)}</title>`,
    `<text x="8" y="20" font-size="15" font-weight="bold">${safe(title)}</text>`,
    ...body,
    '</svg>\n',
  ].join('\n');
}

/** Horizontal bars: the median, with a whisker from the smallest to the largest round. */
export function barPlot(title: string, unit: string, bars: readonly Bar[]): string {
  const longest = Math.max(...bars.map(({ label }) => label.length));
  const [left, right, top, step] = [24 + 7 * longest, 90, 36, 26]; // 7: about a letter's width
  const width = 760;
  const scale = (width - left - right) / Math.max(...bars.map((bar) => bar.max));
  const body = bars.flatMap((bar, i) => {
    const y = top + i * step;
    const x = (value: number): string => n(left + value * scale);
    return [
      `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${safe(bar.label)}</text>`,
      `<rect x="${left}" y="${y + 2}" width="${n(bar.value * scale)}" height="16" rx="2" fill="${bar.ours ? ours : theirs}" opacity="0.85"/>`,
      `<path d="M${x(bar.min)} ${y + 10}H${x(bar.max)}M${x(bar.min)} ${y + 6}v8M${x(bar.max)} ${y + 6}v8" stroke="${whisker}" stroke-width="1.5"/>`,
      `<text x="${n(left + bar.max * scale + 6)}" y="${y + 14}">${short(bar.value)} ${safe(unit)}</text>`,
    ];
  });
  return frame(width, top + bars.length * step + 8, title, body);
}

interface Axis {
  readonly ticks: readonly number[];
  /** 0..1 along the axis. */
  at(value: number): number;
}

/** A linear axis from 0, in steps of 1, 2, 2.5 or 5 times a power of ten. */
function linearAxis(values: readonly number[]): Axis {
  const most = Math.max(...values) || 1;
  const power = 10 ** Math.floor(Math.log10(most / 4));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size * 5 >= most)!;
  const ticks = Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => i * step);
  return { ticks, at: (value) => value / ticks.at(-1)! };
}

/** A logarithmic axis from tick to tick: at 1, 2 and 5 times a power of ten; over more than two decades at the powers alone. */
function logarithmicAxis(values: readonly number[]): Axis {
  const positive = values.filter((value) => value > 0);
  const [low, high] = [Math.min(...positive), Math.max(...positive)];
  const factors = high / low > 100 ? [1] : [1, 2, 5];
  const grid = Array.from({ length: 16 }, (_, i) => factors.map((factor) => factor * 10 ** (i - 5))).flat();
  const from = grid.findLastIndex((tick) => tick <= low * 1.001);
  const to = grid.findIndex((tick) => tick >= high * 0.999);
  const ticks = grid.slice(Math.max(0, from), Math.max(from + 2, to + 1));
  const [first, last] = [Math.log10(ticks[0]!), Math.log10(ticks.at(-1)!)];
  return { ticks, at: (value) => (Math.log10(Math.max(value, ticks[0]!)) - first) / (last - first) };
}

/** Lines over logarithmic axes (or a linear one, when `linearX` says so: time, shares). */
export function linePlot(
  title: string,
  axes: { readonly x: string; readonly y: string; readonly linearX?: boolean; readonly linearY?: boolean },
  lines: readonly Line[],
): string {
  const longest = Math.max(...lines.map(({ label }) => label.length));
  const [width, height, left, right, top, bottom] = [760, 340, 64, 24 + 7 * longest, 40, 48];
  const all = lines.flatMap((line) => line.points);
  const horizontal = (axes.linearX ? linearAxis : logarithmicAxis)(all.map(([x]) => x));
  const vertical = (axes.linearY ? linearAxis : logarithmicAxis)(all.map(([, y]) => y));
  const x = (value: number): number => left + horizontal.at(value) * (width - right - left);
  const y = (value: number): number => height - bottom - vertical.at(value) * (height - bottom - top);
  const body = [
    ...vertical.ticks.map(
      (v) =>
        `<path d="M${left} ${n(y(v))}H${width - right}" stroke="#8884" /><text x="${left - 6}" y="${n(y(v) + 4)}" text-anchor="end" font-size="11">${short(v)}</text>`,
    ),
    ...horizontal.ticks.map(
      (v) => `<text x="${n(x(v))}" y="${height - bottom + 16}" text-anchor="middle" font-size="11">${short(v)}</text>`,
    ),
    `<text x="${n((left + width - right) / 2)}" y="${height - 10}" text-anchor="middle">${safe(axes.x)}</text>`,
    `<text x="16" y="${n(height / 2)}" text-anchor="middle" transform="rotate(-90 16 ${n(height / 2)})">${safe(axes.y)}</text>`,
    ...lines.flatMap((line, i) => {
      const colour = palette[i % palette.length]!;
      const path = line.points.map(([px, py], at) => `${at === 0 ? 'M' : 'L'}${n(x(px))} ${n(y(py))}`).join('');
      return [
        `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        ...(line.points.length <= 24
          ? line.points.map(([px, py]) => `<circle cx="${n(x(px))}" cy="${n(y(py))}" r="3" fill="${colour}"/>`)
          : []),
        `<text x="${width - right + 12}" y="${top + 8 + i * 18}" fill="${colour}">${safe(line.label)}</text>`,
      ];
    }),
  ];
  return frame(width, height, title, body);
}
