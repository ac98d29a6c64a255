/**
 * Regular expressions of questions, in the syntax of RE2 (https://github.com/google/re2/wiki/Syntax): matching takes
 * time in proportion to the text, whatever pattern somebody sends. An engine that backtracks would give every reader of
 * statistics a way to stop a thread.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
/** Longer ones are refused: the work per character grows with the pattern. */
export const REGEX_LENGTH_MAX = 500;

export type Finds = (text: string) => boolean;

/** What finds the pattern anywhere in a text. Throws an Error whose message says what is wrong with the pattern. */
export function regexOf(pattern: string, ignoreCase: boolean): Finds {
  if (pattern.length > REGEX_LENGTH_MAX)
    throw new RangeError(`a regular expression must have at most ${REGEX_LENGTH_MAX} characters`);
  // It is loaded when somebody asks: most never do.
  const { RE2JS } = require('re2js') as typeof import('re2js');
  const compiled = RE2JS.compile(pattern, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  return (text) => compiled.matcher(text).find();
}
