/**
 * Exact JSON: a body whose numbers are whole and stand in it as digits. JSON.parse would round 9007199254740993 and
 * 1.0000000000000001 without a word, and money would be another amount than the one that was written.
 */
import { httpErrors } from '../http/errors.ts';
import { serviceErrors } from '../service/errors.ts';

const FOUND_MAX = 80;

/** What the reviver of JSON.parse is told of a number (ECMAScript, JSON.parse source text access). */
type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;

const exact: Reviver = (key, value, context) => {
  if (typeof value !== 'number') return value;
  const source = context?.source ?? String(value);
  if (/^-?\d+$/.test(source) && Number.isSafeInteger(value)) return value;
  const found = source.length <= FOUND_MAX ? source : `${source.slice(0, FOUND_MAX)}...`;
  const name = key.length <= FOUND_MAX ? key : `${key.slice(0, FOUND_MAX)}...`;
  throw serviceErrors.INPUT_REFUSED({
    reason: `${name || 'a number'} must be a whole number in digits, at most ${Number.MAX_SAFE_INTEGER}: found=${found}`,
  });
};

/** Parses a body. Throws BAD_REQUEST when it is no JSON text, INPUT_REFUSED for a number that is not exact. */
export function parseExact(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString(), exact as (key: string, value: unknown) => unknown);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw httpErrors.BAD_REQUEST({ reason: `body must be valid JSON: ${error.message}` }, error);
  }
}
