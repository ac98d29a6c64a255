/** Administration by routes and command lines, in the words that all services share. Plain data, also for browsers. */

/** Who does it, for the audit log. */
export interface Actor {
  /** `admin`, `cli`, `user:17`. */
  readonly name: string;
  /** Of the client; undefined: nobody came by the network. */
  readonly address?: string;
}

export interface AuditEntry {
  readonly id: number;
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly client_ip: string | null;
  readonly details: Readonly<Record<string, unknown>>;
}

/** A page; `next`: what to ask for as `after` (of the audit log `before`); null: there is no more. */
export interface Page<T, C = number> {
  readonly items: readonly T[];
  readonly next: C | null;
}
