/** Page URL: what the `url` of an event says where the event itself does not. Texts as they stand there, not mended. */
import type { utmKeys } from './event.ts';

/** The path of a URL; "/" for a host alone, '' for what is no page. */
export function pathOf(url: string): string {
  const start = /^(?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#\\]*/i.exec(url)?.[0].length ?? 0;
  if (start === 0 && !url.startsWith('/')) return '';
  const rest = url.slice(start);
  const end = rest.search(/[?#]/);
  return (end < 0 ? rest : rest.slice(0, end)) || '/';
}

/** Values of utm_* in the query of a URL; undefined: it has none. */
export function campaignOf(url: string): Campaign | undefined {
  return url.includes('utm_') ? new URLSearchParams(queryOf(url)) : undefined;
}

export interface Campaign {
  get(key: (typeof utmKeys)[number]): string | null;
}

function queryOf(url: string): string {
  const hash = url.indexOf('#');
  const whole = hash < 0 ? url : url.slice(0, hash);
  const question = whole.indexOf('?');
  return question < 0 ? '' : whole.slice(question + 1);
}
