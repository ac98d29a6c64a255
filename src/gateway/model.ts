/** Model: what the gateway knows of users, keys and backends. All of it is plain data, so that it crosses threads. */

/** What a key may do. read: pictures and lists; upload: uploads, deletes, signed URLs; admin: what /api/v1/users does. */
export const scopes = ['read', 'upload', 'admin'] as const;
export type Scope = (typeof scopes)[number];

/** How often somebody may ask; what is left out is not limited by it (limits/windows.ts: a user's minute always is). */
export interface Rates {
  readonly requestsPerMinute?: number;
  readonly requestsPerHour?: number;
  /** The most at once, in each window. Left out: as many as the window takes. */
  readonly burst?: number;
}

export interface Quota {
  /** Requests in a month of UTC; undefined: no limit. */
  readonly monthlyRequests?: number;
  /** Bytes of answers' bodies in a month of UTC. */
  readonly monthlyBytes?: number;
  /** Bytes of the pictures that a user has uploaded. */
  readonly storageBytes?: number;
}

export interface GatewayUser {
  readonly id: number;
  readonly username: string;
  readonly email: string;
  readonly active: boolean;
  readonly rates: Rates;
  readonly quota: Quota;
  /** CIDR, one spelling. Empty: every network. */
  readonly networks: readonly string[];
}

/** One of the texts that a key has: the present one, and during a rotation the one before. */
export interface KeySecret {
  /** Counts rotations from 1; part of the signing key. */
  readonly version: number;
  /** access/api-key.ts: digestOf(), as hex. */
  readonly digest: string;
  /** Ms since 1970 from which on it is refused; undefined: as long as the key lives. */
  readonly untilMs?: number;
}

export interface GatewayKey {
  /** The public id in the key's text (access/api-key.ts). */
  readonly id: string;
  readonly userId: number;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly secrets: readonly KeySecret[];
  /** Ms since 1970. */
  readonly expiresAtMs?: number;
  readonly networks: readonly string[];
  readonly rates: Rates;
}

export interface BackendRow {
  readonly id: number;
  readonly name: string;
  /** http://host:port, without a path. */
  readonly url: string;
  /** 0: takes nothing. */
  readonly weight: number;
  readonly draining: boolean;
}

/** What was purged from the cache: variants of these that are older than the rule. */
export interface PurgeRule {
  readonly id: number;
  /** The source (`local:///ab/cd.jpg`) or what sources begin with. */
  readonly source: string;
  readonly prefix: boolean;
  /** Ms since 1970, by the clock of the database. */
  readonly atMs: number;
}
