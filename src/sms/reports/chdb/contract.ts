/** What the process of chdb is told at its start, and what it says. */

export interface ServerOrder {
  /** Folder that holds the package. */
  readonly library: string;
  /** Folder of the data. */
  readonly data: string;
  readonly port: number;
  /** Value of the Authorization header that every request must have. */
  readonly authorization: string;
  readonly database: string;
}

/** `owned`: another process has the folder. */
export type ServerSays = { readonly ready: true } | { readonly failed: string; readonly owned: boolean };

/** The part of chdb that is used (its index.d.ts). */
export interface ChdbResult {
  bytes(): Uint8Array;
}
export interface ChdbStream extends AsyncIterable<{ raw(): Uint8Array }> {
  cancel(): void;
}
export interface ChdbSession {
  queryAsync(sql: string, options?: { readonly format?: string }): Promise<ChdbResult>;
  queryBindAsync(sql: string, params: object, options?: { readonly format?: string }): Promise<ChdbResult>;
  queryStreamBind(sql: string, params: object, options?: { readonly format?: string }): ChdbStream;
  insert(params: {
    readonly table: string;
    readonly values: Buffer;
    readonly format: 'JSONEachRow';
    readonly settings: Readonly<Record<string, string>>;
  }): Promise<unknown>;
  close(): void;
}
export interface Chdb {
  readonly Session: new (path: string, options?: { readonly connectionArgs?: readonly string[] }) => ChdbSession;
}
