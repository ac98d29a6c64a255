/**
 * Env file: the format of --env-file, read strictly, so that a mistake is a message and not a surprise.
 *
 *   # a comment              a whole line, or after a value behind white space
 *   NAME=value               up to the end of the line or a # behind white space; white space around name and value
 *                            is dropped
 *   export NAME=value        `export ` is allowed, so that a shell can source the same file
 *   NAME='as it stands'      only the closing quote is special
 *   NAME="a \"b\"\n"         escapes \n \r \t \\ \" \$ \`; any other is refused
 *   NAME=                    empty: the option keeps its default
 *
 * A `$` is a dollar sign: nothing is expanded. A value ends on its line. The file is UTF-8; a byte order mark and CRLF
 * are accepted. A name that appears twice is refused, because nobody can say which value was meant.
 */
export interface EnvEntry {
  readonly value: string;
  readonly line: number;
}
export interface EnvFile {
  readonly entries: ReadonlyMap<string, EnvEntry>;
  /** One line each, with the line number; empty for a well-formed file. */
  readonly problems: readonly string[];
}

const head = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$/s;
const singleQuoted = /^'([^']*)'\s*(?:\s#.*)?$/s;
const doubleQuoted = /^"((?:[^"\\]|\\.)*)"\s*(?:\s#.*)?$/s;
const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"', $: '$', '`': '`' };

/** Reads the text of an env file. Messages call the file `name`. */
export function parseEnvFile(text: string, name = '.env'): EnvFile {
  const entries = new Map<string, EnvEntry>();
  const problems: string[] = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  for (const [index, content] of lines.entries()) {
    const line = index + 1;
    if (/^\s*(?:#|$)/.test(content)) continue;
    const parsed = parseLine(content);
    if ('problem' in parsed) {
      problems.push(`${name}:${line}: ${parsed.problem}`);
      continue;
    }
    const earlier = entries.get(parsed.name);
    if (earlier) problems.push(`${name}:${line}: ${parsed.name} is given more than once: also in line ${earlier.line}`);
    else entries.set(parsed.name, { value: parsed.value, line });
  }
  return { entries, problems };
}

function parseLine(content: string): { name: string; value: string } | { problem: string } {
  if (content.includes('\0')) return { problem: 'a line must not contain a NUL character' };
  const match = head.exec(content);
  // Messages do not show the line itself, because it may hold a secret.
  if (!match) return { problem: 'a line must be NAME=value, empty, or start with #' };
  const [, name = '', rest = ''] = match;
  if (rest.startsWith("'")) {
    const quoted = singleQuoted.exec(rest);
    return quoted ? { name, value: quoted[1]! } : { problem: `${name}: a value in '...' must end on its line` };
  }
  if (rest.startsWith('"')) {
    const quoted = doubleQuoted.exec(rest);
    if (!quoted) return { problem: `${name}: a value in "..." must end on its line` };
    const known = Object.keys(escapes)
      .map((char) => `\\${char}`)
      .join(' ');
    let unknown: string | undefined;
    const value = quoted[1]!.replace(/\\(.)/gs, (pair, char: string) => {
      if (!Object.hasOwn(escapes, char)) unknown ??= pair;
      return escapes[char] ?? pair;
    });
    if (unknown) return { problem: `${name}: an escape must be one of ${known}: found ${unknown}` };
    return { name, value };
  }
  return { name, value: rest.replace(/(^|\s+)#.*$/s, '').trim() };
}

/** Writes a value so that parseEnvFile reads the same value again. */
export function formatEnvValue(value: string): string {
  if (/^[A-Za-z0-9_./:,@%+=-]*$/.test(value)) return value;
  const escaped = value
    .replace(/[\\"$`]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t');
  return `"${escaped}"`;
}
