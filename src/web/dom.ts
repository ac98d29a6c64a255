/**
 * Dom: makes elements. Text from data goes in as text nodes and attributes alone: nothing here parses HTML, so a script
 * in a path stays a path.
 */
export type Child = Node | string | number | false | null | undefined | readonly Child[];
type Handler = (event: never) => void;
export type Attributes = Readonly<Record<string, string | number | boolean | Handler | undefined>>;

/** h('button', { type: 'button', class: 'chip', onclick }, 'Germany') */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  put(element, attributes);
  append(element, children);
  return element;
}

function put(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
}

function append(parent: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg(tag: string, attributes: Attributes = {}, ...children: readonly Child[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  put(element, attributes);
  append(element, children);
  return element;
}

/** Outlines on a grid of 16, drawn with the colour of the text beside them. */
const shapes = {
  close: 'M4 4l8 8M12 4l-8 8',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  left: 'M10 4L6 8l4 4',
  filter: 'M2.5 4h11M4.5 8h7M6.5 12h3',
  calendar: 'M3 4.5h10v8.5H3zM3 7.5h10M5.5 2.5v3M10.5 2.5v3',
  sun: 'M8 5.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7',
  moon: 'M13 9.5A5.5 5.5 0 016.5 3 5.5 5.5 0 1013 9.5z',
  auto: 'M8 2.5a5.5 5.5 0 100 11zM8 2.5a5.5 5.5 0 010 11',
  download: 'M8 2.5v7M5 7l3 3 3-3M3 13h10',
  expand: 'M9.5 2.5h4v4M13.5 2.5l-5 5M6.5 13.5h-4v-4M2.5 13.5l5-5',
  check: 'M3.5 8.5l3 3 6-7',
  help: 'M6 6.2a2 2 0 113 1.7c-.7.4-1 .8-1 1.6M8 12v.3',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  out: 'M9.5 3h3.5v10H9.5M2.5 8h7M7 5.5L9.5 8 7 10.5',
  plus: 'M8 3v10M3 8h10',
  share: 'M8 10V2.5M5 5l3-3 3 3M4 8H3v5.5h10V8h-1',
  bin: 'M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5',
} as const;

export function icon(name: keyof typeof shapes): SVGElement {
  return svg('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: shapes[name] }));
}

/** Replaces what an element holds. */
export function fill(element: Element, ...children: readonly Child[]): void {
  element.replaceChildren();
  append(element, children);
}

/** Says something to a screen reader once; the region is made by main.ts. */
export function announce(text: string): void {
  const region = document.getElementById('announcements');
  if (region !== null && region.textContent !== text) region.textContent = text;
}
