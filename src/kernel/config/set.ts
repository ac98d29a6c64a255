/**
 * Config set: the options of one room, declared once, and the names they go by. `ringBytes` is RING_BYTES in the
 * environment and in an env file, --ring-bytes or --RING_BYTES on the command line.
 */
import type { Option } from './kinds.ts';

export type Options = Readonly<Record<string, Option<unknown>>>;

type ValuesOf<O> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

/** The values of all rooms, by room, for a check that looks beyond its own. A room with a refused value is not there. */
export type AllValues = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;

interface Extra<O> {
  /** What must hold between options: one line per problem, saying what must hold and what was found. */
  readonly check?: (values: ValuesOf<O>, all: AllValues) => readonly string[];
  /** Prefixes that this room's names share with other software (`OTEL_`): unknown variables there are not ours to judge. */
  readonly sharedPrefixes?: readonly string[];
}

export interface ConfigSet<R extends string = string, O extends Options = Options> {
  readonly room: R;
  readonly options: O;
  check(values: ValuesOf<O>, all: AllValues): readonly string[];
  readonly sharedPrefixes: readonly string[];
}

/** The values of a set: a plain object that may go to a worker thread. */
export type ConfigOf<S> = S extends ConfigSet<string, infer O> ? ValuesOf<O> : never;

/** Declares the options of a room. Throws a TypeError when a declaration breaks its own rules. */
export function defineConfig<const R extends string, O extends Options>(
  room: R,
  options: O,
  extra: Extra<O> = {},
): ConfigSet<R, O> {
  for (const [key, option] of Object.entries(options)) {
    if (!/^[a-z][A-Za-z0-9]*$/.test(key)) throw new TypeError(`${room}.${key}: a key is camelCase`);
    for (const name of namesOf(key, option)) {
      if (!/^[A-Z][A-Z0-9_]*$/.test(name)) throw new TypeError(`${room}.${key}: ${name} is not UPPER_SNAKE`);
    }
    try {
      option.declare(key, envName(key, option));
    } catch (error) {
      if (error instanceof TypeError) throw error;
      throw new TypeError(`${room}.${key}: the default must be ${option.must}`);
    }
  }
  return { room, options, check: extra.check ?? (() => []), sharedPrefixes: extra.sharedPrefixes ?? [] };
}

/** The environment name of an option. */
export function envName(key: string, option: Pick<Option<unknown>, 'env'>): string {
  return option.env ?? key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** All names of an option, its own first. */
export function namesOf(key: string, option: Pick<Option<unknown>, 'env' | 'aliases'>): readonly string[] {
  return [envName(key, option), ...option.aliases];
}

/** RING_BYTES -> --ring-bytes */
export function flagName(name: string): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** One option with its place: what the loader and the reference walk over. */
export interface Declared {
  readonly room: string;
  readonly key: string;
  readonly name: string;
  readonly names: readonly string[];
  readonly option: Option<unknown>;
}

/** Every option of the sets, in their order. Two options may not share a name: a TypeError. */
export function declaredIn(sets: readonly ConfigSet[]): readonly Declared[] {
  const all: Declared[] = [];
  const owners = new Map<string, string>();
  for (const set of new Set(sets)) {
    for (const [key, option] of Object.entries(set.options)) {
      const names = namesOf(key, option);
      all.push({ room: set.room, key, name: names[0]!, names, option });
      for (const name of option.secret ? [...names, ...names.map(fileNameOf)] : names) {
        const owner = owners.get(name);
        if (owner) throw new TypeError(`${name} is declared twice: ${owner} and ${set.room}.${key}`);
        owners.set(name, `${set.room}.${key}`);
      }
    }
  }
  return all;
}

/** PG_DSN -> PG_DSN_FILE: names a file that holds a secret, as containers and systemd hand them over. */
export function fileNameOf(name: string): string {
  return `${name}_FILE`;
}
