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
  const [left, right, top, step] = [230, 90, 36, 26];
  const width = 760;
  const scale = (width - left - right) / Math.max(...bars.map((bar) => bar.max));
  const body = bars.flatMap((bar, i) => {
    const y = top + i * step;
    const x = (value: number): string => n(left + value * scale);
    return [
      `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${safe(bar.label)}</text>`,
      `<rect x="${left}" y="${y + 2}" width="${n(bar.value * scale)}" height="16" rx="2" fill="${bar.ours ? ours : theirs}" opacity="0.85"/>`,
      `<path d="M${x(bar.min)} ${y + 10}H${x(bar.max)}M${x(bar.min)} ${y + 6}v8M${x(bar.max)} ${y + 6}v8" stroke="#444" stroke-width="1.2"/>`,
      `<text x="${n(left + bar.max * scale + 6)}" y="${y + 14}">${short(bar.value)} ${safe(unit)}</text>`,
    ];
  });
  return frame(width, top + bars.length * step + 8, title, body);
}

/** Lines over logarithmic axes (or a linear one, when `linearX` says so: time, shares). */
export function linePlot(
  title: string,
  axes: { readonly x: string; readonly y: string; readonly linearX?: boolean; readonly linearY?: boolean },
  lines: readonly Line[],
): string {
  const [width, height, left, right, top, bottom] = [760, 340, 64, 170, 40, 48];
  const all = lines.flatMap((line) => line.points);
  const makeScale = (values: number[], from: number, to: number, linear = false): ((value: number) => number) => {
    const convert = linear ? (v: number) => v : (v: number) => Math.log10(Math.max(v, 1e-9));
    const low = linear ? Math.min(0, ...values) : convert(Math.min(...values));
    const high = convert(Math.max(...values));
    return (value) => from + ((convert(value) - low) / (high - low || 1)) * (to - from);
  };
  const xs = all.map(([x]) => x);
  const ys = all.map(([, y]) => y);
  const x = makeScale(xs, left, width - right, axes.linearX);
  const y = makeScale(ys, height - bottom, top, axes.linearY);
  const ticks = (values: number[], linear?: boolean): number[] => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (linear) return [0, 0.25, 0.5, 0.75, 1].map((share) => share * high);
    const decades = Array.from({ length: 14 }, (_, i) => 10 ** (i - 4)).filter((v) => v > low && v < high);
    return [low, ...decades, high];
  };
  const body = [
    ...ticks(ys, axes.linearY).map(
      (v) =>
        `<path d="M${left} ${n(y(v))}H${width - right}" stroke="#8884" /><text x="${left - 6}" y="${n(y(v) + 4)}" text-anchor="end" font-size="11">${short(v)}</text>`,
    ),
    ...ticks(xs, axes.linearX).map(
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
