/**
 * Statements: cuts a text of SQL at its semicolons. A file that runs outside a transaction needs it, because the server
 * runs several statements of one message in one transaction.
 *
 * A semicolon counts unless it stands in one of these:
 *   'text' with '' as a quote; E'text' also with \'      "name"      $tag$ text $tag$
 *   -- a comment to the end of the line                  block comments, which may be nested
 */
export interface Statement {
  readonly sql: string;
  /** Where it begins in the text. */
  readonly offset: number;
}

/** What begins something that a semicolon may stand in, or is a semicolon. A name or number before $ is no tag. */
const OPENING = /--|\/\*|;|"|(?<![\p{L}\p{N}_$])[eE]'|'|(?<![\p{L}\p{N}_$])\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/gu;

export function splitStatements(text: string): Statement[] {
  const found: Statement[] = [];
  let begin = 0;
  let blank = true;
  let at = 0;
  const end = (to: number): void => {
    if (!blank) {
      const sql = text.slice(begin, to);
      const lead = sql.length - sql.trimStart().length;
      found.push({ sql: sql.trim(), offset: begin + lead });
    }
    begin = to + 1;
    blank = true;
  };
  const opening = new RegExp(OPENING);
  for (;;) {
    opening.lastIndex = at;
    const match = opening.exec(text);
    const upTo = match?.index ?? text.length;
    if (text.slice(at, upTo).trim() !== '') blank = false;
    if (match === null) break;
    const [token] = match;
    if (token === ';') {
      end(upTo);
      at = upTo + 1;
      continue;
    }
    if (token === '--' || token === '/*') {
      at = token === '--' ? endOfLine(text, upTo) : endOfComment(text, upTo);
      if (blank) begin = at;
      continue;
    }
    blank = false;
    at = endOfQuote(text, upTo, token);
  }
  end(text.length);
  return found;
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end + 1;
}

function endOfComment(text: string, at: number): number {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = at + 2;
  let depth = 1;
  for (let match = edge.exec(text); match !== null; match = edge.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return edge.lastIndex;
  }
  return text.length;
}

function endOfQuote(text: string, at: number, token: string): number {
  if (token.startsWith('$')) {
    const end = text.indexOf(token, at + token.length);
    return end < 0 ? text.length : end + token.length;
  }
  const escapes = token.length === 2;
  const quote = token.at(-1)!;
  for (let i = at + token.length; i < text.length; i += 1) {
    if (escapes && text[i] === '\\') i += 1;
    else if (text[i] === quote && text[i + 1] === quote) i += 1;
    else if (text[i] === quote) return i + 1;
  }
  return text.length;
}

/** Line of the character at `position` (counted from 1, in code points, as the server counts), and its text. */
export function lineAt(text: string, position: number): { readonly line: number; readonly text: string } {
  const before = [...text].slice(0, Math.max(0, position - 1)).join('');
  const line = before.split('\n').length;
  return { line, text: (text.split('\n')[line - 1] ?? '').trim() };
}
