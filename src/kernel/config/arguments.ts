/**
 * Arguments: the words behind the command, taken apart into flags, switches and words.
 *
 *   --ring-bytes=1m   --ring-bytes 1m   --RING_BYTES=1m     a flag with its value
 *   --dnt-respect     --dnt-respect off                     a bool takes the next word only when that is a bool
 *   --check-config                                          a switch: no option, no value
 *   --since=TIME                                            a flag of the command's own: a value, but no option
 *   --env-file=FILE   --config=FILE                         files of options
 *   --                                                      everything behind it is a word
 */
import type { Given, Source } from './given.ts';
import { nearest } from './nearest.ts';
import { type Declared, fileFlags, flagName, withFiles } from './set.ts';

/** All names that flags, environment and env files may use. */
export function knownNames(declared: readonly Declared[]): ReadonlySet<string> {
  return new Set(declared.flatMap(({ names, option }) => withFiles(names, option)));
}

export interface Line<W extends string> {
  readonly flags: Source;
  readonly switches: ReadonlySet<W>;
  readonly words: readonly string[];
  /** Values of the command's own flags, by name. */
  readonly own: ReadonlyMap<string, string>;
  /** By --env-file and --config. */
  readonly envFile: string | undefined;
  readonly configFile: string | undefined;
}

/** Takes the command line apart. Unknown flags and missing values are problems; the rest is read all the same. */
export function readArguments<W extends string>(
  argv: readonly string[],
  declared: readonly Declared[],
  switchNames: readonly W[],
  ownNames: readonly string[],
  problems: string[],
): Line<W> {
  const known = knownNames(declared);
  const bools = new Map(
    declared.filter(({ option }) => option.switch).flatMap((item) => item.names.map((name) => [name, item] as const)),
  );
  const flags = new Map<string, Given>();
  const switches = new Set<W>();
  const words: string[] = [];
  const files = new Map<string, string>();
  const own = new Map<string, string>();
  const rest = [...argv];
  while (rest.length > 0) {
    const word = rest.shift()!;
    if (word === '--') {
      words.push(...rest);
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      words.push(word);
      continue;
    }
    const equals = word.indexOf('=');
    const flag = equals < 0 ? word : word.slice(0, equals);
    const name = flag.replace(/^--?/, '').replaceAll('-', '_').toUpperCase();
    const switched = switchNames.find((candidate) => flag === `--${candidate}`);
    if (switched !== undefined) {
      if (equals < 0) switches.add(switched);
      else problems.push(`${flag} takes no value: found=${word.slice(equals + 1)}`);
      continue;
    }
    const ownName = ownNames.find((candidate) => flag === `--${candidate}`);
    if (ownName === undefined && (!flag.startsWith('--') || (!fileFlags.has(name) && !known.has(name)))) {
      const flagNames = [...ownNames, ...switchNames]
        .map((candidate) => `--${candidate}`)
        .concat([...known, ...fileFlags].map(flagName));
      const meant = nearest(`--${name.toLowerCase().replaceAll('_', '-')}`, flagNames);
      problems.push(`${flag} is not a flag${meant ? `: did you mean ${meant}?` : ''}`);
      // The value of an unknown flag is not a word either.
      if (equals < 0 && rest.length > 0 && !rest[0]!.startsWith('-')) rest.shift();
      continue;
    }
    let value = equals < 0 ? undefined : word.slice(equals + 1);
    if (value === undefined) {
      const item = bools.get(name);
      const next = rest[0];
      // A bool takes the next word only when that reads as a bool: `--dnt-respect off`, but also `--dnt-respect cat`.
      if (item && (next === undefined || !reads(item, next))) value = 'true';
      else if (next !== undefined && !next.startsWith('--')) value = rest.shift()!;
    }
    if (value === undefined || value === '') problems.push(`${flag} requires a value`);
    else if (ownName !== undefined) {
      if ((own.get(ownName) ?? value) !== value) problems.push(`${flag} is given more than once`);
      own.set(ownName, value);
    } else if (fileFlags.has(name)) {
      if ((files.get(name) ?? value) !== value) problems.push(`${flag} is given more than once`);
      files.set(name, value);
    } else if (flags.has(name) && flags.get(name)!.text !== value) problems.push(`${flag} is given more than once`);
    else flags.set(name, { text: value, name, from: `flag ${flag}` });
  }
  return { flags, switches, words, own, envFile: files.get('ENV_FILE'), configFile: files.get('CONFIG') };
}

function reads(item: Declared, text: string): boolean {
  try {
    item.option.parse(text, item.name);
    return true;
  } catch {
    return false;
  }
}
