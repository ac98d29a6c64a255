/** Flags of database tools: those that several commands take, and how their values are read. Readers throw USAGE. */
import { errors } from '../../kernel/errors.ts';
import type { DatabaseTool } from './database-tool.ts';

export const usage = (reason: string): Error => errors.USAGE({ reason });

export const json = { json: { value: '', text: 'the list as JSON' } };

const LINES = 100;
const LINES_MAX = 100_000;
export const lines = { lines: { value: 'N', text: `how many, ${LINES} by default, at most ${LINES_MAX}` } };

/** The number of --lines. */
export function linesOf(tool: DatabaseTool): number {
  const text = tool.flag('lines') ?? String(LINES);
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= LINES_MAX) return count;
  throw usage(`--lines must be a number from 1 to ${LINES_MAX}: found=${text}`);
}

/** A whole number, null for `none`, undefined when the flag is not given. */
export function countOf(tool: DatabaseTool, flag: string): number | null | undefined {
  const text = tool.flag(flag);
  if (text === undefined) return undefined;
  if (text === 'none') return null;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw usage(`--${flag} must be a whole number, or none: found=${text}`);
}

/** As countOf(), but without `none`. */
export function numberOf(tool: DatabaseTool, flag: string): number | undefined {
  const value = countOf(tool, flag);
  if (value === null) throw usage(`--${flag} must be a whole number: found=none`);
  return value;
}

export function switchOf(tool: DatabaseTool, flag: string): boolean | undefined {
  const text = tool.flag(flag);
  if (text === undefined) return undefined;
  if (text === 'yes' || text === 'no') return text === 'yes';
  throw usage(`--${flag} must be yes or no: found=${text}`);
}

/** One of the `known` words. `otherwise`: when the flag is not given; left out: it must be given. */
export function choiceOf<T extends string>(tool: DatabaseTool, flag: string, known: readonly T[], otherwise?: T): T {
  const text = tool.flag(flag) ?? otherwise;
  const found = known.find((one) => one === text);
  if (found !== undefined) return found;
  throw usage(`--${flag} must be one of ${known.join(', ')}: found=${text ?? 'none'}`);
}

/** What was given: a change without the members that are undefined. */
export const given = <T extends object>(change: T): Given<T> =>
  Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as Given<T>;

export type Given<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };
