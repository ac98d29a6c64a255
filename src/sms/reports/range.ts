/**
 * Range: the time that a report is about, in UTC. `from` is inside, `to` is not. Both are instants with their offset;
 * reports round them to whole minutes or days, outwards, and say what they have used.
 */
import { serviceErrors } from '../../service/errors.ts';

export interface Range {
  /** Ms since 1970. */
  readonly from: number;
  readonly to: number;
}

export type Parameter = (name: string) => string | undefined;

export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;
const FOUND_MAX = 80;
/** 2026-11-29T10:00:00.000+03:30, or a day for its begin in UTC. */
const INSTANT = /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2}))?$/i;

export const wrong = (name: string, must: string, found: string | undefined): Error =>
  serviceErrors.INPUT_REFUSED({
    reason: `${name} must ${must}: found=${found === undefined ? 'nothing' : JSON.stringify(found.slice(0, FOUND_MAX))}`,
  });

/** The parameters of a query. Of a name that comes twice neither is taken: one of them is not what was meant. */
export function parametersOf(query: string, known: readonly string[]): Parameter {
  const search = new URLSearchParams(query);
  for (const name of search.keys()) {
    if (!known.includes(name))
      throw serviceErrors.INPUT_REFUSED({
        reason: `a parameter must be one of ${known.join(', ')}: found=${JSON.stringify(name.slice(0, FOUND_MAX))}`,
      });
    if (search.getAll(name).length > 1) throw serviceErrors.INPUT_REFUSED({ reason: `${name} must be given once` });
  }
  return (name) => search.get(name) ?? undefined;
}

/** Ms since 1970. */
function instantFrom(parameter: Parameter, name: string): number {
  const found = parameter(name);
  const parts = found === undefined ? null : INSTANT.exec(found);
  const at = parts === null ? Number.NaN : Date.parse(parts[4] === undefined ? `${found}T00:00:00Z` : found!);
  // Date.parse takes the 30th of February for the 2nd of March.
  const day =
    parts === null ? 0 : new Date(Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]))).getUTCDate();
  if (!Number.isFinite(at) || day !== Number(parts![3]))
    throw wrong(name, 'be a time with its offset such as 2027-01-31T08:00:00Z, or a day such as 2027-01-31', found);
  if (at < 0) throw wrong(name, 'be a time since 1970', found);
  return at;
}

export function rangeFrom(parameter: Parameter): Range {
  const range = { from: instantFrom(parameter, 'from'), to: instantFrom(parameter, 'to') };
  if (range.to <= range.from) throw wrong('to', 'be later than from', parameter('to'));
  return range;
}

/** The range in whole steps. */
export function roundedOut({ from, to }: Range, stepMs: number): Range {
  return { from: Math.floor(from / stepMs) * stepMs, to: Math.ceil(to / stepMs) * stepMs };
}

/** Throws unless the range has at most so many steps. */
export function atMost(range: Range, stepMs: number, steps: number, what: string): Range {
  const found = (range.to - range.from) / stepMs;
  if (found > steps)
    throw serviceErrors.INPUT_REFUSED({ reason: `from and to must be at most ${steps} ${what} apart: found=${found}` });
  return range;
}

export const isoOf = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');

/** Undefined: it is not there. */
export function customerFrom(parameter: Parameter): string | undefined {
  const found = parameter('customer_id');
  if (found !== undefined && (found === '' || found.length > 64))
    throw wrong('customer_id', 'be the id of a customer', found);
  return found;
}

export function wordFrom<W extends string>(parameter: Parameter, name: string, words: readonly W[]): W {
  const found = parameter(name);
  const word = words.find((one) => one === found);
  if (word === undefined) throw wrong(name, `be one of ${words.join(', ')}`, found);
  return word;
}

export function countFrom(parameter: Parameter, name: string, max: number, otherwise: number): number {
  const found = parameter(name);
  const count = found === undefined ? otherwise : /^\d{1,9}$/.test(found) ? Number(found) : 0;
  if (count < 1 || count > max) throw wrong(name, `be a whole number from 1 to ${max}`, found);
  return count;
}
