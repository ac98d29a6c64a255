/** Given: one value as somebody wrote it, with the words that messages call it by. All sources of options speak in these. */
export interface Given {
  /** The text that stands there. For a list or a mapping of a YAML file: what messages show of it. */
  readonly text: string;
  /** The name that was used: RING_BYTES, an alias, NAME_FILE, engine.ring_bytes. */
  readonly name: string;
  /** 'flag --ring-bytes', 'environment', '.env:3', 'ringmain.yaml:3:15'. */
  readonly from: string;
  /** Set when a YAML file gives a list or a mapping. */
  readonly collection?: Collection;
}

export interface Collection {
  /** Plain data, numbers and booleans as such. */
  readonly value: unknown;
  /** The items of a list of scalars as the texts that stand there; undefined for anything else. */
  readonly items: readonly string[] | undefined;
  /** 'a list' or 'a mapping'. */
  readonly shape: string;
  /** Where a part of the value stands: 'ringmain.yaml:5:12'. */
  at(path: readonly (string | number)[]): string;
}

/** What one source gives, by environment name (RING_BYTES, PG_DSN_FILE), whatever the source itself calls it. */
export type Source = ReadonlyMap<string, Given>;

/** No file of a configuration is larger: env file, YAML file, file of a secret. */
export const FILE_BYTES_MAX = 1024 * 1024;
