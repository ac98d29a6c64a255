/** Administration, as the routes and the command line ask for it: plain data, named as in the API. */
import type { Actor, AuditEntry, Page } from '../../../service/database/contract.ts';
import type { Scope } from '../../model.ts';

export type { Actor, AuditEntry, Page } from '../../../service/database/contract.ts';

/** As access/api-key.ts has it; the page at /admin takes its types from here, and runs in a browser. */
export type KeyEnv = 'live' | 'test';

/** null: no limit. */
export interface RateLimits {
  readonly requests_per_minute: number | null;
  readonly requests_per_hour: number | null;
  readonly burst: number | null;
}

/** null: no limit. */
export interface QuotaLimits {
  readonly monthly_requests: number | null;
  readonly monthly_bytes: number | null;
  readonly storage_bytes: number | null;
}

export interface UserView {
  readonly id: number;
  readonly username: string;
  readonly email: string;
  readonly is_active: boolean;
  /** Times are RFC 3339, UTC. */
  readonly created_at: string;
  readonly updated_at: string;
  readonly limits: RateLimits;
  readonly quota: QuotaLimits;
  /** CIDR; empty: every network. */
  readonly networks: readonly string[];
  /** Keys that work. */
  readonly keys: number;
}

export interface KeyView {
  readonly id: string;
  readonly user_id: number;
  readonly name: string;
  readonly env: KeyEnv;
  readonly scopes: readonly Scope[];
  readonly state: 'valid' | 'expired' | 'revoked';
  readonly expires_at: string | null;
  readonly networks: readonly string[];
  readonly limits: RateLimits;
  /** Counts rotations from 1. */
  readonly version: number;
  /** Until then the secret before the last rotation is good too. */
  readonly previous_until: string | null;
  readonly created_at: string;
  readonly last_used_at: string | null;
}

/** The only time that the key and its signing key are shown. */
export interface MadeKey extends KeyView {
  readonly key: string;
  readonly signing_key: string;
}

export interface NewUser {
  readonly username: string;
  readonly email: string;
}

/** What is left out stays. */
export interface UserChange {
  readonly username?: string;
  readonly email?: string;
  readonly is_active?: boolean;
}

export interface NewKey {
  readonly name?: string;
  /** Default: live. */
  readonly env?: KeyEnv;
  /** Default: read and upload. */
  readonly scopes?: readonly Scope[];
  /** RFC 3339; left out: it does not expire. */
  readonly expires_at?: string | null;
  readonly networks?: readonly string[];
  readonly limits?: Partial<RateLimits>;
}

/** What is left out stays; `networks` and `limits` are replaced as a whole. */
export interface KeyChange {
  readonly name?: string;
  readonly scopes?: readonly Scope[];
  /** null: it does not expire. */
  readonly expires_at?: string | null;
  readonly networks?: readonly string[];
  readonly limits?: Partial<RateLimits>;
}

export interface BackendView {
  readonly id: number;
  readonly name: string;
  /** http://host:port */
  readonly url: string;
  /** 0: takes nothing. */
  readonly weight: number;
  readonly draining: boolean;
  readonly created_at: string;
}

export interface NewBackend {
  readonly url: string;
  /** Default: host and port. */
  readonly name?: string;
  /** Default: 1. */
  readonly weight?: number;
}

/** What is left out stays. */
export interface BackendChange {
  readonly name?: string;
  readonly weight?: number;
  readonly draining?: boolean;
}

/** Questions of the area `admin`: what is asked with, and what is answered. */
export interface AdminQuestions {
  addUser: { input: { actor: Actor; user: NewUser }; answer: UserView };
  listUsers: { input: { after?: number; limit: number; search?: string }; answer: Page<UserView> };
  user: { input: { id: number }; answer: UserView };
  changeUser: { input: { actor: Actor; id: number; change: UserChange }; answer: UserView };
  removeUser: { input: { actor: Actor; id: number }; answer: null };
  setLimits: { input: { actor: Actor; userId: number; limits: Partial<RateLimits> }; answer: RateLimits };
  setQuota: { input: { actor: Actor; userId: number; quota: Partial<QuotaLimits> }; answer: QuotaLimits };
  setNetworks: { input: { actor: Actor; userId: number; networks: readonly string[] }; answer: readonly string[] };
  addKey: { input: { actor: Actor; userId: number; key: NewKey }; answer: MadeKey };
  listKeys: { input: { userId: number }; answer: readonly KeyView[] };
  changeKey: { input: { actor: Actor; id: string; change: KeyChange }; answer: KeyView };
  rotateKey: { input: { actor: Actor; id: string; overlapS: number }; answer: MadeKey };
  revokeKey: { input: { actor: Actor; id: string }; answer: null };
  listBackends: { input: Record<string, never>; answer: readonly BackendView[] };
  addBackend: { input: { actor: Actor; backend: NewBackend }; answer: BackendView };
  changeBackend: { input: { actor: Actor; id: number; change: BackendChange }; answer: BackendView };
  removeBackend: { input: { actor: Actor; id: number }; answer: null };
  audit: { input: { before?: number; limit: number }; answer: Page<AuditEntry> };
}
