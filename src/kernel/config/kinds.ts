/**
 * Kinds: what an option may be. A kind parses a text, states its limits and formats a value, so one declaration serves
 * the parser, --check-config, --print-config, --help, deploy/CONFIGURATION.md and the example env file.
 *
 *   kind      accepted texts                             value
 *   text      anything that is not empty                 string
 *   secret    the same; masked in all output             string
 *   path      the same, without NUL                      string
 *   oneOf     one of a closed list, in any case          the listed spelling
 *   list      comma-separated items                      array of strings
 *   integer   -12, 12                                    whole number
 *   number    0.25, -3, 1e-3                             number
 *   bool      true false 1 0 on off yes no               boolean
 *   bytes     65536, 64k, 64KiB, 16 MB                   bytes; k, m, g, t are powers of 1024 in every spelling
 *   duration  500ms, 5s, 10m, 2h, 7d                     ms
 *   structure JSON; in a YAML file lists and mappings    what the declaration's own function returns
 *
 * A plain number for bytes or a duration is in the unit that ends the option's name (`LOG_ROTATE_MB=100`,
 * `SYNC_INTERVAL_MS=10`); the value is in bytes or ms in any case. An option without a default is undefined when nobody
 * sets it.
 */

import { type Collection, FILE_BYTES_MAX } from './given.ts';

/** The part that all declarations share. */
export interface Common<D> {
  /** Value when nobody sets the option. Left out: undefined, and `unset` says what that means. */
  readonly default?: D;
  /** One or more sentences for the reference. If the default is a choice, they give the reason. */
  readonly doc: string;
  /** Environment name, when it is not the key in upper snake case. */
  readonly env?: string;
  /** Other environment names for the same option. */
  readonly aliases?: readonly string[];
  /** Path in a YAML file, when it is not made of section and name: `log.level`, or one word at the top: `backends`. */
  readonly yaml?: string;
  /** Masked in --print-config and messages; NAME_FILE may name a file that holds the value. */
  readonly secret?: boolean;
  /** For the reference: what happens when an option without a default is not set. */
  readonly unset?: string;
}

export interface Option<T> extends Common<T> {
  readonly default: T;
  readonly aliases: readonly string[];
  /** Names that a service gives the option (withAliases): within a source they win over the others. */
  readonly preferred: readonly string[];
  /** Paths in a YAML file that a service gives the option, likewise. */
  readonly yamlPreferred: readonly string[];
  readonly secret: boolean;
  readonly kind: string;
  /** Completes the sentence "NAME must be ...". */
  readonly must: string;
  /** True when `--flag` alone means true. */
  readonly switch: boolean;
  /** Reads a text that is not empty; throws Refused for a text that breaks `must`. `name` is the environment name. */
  parse(text: string, name: string): NonNullable<T>;
  /** Reads a list or a mapping of a YAML file; throws Refused. A kind without it takes single values only. */
  readonly parseCollection: ((collection: Pick<Collection, 'value' | 'items'>) => NonNullable<T>) | undefined;
  format(value: NonNullable<T>): string;
  /** Throws a TypeError when the declaration itself is wrong. Only defineConfig knows `key` and `names`. */
  declare(key: string, names: readonly string[]): void;
}

/**
 * Thrown by `parse`: the text is not what the option must be. The loader knows name and source and makes the message.
 * A structure says more: which part of the value breaks which rule.
 */
export class Refused {
  readonly because: string | undefined;
  /** The steps to that part: ['backends', 1, 'url']. */
  readonly path: readonly (string | number)[];

  constructor(because?: string, path: readonly (string | number)[] = []) {
    this.because = because;
    this.path = path;
  }
}

interface Kind<T> {
  readonly kind: string;
  readonly must: string;
  readonly parse: (text: string, name: string) => T;
  readonly parseCollection?: (collection: Pick<Collection, 'value' | 'items'>) => T;
  readonly format?: (value: T) => string;
  readonly switch?: boolean;
  readonly declare?: (key: string, name: string) => void;
}

/** With a default the value is always there; without one it may be undefined. */
type Made<T, S> = S extends { readonly default: NonNullable<unknown> } ? Option<T> : Option<T | undefined>;

function make<T, S extends Common<T>>(kind: Kind<T>, spec: S): Made<T, S> {
  const option = {
    ...spec,
    default: spec.default,
    aliases: spec.aliases ?? [],
    preferred: [],
    yamlPreferred: [],
    secret: spec.secret ?? false,
    kind: kind.kind,
    must: kind.must,
    switch: kind.switch ?? false,
    parse: kind.parse,
    parseCollection: kind.parseCollection,
    format: kind.format ?? String,
    declare(key: string, names: readonly string[]) {
      for (const name of names) kind.declare?.(key, name);
      if (spec.default === undefined) return;
      const text = option.format(spec.default);
      // A default obeys its own limits. No text can spell the empty string or the empty list, so those are not parsed.
      if (text !== '') option.parse(text, '');
    },
  };
  return option as unknown as Made<T, S>;
}

interface TextSpec extends Common<string> {
  /** What a text must be, in words; needed with `test`. */
  readonly must?: string;
  readonly test?: (text: string) => boolean;
  readonly lengthMax?: number;
}

function textKind(kind: string, must: string, spec: TextSpec): Kind<string> {
  const lengthMax = spec.lengthMax ?? 64 * 1024;
  const limit = spec.lengthMax === undefined ? '' : `, at most ${lengthMax} characters`;
  return {
    kind,
    must: (spec.must ?? must) + limit,
    parse: (text) => {
      if (text.includes('\0') || text.length > lengthMax || spec.test?.(text) === false) throw new Refused();
      return text;
    },
  };
}

export function text<const S extends TextSpec>(spec: S): Made<string, S> {
  return make<string, S>(textKind('text', 'a string', spec), spec);
}

export function path<const S extends TextSpec>(spec: S): Made<string, S> {
  return make<string, S>(textKind('path', 'a path', spec), spec);
}

export function secret<const S extends TextSpec>(spec: S): Made<string, S> {
  return make<string, S>(textKind('secret', 'a string', spec), { ...spec, secret: true });
}

/** One of a closed list. Case does not matter when read; the value has the listed spelling. */
export function oneOf<const V extends string, const S extends Common<V>>(values: readonly V[], spec: S): Made<V, S> {
  const bySpelling = new Map(values.map((value) => [value.toLowerCase(), value]));
  const kind: Kind<V> = {
    kind: `one of ${values.join(', ')}`,
    must: `one of ${values.join(', ')}`,
    parse: (text) => {
      const value = bySpelling.get(text.toLowerCase());
      if (value === undefined) throw new Refused();
      return value;
    },
  };
  return make<V, S>(kind, spec);
}

interface ListSpec<V extends string> extends Common<readonly V[]> {
  /** The closed list that items come from. */
  readonly of?: readonly V[];
  /** What the items must be, in words and plural; needed with `test`. */
  readonly must?: string;
  readonly test?: (item: string) => boolean;
}

/** Comma-separated items. White space around an item is dropped, and so is a repeated item. */
export function list<const V extends string = string, const S extends ListSpec<V> = ListSpec<V>>(
  spec: S & ListSpec<V>,
): Made<readonly V[], S> {
  const items = spec.of ? ` (allowed: ${spec.of.join(', ')})` : ` of ${spec.must ?? 'non-empty items'}`;
  const checked = (items: readonly string[]) => {
    for (const part of items) {
      const known = spec.of === undefined || (spec.of as readonly string[]).includes(part);
      if (part === '' || !known || spec.test?.(part) === false) throw new Refused();
    }
    return [...new Set(items)] as V[];
  };
  const kind: Kind<readonly V[]> = {
    kind: 'list',
    must: `a comma-separated list${items}`,
    format: (items) => items.join(','),
    parse: (text) => checked(text.split(',').map((part) => part.trim())),
    parseCollection: ({ items }) => {
      // No text can spell an item with a comma or the empty list, so --print-config could not print them.
      if (items === undefined || items.some((part) => part.includes(','))) throw new Refused();
      if (items.length === 0 && spec.default?.length !== 0) throw new Refused('the list is empty');
      return checked(items.map((part) => part.trim()));
    },
  };
  return make<readonly V[], S>(kind, spec);
}

interface Limits {
  readonly min?: number;
  readonly max?: number;
}

function withinText(limits: Limits, format: (value: number) => string): string {
  const { min, max } = limits;
  if (min !== undefined && max !== undefined) return ` from ${format(min)} to ${format(max)}`;
  if (min !== undefined) return `, at least ${format(min)}`;
  return max === undefined ? '' : `, at most ${format(max)}`;
}

function within(value: number, limits: Limits): boolean {
  return value >= (limits.min ?? -Infinity) && value <= (limits.max ?? Infinity);
}

export function integer<const S extends Common<number> & Limits>(spec: S): Made<number, S> {
  const kind: Kind<number> = {
    kind: 'integer',
    must: `a whole number${withinText(spec, String)}`,
    parse: (text) => {
      const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(value) || !within(value, spec)) throw new Refused();
      return value;
    },
  };
  return make<number, S>(kind, spec);
}

export function number<const S extends Common<number> & Limits>(spec: S): Made<number, S> {
  const kind: Kind<number> = {
    kind: 'number',
    must: `a number${withinText(spec, String)}`,
    parse: (text) => {
      const value = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
      if (!Number.isFinite(value) || !within(value, spec)) throw new Refused();
      return value;
    },
  };
  return make<number, S>(kind, spec);
}

const boolWords: Readonly<Record<string, boolean>> = {
  true: true,
  1: true,
  on: true,
  yes: true,
  false: false,
  0: false,
  off: false,
  no: false,
};

export function bool<const S extends Common<boolean>>(spec: S): Made<boolean, S> {
  const kind: Kind<boolean> = {
    kind: 'bool',
    must: 'true or false (also 1/0, on/off, yes/no)',
    switch: true,
    parse: (text) => {
      const word = text.toLowerCase();
      if (!Object.hasOwn(boolWords, word)) throw new Refused();
      return boolWords[word]!;
    },
  };
  return make<boolean, S>(kind, spec);
}

interface StructureSpec<T> extends Common<T> {
  /** What the value must be, in words: 'a list of {url, weight}'. */
  readonly must: string;
  /**
   * Makes the value from any plain data. Throws `new Refused(because, path)` for a part that breaks a rule: `because`
   * says what must hold and what was found. The value is plain data, too, because it goes to worker threads.
   */
  readonly parse: (value: unknown) => T;
  /** What --print-config shows of it: the value without its secrets. Left out: the value. */
  readonly shown?: (value: T) => unknown;
}

/** A list or a mapping: JSON in a flag, a variable or an env file, written out in a YAML file. */
export function structure<T extends NonNullable<unknown>, const S extends StructureSpec<T> = StructureSpec<T>>(
  spec: S & StructureSpec<T>,
): Made<T, S> {
  const kind: Kind<T> = {
    kind: 'structure',
    must: spec.must,
    format: (value) => JSON.stringify(spec.shown === undefined ? value : spec.shown(value)),
    parse: (text) => {
      if (Buffer.byteLength(text) > FILE_BYTES_MAX) throw new Refused(`at most ${formatBytes(FILE_BYTES_MAX)}`);
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        throw new Refused('not valid JSON');
      }
      return spec.parse(value);
    },
    parseCollection: ({ value }) => spec.parse(value),
  };
  return make<T, S>(kind, spec);
}

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

const byteUnits: Readonly<Record<string, number>> = { b: 1, k: KiB, m: MiB, g: GiB, t: TiB };
const byteNames = /_(BYTES|KI?B|MI?B|GI?B)$/;

/** 67108864 -> '64MiB': the largest unit that divides it. */
export function formatBytes(value: number): string {
  for (const [unit, size] of [
    ['TiB', TiB],
    ['GiB', GiB],
    ['MiB', MiB],
    ['KiB', KiB],
  ] as const) {
    if (value !== 0 && value % size === 0) return `${value / size}${unit}`;
  }
  return `${value}B`;
}

interface BytesSpec extends Common<number>, Limits {
  readonly powerOfTwo?: boolean;
}

export function bytes<const S extends BytesSpec>(spec: S): Made<number, S> {
  const kind: Kind<number> = {
    kind: 'bytes',
    must: `a size${withinText(spec, formatBytes)}${spec.powerOfTwo ? ', a power of two' : ''}`,
    format: formatBytes,
    declare: (key) => {
      if (/(?:Ki?b|Mi?b|Gi?b)$/.test(key)) {
        throw new TypeError(`${key}: the value is bytes, so the key must not name another unit; give \`env\` for that`);
      }
    },
    parse: (text, name) => {
      const match = /^(\d+(?:\.\d+)?) ?(?:([kmgt])(?:i?b)?|(b))?$/i.exec(text);
      if (!match) throw new Refused();
      const nameUnit = byteNames.exec(name)?.[1]?.[0]?.toLowerCase() ?? 'b';
      const value = Number(match[1]) * byteUnits[(match[2] ?? match[3] ?? nameUnit).toLowerCase()]!;
      const powerOk = !spec.powerOfTwo || (value > 0 && Number.isInteger(Math.log2(value)));
      if (!Number.isSafeInteger(value) || !within(value, spec) || !powerOk) throw new Refused();
      return value;
    },
  };
  return make<number, S>(kind, spec);
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: SECOND, m: MINUTE, h: HOUR, d: DAY };
const durationNames: Readonly<Record<string, number>> = {
  MS: 1,
  S: SECOND,
  SEC: SECOND,
  SECONDS: SECOND,
  MINUTES: MINUTE,
  HOURS: HOUR,
  DAYS: DAY,
};

/** 600000 -> '10m': the largest unit that divides it. */
export function formatDuration(value: number): string {
  for (const [unit, size] of [
    ['d', DAY],
    ['h', HOUR],
    ['m', MINUTE],
    ['s', SECOND],
  ] as const) {
    if (value !== 0 && value % size === 0) return `${value / size}${unit}`;
  }
  return `${value}ms`;
}

interface DurationSpec extends Common<number>, Limits {
  /** True: the name has no unit, so a plain number is refused. */
  readonly unitRequired?: boolean;
}

export function duration<const S extends DurationSpec>(spec: S): Made<number, S> {
  const nameUnit = (name: string) => durationNames[name.slice(name.lastIndexOf('_') + 1)];
  const kind: Kind<number> = {
    kind: 'duration',
    must: `a duration${spec.unitRequired ? ' with its unit' : ''}${withinText(spec, formatDuration)}`,
    format: formatDuration,
    declare: (key, name) => {
      if (!key.endsWith('Ms')) throw new TypeError(`${key}: the value is ms, so the key must end with Ms`);
      if (nameUnit(name) === undefined && !spec.unitRequired) {
        throw new TypeError(`${name}: must end with the unit of a plain number (_MS, _SECONDS, ..., _DAYS)`);
      }
    },
    parse: (text, name) => {
      const match = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)?$/i.exec(text);
      if (!match || (match[2] === undefined && spec.unitRequired)) throw new Refused();
      const unit = match[2] ? durationUnits[match[2].toLowerCase()] : nameUnit(name);
      const value = Number(match[1]) * (unit ?? 1);
      if (!Number.isSafeInteger(value) || !within(value, spec)) throw new Refused();
      return value;
    },
  };
  return make<number, S>(kind, spec);
}
