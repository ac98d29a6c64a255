/**
 * Config set: the options of one room, declared once, and their names. `ringBytes` is RING_BYTES in the environment and
 * in an env file, --ring-bytes or --RING_BYTES on the command line, engine.ring_bytes in a YAML file.
 */
import type { Option } from './kinds.ts';

export type Options = Readonly<Record<string, Option<unknown>>>;

type ValuesOf<O> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

/** The values of all rooms, by room, for checks across rooms. A room with a refused value is absent. */
export type AllValues = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;

/** What an operator calls an option, by its environment name: the name that was used, else the service's. */
export type Naming = (name: string) => string;

interface Extra<O> {
  /** What must hold between options: one line per problem, saying what must hold and what was found. */
  readonly check?: (values: ValuesOf<O>, all: AllValues, named: Naming) => readonly string[];
  /** Prefixes that this room's names share with other software (`OTEL_`): unknown variables with them are ignored. */
  readonly sharedPrefixes?: readonly string[];
  /**
   * How most names of this room begin. YAML paths leave the prefix out, because the section already says it. Default:
   * `ROOM_`.
   */
  readonly prefix?: string;
}

export interface ConfigSet<R extends string = string, O extends Options = Options> {
  readonly room: R;
  readonly options: O;
  check(values: ValuesOf<O>, all: AllValues, named: Naming): readonly string[];
  readonly sharedPrefixes: readonly string[];
  readonly prefix: string;
  /** Values of options that a service has left out (withoutOptions). */
  readonly fixed?: Readonly<Record<string, unknown>>;
}

/** The values of a set: a plain object that may go to a worker thread. */
export type ConfigOf<S> = S extends ConfigSet<string, infer O> ? ValuesOf<O> : never;

const ENV_NAME = /^[A-Z][A-Z0-9_]*$/;
const YAML_PATH = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*$/;

/** Declares the options of a room. Throws a TypeError when a declaration breaks its own rules. */
export function defineConfig<const R extends string, O extends Options>(
  room: R,
  options: O,
  extra: Extra<O> = {},
): ConfigSet<R, O> {
  const prefix = extra.prefix ?? `${upperSnake(room)}_`;
  for (const [key, option] of Object.entries(options)) {
    if (!/^[a-z][A-Za-z0-9]*$/.test(key)) throw new TypeError(`${room}.${key}: a key is camelCase`);
    for (const name of namesOf(key, option)) {
      if (!ENV_NAME.test(name)) throw new TypeError(`${room}.${key}: ${name} is not UPPER_SNAKE`);
      if (fileFlags.has(name)) throw new TypeError(`${room}.${key}: ${flagName(name)} names a file of options`);
    }
    const yaml = yamlPath({ room, prefix }, key, option);
    if (!YAML_PATH.test(yaml)) {
      throw new TypeError(`${room}.${key}: ${yaml} is not a path of lower_snake words with dots between`);
    }
    try {
      option.declare(key, [envName(key, option), unitName(yaml)]);
    } catch (error) {
      if (error instanceof TypeError) throw error;
      throw new TypeError(`${room}.${key}: the default must be ${option.must}`);
    }
  }
  return { room, options, check: extra.check ?? (() => []), sharedPrefixes: extra.sharedPrefixes ?? [], prefix };
}

/**
 * The sets with other defaults, given as texts by environment name, so that each service can listen on a port of its
 * own. An empty text is an empty list, or no default. Throws a TypeError for a name that no set has and for a text that
 * the option refuses.
 */
export function withDefaults(
  sets: readonly ConfigSet[],
  defaults: Readonly<Record<string, string>>,
): readonly ConfigSet[] {
  const left = new Set(Object.keys(defaults));
  const changed = sets.map((set) => {
    const options = Object.entries(set.options).map(([key, option]) => {
      const name = envName(key, option);
      if (!left.delete(name)) return [key, option] as const;
      const text = defaults[name]!;
      if (text === '') return [key, { ...option, default: Array.isArray(option.default) ? [] : undefined }] as const;
      try {
        return [key, { ...option, default: option.parse(text, name) }] as const;
      } catch {
        throw new TypeError(`the default of ${name} must be ${option.must}: found=${text}`);
      }
    });
    return { ...set, options: Object.fromEntries(options) };
  });
  if (left.size > 0)
    throw new TypeError(`defaults must be of options that the service has: found=${[...left].join(', ')}`);
  return changed;
}

/**
 * The sets without options that mean nothing to a service, by environment name: nobody can set them, and they have
 * their defaults. Throws a TypeError for a name that no set has.
 */
export function withoutOptions(sets: readonly ConfigSet[], names: readonly string[]): readonly ConfigSet[] {
  const left = new Set(names);
  const changed = sets.map((set) => {
    const [out, kept] = [[], []] as [[string, Option<unknown>][], [string, Option<unknown>][]];
    for (const entry of Object.entries(set.options)) (left.delete(envName(...entry)) ? out : kept).push(entry);
    if (out.length === 0) return set;
    const fixed = Object.fromEntries(out.map(([key, option]) => [key, option.default]));
    return { ...set, options: Object.fromEntries(kept), fixed };
  });
  if (left.size > 0)
    throw new TypeError(`only options that the service has are left out: found=${[...left].join(', ')}`);
  return changed;
}

/**
 * The sets with names that a service gives to options that others have declared, in the environment and in a YAML file:
 * { DATABASE_URL: 'PG_DSN', 'database.dsn': 'PG_DSN' }. Where one source has both, the service's name wins. Throws a
 * TypeError for an option that no set has.
 */
export function withAliases(
  sets: readonly ConfigSet[],
  aliases: Readonly<Record<string, string>>,
): readonly ConfigSet[] {
  const of = Map.groupBy(Object.keys(aliases), (alias) => aliases[alias]!);
  const isPath = (alias: string) => alias.includes('.');
  const strange = Object.keys(aliases).find((alias) => !(isPath(alias) ? YAML_PATH : ENV_NAME).test(alias));
  if (strange !== undefined)
    throw new TypeError(`an alias must be UPPER_SNAKE, or the path of a YAML file with its dots: found=${strange}`);
  const changed = sets.map((set) => {
    const options = Object.entries(set.options).map(([key, option]) => {
      const name = envName(key, option);
      const given = of.get(name) ?? [];
      of.delete(name);
      const preferred = given.filter((alias) => !isPath(alias));
      return [
        key,
        given.length === 0 ? option : { ...option, preferred, yamlPreferred: given.filter(isPath) },
      ] as const;
    });
    return { ...set, options: Object.fromEntries(options) };
  });
  if (of.size > 0)
    throw new TypeError(`aliases must be of options that the service has: found=${[...of.keys()].join(', ')}`);
  return changed;
}

/** The environment name of an option. */
export function envName(key: string, option: Pick<Option<unknown>, 'env'>): string {
  return option.env ?? upperSnake(key);
}

/** ringBytes -> RING_BYTES */
function upperSnake(words: string): string {
  return words.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** The path of an option in a YAML file: httpSink's HTTP_SINK_TIMEOUT_MS is http_sink.timeout_ms. */
function yamlPath(
  set: Pick<ConfigSet, 'room' | 'prefix'>,
  key: string,
  option: Pick<Option<unknown>, 'env' | 'yaml'>,
): string {
  if (option.yaml !== undefined) return option.yaml;
  const name = envName(key, option);
  return `${upperSnake(set.room)}.${name.startsWith(set.prefix) ? name.slice(set.prefix.length) : name}`.toLowerCase();
}

/** The name that the unit of a plain number is read from: file.rotate_mb -> FILE_ROTATE_MB. */
export function unitName(name: string): string {
  return name.toUpperCase().replaceAll('.', '_');
}

/** Names of flags that give files of options, so no option may have them. */
export const fileFlags: ReadonlySet<string> = new Set(['CONFIG', 'ENV_FILE']);

/** All names of an option, its own first. */
function namesOf(key: string, option: Pick<Option<unknown>, 'env' | 'aliases' | 'preferred'>): readonly string[] {
  return [envName(key, option), ...option.preferred, ...option.aliases];
}

/** RING_BYTES -> --ring-bytes */
export function flagName(name: string): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** One option with its room, key and names, for the loader and the reference. */
export interface Declared {
  readonly room: string;
  readonly key: string;
  readonly name: string;
  readonly names: readonly string[];
  /** Its path in a YAML file. */
  readonly yaml: string;
  /** All its paths in a YAML file, those that a service gives it first. */
  readonly paths: readonly string[];
  readonly option: Option<unknown>;
}

/**
 * Every option of the sets, in their order. Throws a TypeError when two options share a name or YAML path, or when one
 * option's path leads through another's.
 */
export function declaredIn(sets: readonly ConfigSet[]): readonly Declared[] {
  const all: Declared[] = [];
  const owners = new Map<string, string>();
  for (const set of new Set(sets)) {
    for (const [key, option] of Object.entries(set.options)) {
      const names = namesOf(key, option);
      const yaml = yamlPath(set, key, option);
      const paths = [...option.yamlPreferred, yaml];
      all.push({ room: set.room, key, name: names[0]!, names, yaml, paths, option });
      for (const name of [...withFiles(names, option), ...yamlPaths({ paths, option })]) {
        const owner = owners.get(name);
        if (owner) throw new TypeError(`${name} is declared twice: ${owner} and ${set.room}.${key}`);
        owners.set(name, `${set.room}.${key}`);
      }
    }
  }
  for (const yaml of all.flatMap(({ paths }) => paths)) {
    for (let end = yaml.lastIndexOf('.'); end > 0; end = yaml.lastIndexOf('.', end - 1)) {
      if (owners.has(yaml.slice(0, end)))
        throw new TypeError(`${yaml.slice(0, end)} is an option and a section: ${yaml}`);
    }
  }
  return all;
}

/** The names, and for a secret those that name its file. */
export function withFiles(names: readonly string[], option: Pick<Option<unknown>, 'secret'>): readonly string[] {
  return option.secret ? [...names, ...names.map(fileNameOf)] : names;
}

/** The paths of an option in a YAML file, and for a secret those that name its file. */
export function yamlPaths({ paths, option }: Pick<Declared, 'paths' | 'option'>): readonly string[] {
  return option.secret ? [...paths, ...paths.map((path) => `${path}_file`)] : paths;
}

/** PG_DSN -> PG_DSN_FILE: names a file that holds a secret, as containers and systemd hand them over. */
export function fileNameOf(name: string): string {
  return `${name}_FILE`;
}
