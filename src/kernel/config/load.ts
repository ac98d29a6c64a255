/**
 * Load: makes checked values from flags, environment, env file and YAML file. The first of these sources that gives an
 * option wins; an option that none gives has its default. All problems are reported together, one line each, before
 * anything is changed.
 *
 *   empty     NAME= in the environment or a file means "not set here"; --name= is refused, because it usually comes
 *             from an empty variable in a script
 *   unknown   an unknown flag or name in a file is refused with the nearest known name. In the environment only names
 *             that begin like an option's are judged, and none that Kubernetes or Docker injects for a service called
 *             kafka: a warning, and a problem under --check-config
 *   NAME_FILE for secrets: the value is the content of that file without its last line break
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { errors } from '../errors.ts';
import { knownNames, readArguments } from './arguments.ts';
import { parseEnvFile } from './envfile.ts';
import { environment } from './environment.ts';
import { FILE_BYTES_MAX, type Given, type Source } from './given.ts';
import { formatBytes, Refused } from './kinds.ts';
import { nearest } from './nearest.ts';
import {
  type AllValues,
  type ConfigOf,
  type ConfigSet,
  type Declared,
  declaredIn,
  fileNameOf,
  type Naming,
  unitName,
  withFiles,
  yamlPaths,
} from './set.ts';
import { parseYamlFile } from './yaml-file.ts';

const FOUND_LENGTH_MAX = 100;
/** How the origin of a flag's value begins. */
const FLAG = 'flag ';

/**
 * Names that Kubernetes (and Docker's links) put into every container for a service: kafka gives KAFKA_SERVICE_HOST,
 * KAFKA_PORT_9092_TCP_ADDR ... https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

export interface LoadOptions<W extends string = string> {
  /** Default: the environment of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The words behind the command. */
  readonly argv?: readonly string[];
  /** An env file to read; --env-file on the command line wins. */
  readonly envFile?: string;
  /** A YAML file to read; --config on the command line wins. */
  readonly configFile?: string;
  /** Flags that are no options and take no value: `check-config`, `help`. */
  readonly switches?: readonly W[];
  /** Names of flags of the command's own, which take a value: `since`. */
  readonly ownFlags?: readonly string[];
  /** Sets of other commands: their names are known in files and in the environment, and their values are ignored. */
  readonly others?: readonly ConfigSet[];
  /** Values that follow from others, made before what holds between options is checked. */
  readonly derive?: ((values: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>) | undefined;
  /** Default: whether the switch `check-config` is given. Makes unknown environment variables problems. */
  readonly strict?: boolean;
  /** What is wrong with the words that belong to no flag; undefined: nothing. It is told before all other problems. */
  readonly judge?: (words: readonly string[]) => string | undefined;
}

type ValuesByRoom<S extends readonly ConfigSet[]> = { readonly [T in S[number] as T['room']]: ConfigOf<T> };

export interface Loaded<S extends readonly ConfigSet[] = readonly ConfigSet[], W extends string = string> {
  /** By room, then by key; plain data. */
  readonly values: ValuesByRoom<S>;
  /** One line each, for the log. */
  readonly warnings: readonly string[];
  /** Where each option that was set was set: 'flag --log-path', 'environment', '.env:3', 'x.yaml:3:5'. */
  readonly sources: ReadonlyMap<string, string>;
  /** What messages call an option, by its environment name. */
  readonly named: Naming;
  readonly switches: ReadonlySet<W>;
  /** Words that belong to no flag. */
  readonly words: readonly string[];
  /** Values of the command's own flags, by name. */
  readonly own: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the options of the sets. Throws errors.CONFIG, one line per problem; errors.USAGE when the command
 * line itself cannot be read.
 */
export function loadConfig<const S extends readonly ConfigSet[], const W extends string = never>(
  sets: S,
  options: LoadOptions<W> = {},
): Loaded<S, W> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const declared = declaredIn(sets);
  const known = knownNames(declared);
  const elsewhere = knownNames(declaredIn(options.others ?? []));
  const line = readArguments(options.argv ?? [], declared, options.switches ?? [], options.ownFlags ?? [], problems);
  const wrongWords = options.judge?.(line.words);
  if (wrongWords !== undefined) problems.unshift(wrongWords);
  const misread = problems.length;
  const env = options.env ?? environment();
  const strict = options.strict ?? (line.switches as ReadonlySet<string>).has('check-config');

  const file = readEnvFile(line.envFile ?? options.envFile, problems);
  const yaml = readYamlFile(line.configFile ?? options.configFile, declared, options.others ?? [], problems);
  for (const [name, given] of file) {
    if (known.has(name) || elsewhere.has(name)) continue;
    problems.push(`${given.from}: ${unknown(name, known)}`);
  }
  const prefixes = prefixesOf([...sets, ...(options.others ?? [])]);
  for (const name of Object.keys(env)) {
    if (known.has(name) || elsewhere.has(name) || !prefixes.has(prefixOf(name)) || SERVICE_LINK.test(name)) continue;
    (strict ? problems : warnings).push(`environment: ${unknown(name, known)}`);
  }
  const fromEnv = new Map<string, Given>();
  for (const [name, text] of Object.entries(env)) {
    if (text !== undefined) fromEnv.set(name, { text, name, from: 'environment' });
  }

  const values: Record<string, Record<string, unknown>> = {};
  const sources = new Map<string, string>();
  const names = new Map<string, string>();
  const named: Naming = (name) => names.get(name) ?? name;
  const broken = new Set<string>();
  for (const set of sets) values[set.room] = { ...values[set.room], ...set.fixed };
  for (const item of declared) {
    const before = problems.length;
    const given = firstGiven(item, [line.flags, fromEnv, file, yaml], problems);
    if (given) sources.set(item.name, sourceOf(item, given));
    names.set(item.name, given ? shownName(given) : (item.option.preferred[0] ?? item.name));
    values[item.room]![item.key] = given ? parse(item, given, problems) : item.option.default;
    if (problems.length > before) broken.add(item.room);
  }
  if (problems.length === 0) Object.assign(values, options.derive?.(values));
  // A refused value has its default here, so checks between options see only rooms without refused values.
  const sound = Object.fromEntries(Object.entries(values).filter(([room]) => !broken.has(room))) as AllValues;
  for (const set of new Set<ConfigSet>(sets)) {
    if (!broken.has(set.room)) problems.push(...set.check(values[set.room]!, sound, named));
  }
  // Who mistypes a flag is told of everything at once, and by the exit code that it is the command line.
  if (misread > 0) throw errors.USAGE({ reason: problems.join('\n') });
  if (problems.length > 0) throw errors.CONFIG({ problems });
  const { switches, words, own } = line;
  return { values: values as ValuesByRoom<S>, warnings, sources, named, switches, words, own };
}

function unknown(name: string, known: Iterable<string>): string {
  const meant = nearest(name, known);
  return `${name} is not an option${meant ? `: did you mean ${meant}?` : ''}`;
}

function prefixOf(name: string): string {
  return name.slice(0, name.indexOf('_') + 1);
}

/**
 * How names of options begin: KAFKA_, PG_, LOG_ ... Prefixes that a set shares with other software are left out, and
 * those of names that a service has taken from elsewhere (DATABASE_).
 */
function prefixesOf(sets: readonly ConfigSet[]): ReadonlySet<string> {
  const prefixes = new Set(
    declaredIn(sets).flatMap(({ names, option }) =>
      names.filter((name) => !option.preferred.includes(name)).map(prefixOf),
    ),
  );
  prefixes.delete('');
  for (const shared of sets.flatMap((set) => set.sharedPrefixes)) prefixes.delete(shared);
  return prefixes;
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

/** The options of a YAML file under their environment names. Options of other commands are known and left out. */
function readYamlFile(
  path: string | undefined,
  declared: readonly Declared[],
  others: readonly ConfigSet[],
  problems: string[],
): Source {
  const given = new Map<string, Given>();
  if (path === undefined) return given;
  const text = readText(path, '--config', problems);
  if (text === undefined) return given;
  const all = [...declared, ...declaredIn(others)];
  const parsed = parseYamlFile(text, path, {
    paths: new Set(all.flatMap(yamlPaths)),
    byName: new Map(all.flatMap(({ names, paths }) => names.map((name) => [name, paths[0]!] as const))),
  });
  problems.push(...parsed.problems);
  for (const item of declared) {
    for (const name of yamlPaths(item)) {
      const entry = parsed.entries.get(name);
      const known = item.paths.includes(name) ? item.name : fileNameOf(item.name);
      // The paths that a service prefers come first.
      if (entry && !given.has(known)) given.set(known, { ...entry, name });
    }
  }
  return given;
}

function readText(path: string, name: string, problems: string[]): string | undefined {
  try {
    const content = readBounded(path);
    if (content.length <= FILE_BYTES_MAX) return content.toString('utf8');
    problems.push(`${name} must name a file of at most ${formatBytes(FILE_BYTES_MAX)}: path=${path} is larger`);
  } catch (error) {
    problems.push(`${name} must name a readable file: path=${path}, found=${(error as NodeJS.ErrnoException).code}`);
  }
  return undefined;
}

/** Reads at most one byte more than the limit, so that a device or pipe without an end cannot hold up the start. */
function readBounded(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(FILE_BYTES_MAX + 1);
    let length = 0;
    for (;;) {
      const count = readSync(file, buffer, length, buffer.length - length, null);
      length += count;
      if (count === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

/**
 * The value of an option from the first source that has one. For NAME_FILE: the content of that file. Names that the
 * service prefers hide the others of their source.
 */
function firstGiven(item: Declared, from: readonly Source[], problems: string[]): Given | undefined {
  const { preferred } = item.option;
  const own = item.names.filter((name) => !preferred.includes(name));
  for (const source of from) {
    const givenBy = (names: readonly string[]) =>
      withFiles(names, item.option)
        .map((name) => ({ name, given: source.get(name) }))
        .filter((one): one is { name: string; given: Given } => one.given !== undefined && one.given.text !== '');
    const wanted = givenBy(preferred);
    const [first, ...others] = wanted.length > 0 ? wanted : givenBy(own);
    if (!first) continue;
    const { given } = first;
    const different = others.find((other) => other.given.text !== given.text);
    if (different) {
      problems.push(
        `${given.name} and ${different.given.name} must not differ: they name the same option (${given.from})`,
      );
    }
    if (item.names.includes(first.name)) return given;
    if (given.collection) {
      problems.push(`${given.name} must be a path: found=${given.collection.shape} (${given.from})`);
      return undefined;
    }
    const text = readText(given.text, given.name, problems);
    if (text === undefined) return undefined;
    const value = text.replace(/\r?\n$/, '');
    if (value === '') problems.push(`${given.name} must name a file with a value: path=${given.text} is empty`);
    return value === ''
      ? undefined
      : { text: value, name: item.name, from: `${given.from}, ${given.name}`, file: shownName(given) };
  }
  return undefined;
}

/** Where a value is from; the environment and an env file say by which name when it is not the option's own. */
function sourceOf({ option }: Declared, { name, from }: Given): string {
  return option.preferred.includes(name) && !from.startsWith(FLAG) ? `${from}, ${name}` : from;
}

/** What a message calls an option that was given so. */
function shownName({ name, from, file }: Given): string {
  return file ?? (from.startsWith(FLAG) ? from.slice(FLAG.length) : name);
}

/** Cuts a value, so that a message stays one readable line. */
function shortened(text: string): string {
  return text.length > FOUND_LENGTH_MAX ? `${text.slice(0, FOUND_LENGTH_MAX)}... (${text.length} characters)` : text;
}

function parse(item: Declared, given: Given, problems: string[]): unknown {
  const { option } = item;
  try {
    if (given.collection === undefined) return option.parse(given.text, unitName(given.name));
    if (option.parseCollection === undefined) throw new Refused();
    return option.parseCollection(given.collection);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    problems.push(refusal(item, given, error));
    return option.default;
  }
}

function refusal({ option }: Declared, given: Given, { because, path }: Refused): string {
  const flag = given.from.startsWith(FLAG);
  const name = shownName(given);
  const from = because === undefined ? given.from : (given.collection?.at(path) ?? given.from);
  const where = flag ? '' : ` (${from})`;
  // The message of a structure may quote parts of the value, so it is not shown for a secret.
  if (because !== undefined && !option.secret) return `${name} must be ${option.must}: ${because}${where}`;
  const scalarWanted = given.collection !== undefined && option.parseCollection === undefined;
  const found = scalarWanted ? given.collection?.shape : JSON.stringify(option.secret ? '***' : shortened(given.text));
  return `${name} must be ${option.must}: found=${found}${where}`;
}
