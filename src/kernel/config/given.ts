/** Given: one value as an operator wrote it, with the names that messages use for it. Every source yields these. */
export interface Given {
  /** The text of the value. For a list or a mapping of a YAML file: its JSON, for messages. */
  readonly text: string;
  /** The name that was used: RING_BYTES, an alias, NAME_FILE, engine.ring_bytes. */
  readonly name: string;
  /** 'flag --ring-bytes', 'environment', '.env:3', 'ringmain.yaml:3:15'. */
  readonly from: string;
  /** The name of the option that gives the file of a secret, when the value is from one. */
  readonly file?: string;
  /** Set when a YAML file gives a list or a mapping. */
  readonly collection?: Collection;
}

export interface Collection {
  /** Plain data: numbers and booleans have their types. */
  readonly value: unknown;
  /** For a list of single values: the text of each item. Undefined for anything else. */
  readonly items: readonly string[] | undefined;
  /** 'a list' or 'a mapping'. */
  readonly shape: string;
  /** Where a part of the value is: 'ringmain.yaml:5:12'. */
  at(path: readonly (string | number)[]): string;
}

/** What one source gives, by environment name (RING_BYTES, PG_DSN_FILE), whichever name the source itself uses. */
export type Source = ReadonlyMap<string, Given>;

/** Largest size of an env file, a YAML file and the file of a secret. */
export const FILE_BYTES_MAX = 1024 * 1024;
