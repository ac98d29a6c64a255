/** Backends of a configuration file: `backends: [{url, weight}]`. They fill an empty table; then the table counts. */
import { Refused } from '../../kernel/config.ts';

/** Each backend has a place in the memory that acceptors share. */
export const BACKENDS_MAX = 100;
export const WEIGHT_MAX = 1000;
const URL_LENGTH_MAX = 255;

export interface GivenBackend {
  /** http://host:port, without a path. */
  readonly url: string;
  readonly weight: number;
}

/** A backend's URL in its one spelling; undefined for one that is more than scheme, host and port. */
export function backendUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && url.pathname === '/' && url.search + url.hash + url.username + url.password === '';
  const fits = bare && ['http:', 'https:'].includes(url.protocol) && url.origin.length <= URL_LENGTH_MAX;
  return fits ? url.origin : undefined;
}

export const isWeight = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= WEIGHT_MAX;

/** Reads the option BACKENDS. Throws Refused with the part that breaks a rule. */
export function parseBackends(value: unknown): readonly GivenBackend[] {
  if (!Array.isArray(value)) throw new Refused('not a list');
  if (value.length > BACKENDS_MAX) throw new Refused(`at most ${BACKENDS_MAX} backends`);
  const seen = new Set<string>();
  return value.map((item: unknown, index) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new Refused('not a mapping of url and weight', [index]);
    const { url: text, weight = 1, ...rest } = item as Record<string, unknown>;
    const strange = Object.keys(rest)[0];
    if (strange !== undefined) throw new Refused(`${strange} is neither url nor weight`, [index, strange]);
    const url = typeof text === 'string' ? backendUrl(text) : undefined;
    if (url === undefined)
      throw new Refused(`url must be http://host:port, without a path: found=${JSON.stringify(text)}`, [index, 'url']);
    if (seen.has(url)) throw new Refused(`each url must be there once: found=${url}`, [index, 'url']);
    seen.add(url);
    if (!isWeight(weight))
      throw new Refused(`weight must be a whole number from 0 to ${WEIGHT_MAX}: found=${JSON.stringify(weight)}`, [
        index,
        'weight',
      ]);
    return { url, weight };
  });
}
