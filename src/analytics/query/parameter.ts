/** Parameters: how questions are read from the query of a request. What is wrong is said with what must hold. */
import type { HttpRequest } from 'uWebSockets.js';
import { analyticsErrors } from '../errors.ts';
import { limits } from '../event.ts';
import { isTimeZone, parseDate } from './range.ts';

/** A parameter of the query by its name, decoded; undefined: it is not there. */
export type Parameter = (name: string) => string | undefined;

/**
 * The parameters of a request, by the rules of forms (`+` is a space; of a name that comes twice the first counts).
 * Reads the query at once. The addon's own reader is not asked: it takes a broken escape for another character, or for
 * no parameter at all, and a question that is answered otherwise than it was asked helps nobody.
 */
export function parametersOf(req: Pick<HttpRequest, 'getQuery'>): Parameter {
  const found = new Map<string, string>();
  for (const pair of ((req.getQuery() as string | undefined) ?? '').split('&')) {
    const equals = pair.indexOf('=');
    const name = decoded(equals < 0 ? pair : pair.slice(0, equals));
    if (name !== undefined && !found.has(name)) found.set(name, equals < 0 ? '' : pair.slice(equals + 1));
  }
  return (name) => {
    const raw = found.get(name);
    const value = raw === undefined ? undefined : decoded(raw);
    if (raw !== undefined && value === undefined) throw wrong(name, 'be percent-encoded UTF-8', raw);
    return value;
  };
}

/** Undefined: a percent sign begins no escape, or the bytes are no UTF-8. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

/** What of a wrong value is told back. */
const SHOWN_MAX = 100;
const shorten = (text: string | undefined): string | undefined =>
  text === undefined || text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`;

export function wrong(parameter: string, must: string, found: string | undefined): Error {
  return analyticsErrors.BAD_PARAMETER({ parameter, must, found: shorten(found) });
}

export function checkSiteId(found: string | undefined): string {
  // A character takes one or two units.
  const fits =
    found !== undefined &&
    found !== '' &&
    found.length <= 2 * limits.siteId &&
    [...found].length <= limits.siteId &&
    !found.includes('\0');
  if (!fits) throw wrong('site_id', `name a site, in 1 to ${limits.siteId} characters`, found);
  return found;
}

/** Days since 1970. */
export function dayFrom(parameter: Parameter, name: string): number {
  const found = parameter(name);
  const day = found === undefined ? undefined : parseDate(found);
  if (day === undefined) throw wrong(name, 'be a date of the calendar as YYYY-MM-DD', found);
  return day;
}

/** Undefined: it is not there. */
export function timeZoneFrom(parameter: Parameter): string | undefined {
  const found = parameter('tz');
  if (found !== undefined && !isTimeZone(found))
    throw wrong('tz', 'be an IANA time zone such as Asia/Kathmandu', found);
  return found;
}

/** One of some words. */
export function wordFrom<W extends string>(parameter: Parameter, name: string, words: readonly W[], otherwise: W): W {
  const found = parameter(name) ?? otherwise;
  const word = words.find((one) => one === found);
  if (word === undefined) throw wrong(name, `be one of ${words.join(', ')}`, found);
  return word;
}

export function countFrom(parameter: Parameter, name: string, max: number, otherwise: number): number {
  const found = parameter(name);
  if (found === undefined) return otherwise;
  const count = /^\d{1,9}$/.test(found) ? Number(found) : 0;
  if (count < 1 || count > max) throw wrong(name, `be a whole number from 1 to ${max}`, found);
  return count;
}

/** Text without NUL, which Postgres keeps nowhere. */
export function textFrom(parameter: Parameter, name: string, max: number): string {
  const found = parameter(name) ?? '';
  if (found.length > max || found.includes('\0')) throw wrong(name, `be a text of at most ${max} characters`, found);
  return found;
}
