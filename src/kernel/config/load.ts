/**
 * Load: from flags, environment and env file to checked values. Flags beat the environment, that beats the env file, that
 * beats the default. Every problem is found and told in one go, a line each, and nothing is touched before all is well.
 *
 *   given     a text under one of our names, with where it was given
 *   empty     NAME= in the environment or an env file means "not set here"; --name= is refused (a variable that was empty)
 *   unknown   refused with the nearest name as a flag and in an env file; in the environment only warned about when it
 *             begins like one of our names (Kubernetes injects KAFKA_PORT), refused there under --check-config
 *   NAME_FILE for secrets: the value is that file's content without its last line break
 */
import { readFileSync } from 'node:fs';
import { errors } from '../errors.ts';
import { parseEnvFile } from './envfile.ts';
import { environment } from './environment.ts';
import { Refused } from './kinds.ts';
import { nearest } from './nearest.ts';
import {
  type AllValues,
  type ConfigOf,
  type ConfigSet,
  type Declared,
  declaredIn,
  fileNameOf,
  flagName,
} from './set.ts';

const FOUND_LENGTH_MAX = 100;

export interface LoadOptions<W extends string = string> {
  /** Default: the environment of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The words behind the command. */
  readonly argv?: readonly string[];
  /** An env file to read; --env-file on the command line wins. */
  readonly envFile?: string;
  /** Flags that are no options and take no value: `check-config`, `help`. */
  readonly switches?: readonly W[];
  /** Sets of other commands: their names are known in environment and env file, and not used. */
  readonly others?: readonly ConfigSet[];
  /** Default: whether the switch `check-config` is given. Makes unknown environment variables problems. */
  readonly strict?: boolean;
}

type ValuesByRoom<S extends readonly ConfigSet[]> = { readonly [T in S[number] as T['room']]: ConfigOf<T> };

export interface Loaded<S extends readonly ConfigSet[] = readonly ConfigSet[], W extends string = string> {
  /** By room, then by key; plain data. */
  readonly values: ValuesByRoom<S>;
  /** One line each, for the log. */
  readonly warnings: readonly string[];
  /** Where each option that is not at its default was given: 'flag --log-path', 'environment', '.env:3'. */
  readonly sources: ReadonlyMap<string, string>;
  readonly switches: ReadonlySet<W>;
  /** Words that belong to no flag. */
  readonly words: readonly string[];
}

interface Given {
  readonly text: string;
  /** The name that was used, which may be an alias or NAME_FILE. */
  readonly name: string;
  readonly from: string;
}
type Source = ReadonlyMap<string, Given>;

/** Reads and checks the options of the sets. Throws errors.CONFIG, one line per problem. */
export function loadConfig<const S extends readonly ConfigSet[], const W extends string = never>(
  sets: S,
  options: LoadOptions<W> = {},
): Loaded<S, W> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const declared = declaredIn(sets);
  const known = knownNames(declared);
  const elsewhere = knownNames(declaredIn(options.others ?? []));
  const line = readArguments(options.argv ?? [], declared, options.switches ?? [], problems);
  const env = options.env ?? environment();
  const strict = options.strict ?? (line.switches as ReadonlySet<string>).has('check-config');

  const file = readEnvFile(line.envFile ?? options.envFile, problems);
  for (const [name, given] of file) {
    if (known.has(name) || elsewhere.has(name)) continue;
    problems.push(`${given.from}: ${unknown(name, known)}`);
  }
  const prefixes = prefixesOf([...sets, ...(options.others ?? [])]);
  for (const name of Object.keys(env)) {
    if (known.has(name) || elsewhere.has(name) || !prefixes.has(prefixOf(name))) continue;
    (strict ? problems : warnings).push(`environment: ${unknown(name, known)}`);
  }
  const fromEnv = new Map<string, Given>();
  for (const [name, text] of Object.entries(env)) {
    if (text !== undefined) fromEnv.set(name, { text, name, from: 'environment' });
  }

  const values: Record<string, Record<string, unknown>> = {};
  const sources = new Map<string, string>();
  const broken = new Set<string>();
  for (const set of sets) values[set.room] ??= {};
  for (const item of declared) {
    const before = problems.length;
    const given = firstGiven(item, [line.flags, fromEnv, file], problems);
    if (given) sources.set(item.name, given.from);
    values[item.room]![item.key] = given ? parse(item, given, problems) : item.option.default;
    if (problems.length > before) broken.add(item.room);
  }
  // A check between options would speak of values that nobody gave, so rooms with a refused value are left out.
  const sound = Object.fromEntries(Object.entries(values).filter(([room]) => !broken.has(room))) as AllValues;
  for (const set of new Set<ConfigSet>(sets)) {
    if (!broken.has(set.room)) problems.push(...set.check(values[set.room]!, sound));
  }
  if (problems.length > 0) throw errors.CONFIG({ problems });
  return { values: values as ValuesByRoom<S>, warnings, sources, switches: line.switches, words: line.words };
}

function knownNames(declared: readonly Declared[]): ReadonlySet<string> {
  return new Set(
    declared.flatMap(({ names, option }) => (option.secret ? [...names, ...names.map(fileNameOf)] : names)),
  );
}

function unknown(name: string, known: Iterable<string>): string {
  const meant = nearest(name, known);
  return `${name} is not an option${meant ? `: did you mean ${meant}?` : ''}`;
}

function prefixOf(name: string): string {
  return name.slice(0, name.indexOf('_') + 1);
}

/** KAFKA_, PG_, LOG_ ...: how our names begin, without what a set says it shares with other software. */
function prefixesOf(sets: readonly ConfigSet[]): ReadonlySet<string> {
  const prefixes = new Set(declaredIn(sets).flatMap(({ names }) => names.map(prefixOf)));
  prefixes.delete('');
  for (const shared of sets.flatMap((set) => set.sharedPrefixes)) prefixes.delete(shared);
  return prefixes;
}

interface Line<W extends string> {
  readonly flags: Source;
  readonly switches: ReadonlySet<W>;
  readonly words: readonly string[];
  readonly envFile: string | undefined;
}

function readArguments<W extends string>(
  argv: readonly string[],
  declared: readonly Declared[],
  switchNames: readonly W[],
  problems: string[],
): Line<W> {
  const known = knownNames(declared);
  const bools = new Map(
    declared.filter(({ option }) => option.switch).flatMap((item) => item.names.map((name) => [name, item] as const)),
  );
  const flags = new Map<string, Given>();
  const switches = new Set<W>();
  const words: string[] = [];
  let envFile: string | undefined;
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
      else problems.push(`${flag} must stand without a value: found=${word.slice(equals + 1)}`);
      continue;
    }
    if (!flag.startsWith('--') || (name !== 'ENV_FILE' && !known.has(name))) {
      const flagNames = [...known, 'ENV_FILE'].map(flagName).concat(switchNames.map((candidate) => `--${candidate}`));
      const meant = nearest(`--${name.toLowerCase().replaceAll('_', '-')}`, flagNames);
      problems.push(`${flag} is not a flag${meant ? `: did you mean ${meant}?` : ''}`);
      // Its value, if it has one, is not a word of ours either.
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
    if (value === undefined || value === '') problems.push(`${flag} must have a value: found none`);
    else if (name === 'ENV_FILE' && (envFile ?? value) !== value) problems.push(`${flag} must stand once: found twice`);
    else if (name === 'ENV_FILE') envFile = value;
    else if (flags.has(name) && flags.get(name)!.text !== value) problems.push(`${flag} must stand once: found twice`);
    else flags.set(name, { text: value, name, from: `flag ${flag}` });
  }
  return { flags, switches, words, envFile };
}

function reads(item: Declared, text: string): boolean {
  try {
    item.option.parse(text, item.name);
    return true;
  } catch {
    return false;
  }
}

function readEnvFile(path: string | undefined, problems: string[]): Source {
  const given = new Map<string, Given>();
  if (path === undefined) return given;
  const text = readText(path, '--env-file', problems);
  if (text === undefined) return given;
  const parsed = parseEnvFile(text, path);
  problems.push(...parsed.problems);
  for (const [name, { value, line }] of parsed.entries) given.set(name, { text: value, name, from: `${path}:${line}` });
  return given;
}

function readText(path: string, name: string, problems: string[]): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    problems.push(
      `${name} must name a file that can be read: path=${path}, found=${(error as NodeJS.ErrnoException).code}`,
    );
    return undefined;
  }
}

/** The text of an option from the first source that has it, with a file's content put in for NAME_FILE. */
function firstGiven(item: Declared, from: readonly Source[], problems: string[]): Given | undefined {
  const names = item.option.secret ? [...item.names, ...item.names.map(fileNameOf)] : item.names;
  for (const source of from) {
    const givens = names.map((name) => source.get(name)).filter((given) => given !== undefined && given.text !== '');
    const [first, ...others] = givens as Given[];
    if (!first) continue;
    const different = others.find((other) => other.text !== first.text);
    if (different) {
      problems.push(
        `${first.name} and ${different.name} must not differ: they are names of one option (${first.from})`,
      );
    }
    if (item.names.includes(first.name)) return first;
    const text = readText(first.text, first.name, problems);
    if (text === undefined) return undefined;
    const value = text.replace(/\r?\n$/, '');
    if (value === '') problems.push(`${first.name} must name a file that holds a value: path=${first.text} is empty`);
    return value === '' ? undefined : { text: value, name: item.name, from: `${first.from}, ${first.name}` };
  }
  return undefined;
}

/** A message stays one readable line, whatever was given. */
function shortened(text: string): string {
  return text.length > FOUND_LENGTH_MAX ? `${text.slice(0, FOUND_LENGTH_MAX)}... (${text.length} characters)` : text;
}

function parse(item: Declared, given: Given, problems: string[]): unknown {
  try {
    return item.option.parse(given.text, given.name);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const found = item.option.secret ? '***' : shortened(given.text);
    const where = given.from.startsWith('flag') ? '' : ` (${given.from})`;
    const name = given.from.startsWith('flag') ? given.from.slice('flag '.length) : given.name;
    problems.push(`${name} must be ${item.option.must}: found=${JSON.stringify(found)}${where}`);
    return item.option.default;
  }
}
