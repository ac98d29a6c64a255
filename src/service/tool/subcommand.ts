/**
 * Subcommands: what the tools (journal, deadletter, migrate) have in common. A tool is a table of commands; its list,
 * the --help of each command and the hint for a mistyped word are made from the table.
 */
import { nearest } from '../../kernel/config.ts';
import { errors, exitCodes } from '../../kernel/errors.ts';

export interface Subcommand {
  /** What stands behind its name: '[range] --sink=NAME'. */
  readonly takes: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What it does, for its --help; lines of at most 120 columns. */
  readonly about: string;
  /** Flags of its own, and what stands behind the equals sign. */
  readonly flags?: Readonly<Record<string, Flag>>;
  /** Beside those that every tool has: 64 and 78. */
  readonly exits: Readonly<Record<number, string>>;
  readonly example: string;
}

export interface Flag {
  /** Name of the value, its unit where it has one: SECONDS. Empty: it takes none. */
  readonly value: string;
  readonly text: string;
}

export interface ToolHelp {
  /** The words before the command: `ringmain journal`. */
  readonly name: string;
  readonly about: string;
  readonly commands: Readonly<Record<string, Subcommand>>;
  /** Where options come from; left out: as for the tools that take --service. */
  readonly options?: string;
}

const commonExits: Readonly<Record<number, string>> = {
  [exitCodes.usage]: 'the command line is not understood',
  [exitCodes.config]: 'an option, a path or a permission has to be corrected first',
};

/** Where the options of a command come from. */
export const optionsOf = (service: string): string =>
  `Options are those of the service: as flags, in the environment, in a file by --env-file or --config.
\`ringmain ${service} --help\` lists them.`;

const OPTIONS = `${optionsOf('pixel')} --service=NAME names another service than pixel.`;

/** The list of commands: `ringmain journal --help`. */
export function overview({ name, about, commands, options = OPTIONS }: ToolHelp): string {
  const rows = Object.entries(commands).map(
    ([command, { takes, summary }]) => [`${name} ${command} ${takes}`.trimEnd(), summary] as const,
  );
  return [about, table(rows, ''), 'Each command has --help, with its exit codes and an example.', `${options}\n`].join(
    '\n\n',
  );
}

/** The help of one command: `ringmain journal replay --help`. */
function commandHelp({ name, commands, options = OPTIONS }: ToolHelp, command: string): string {
  const { takes, about, flags = {}, exits, example } = commands[command]!;
  const rows = Object.entries(flags).map(
    ([flag, { value, text }]) => [`--${flag}${value && '='}${value}`, text] as const,
  );
  const codes = Object.entries({ ...commonExits, ...exits }).map(([code, when]) => [code, when] as const);
  return [
    `${`${name} ${command} ${takes}`.trimEnd()} [--option=value ...]`,
    about,
    ...(rows.length > 0 ? [table(rows, '    ')] : []),
    `exit codes\n${table(codes, '    ')}`,
    `example\n    ${example}`,
    `${options}\n`,
  ].join('\n\n');
}

function table(rows: readonly (readonly [string, string])[], indent: string): string {
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  return rows.map(([left, right]) => `${indent}${left.padEnd(width)}${right}`.trimEnd()).join('\n');
}

/**
 * Where the command stands among the words; -1: there is none. Options may come first, as in `--env-file=FILE ls`: the
 * word behind a flag without an equals sign is that flag's value, unless it is one of the `known` commands.
 */
export function commandAt(words: readonly string[], known: readonly string[]): number {
  const isFlag = (word: string | undefined): boolean => word?.startsWith('-') ?? false;
  const at = isFlag(words[0]) ? words.findIndex((word) => known.includes(word)) : -1;
  if (at >= 0) return at;
  const open = (word: string | undefined): boolean => isFlag(word) && word !== '--help' && !word!.includes('=');
  return words.findIndex((word, i) => !isFlag(word) && !open(words[i - 1]));
}

/** What the words behind a tool's name ask for. */
export type Asked<C extends string> =
  | { readonly command: C; readonly rest: readonly string[] }
  /** Help was wanted, or nothing was asked for; it is printed already. */
  | { readonly ends: number };

/** Takes the command off the words; answers --help. Throws USAGE, with the nearest command, for a word that is none. */
export function askedOf<C extends string>(
  tool: ToolHelp & { readonly commands: Readonly<Record<C, Subcommand>> },
  argv: readonly string[],
): Asked<C> {
  const help = argv.includes('--help');
  const words = argv.filter((word) => word !== '--help');
  const at = commandAt(words, Object.keys(tool.commands));
  const command = words[at];
  if (command === undefined) {
    (help ? process.stdout : process.stderr).write(overview(tool));
    return { ends: help ? exitCodes.ok : exitCodes.usage };
  }
  if (!Object.hasOwn(tool.commands, command)) throw unknownCommand(tool, command);
  const rest = words.toSpliced(at, 1);
  if (!help) return { command: command as C, rest };
  process.stdout.write(commandHelp(tool, command));
  return { ends: exitCodes.ok };
}

export function unknownCommand({ name, commands }: ToolHelp, found: string): Error {
  const known = Object.keys(commands);
  const near = nearest(found, known);
  return errors.USAGE({
    reason:
      `the word after ${name} must be one of ${known.join(', ')}: found=${found}` +
      `${near === undefined ? '' : `, did you mean ${near}?`}\n${name} --help says what each does`,
  });
}
