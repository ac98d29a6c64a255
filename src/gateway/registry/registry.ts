/**
 * Registry: what an acceptor knows of the database. Look-ups are synchronous; what changes in the database is known
 * here within a second, through the registry worker. While the database is away, what is known stays.
 */
import type { BackendRow, GatewayKey, GatewayUser, PurgeRule } from '../model.ts';

export interface Registry {
  /** False: nothing has been read yet, and nobody can be told from anybody (503). */
  readonly known: boolean;
  /** A key that is neither revoked nor unknown; whether it has expired is the caller's to see. */
  key(id: string): GatewayKey | undefined;
  user(id: number): GatewayUser | undefined;
  readonly backends: readonly BackendRow[];
  /** In the order in which they were made. */
  readonly purges: readonly PurgeRule[];
  /** Called after each change, with what has changed; returns what ends it. */
  onChange(listener: (change: RegistryChange) => void): () => void;
  close(): void;
}

export interface RegistryChange {
  /** Everything was read anew: what has changed meanwhile is not known, and nothing that was kept holds. */
  readonly anew: boolean;
  readonly users: readonly number[];
  readonly keys: readonly string[];
  readonly backends: boolean;
  /** Rules that are new or have changed, in their order, and ids of those that are gone; `anew`: see `purges` above. */
  readonly purges: { readonly rules: readonly PurgeRule[]; readonly gone: readonly number[] };
  /** Paths of uploads that went with their last owner: nobody is served their variants any more. */
  readonly removed: readonly string[];
  /** Uploads that were deleted by an owner: what is kept about their ownership is not true any more. */
  readonly disowned: readonly { readonly userId: number; readonly sha256: string }[];
}
