/** Customers and keys, as the administrators' routes and the command line ask for them: plain data, named as in the API. */
import type { Actor, AuditEntry, Page } from '../../service/database/contract.ts';
import type { Lane } from '../model.ts';

export interface Price {
  /** What the number begins with, with the plus: +98912. */
  readonly prefix: string;
  readonly cost: number;
}

/** Amounts are whole numbers, in the unit of COST_PER_SMS. */
export interface CustomerView {
  readonly customer_id: string;
  readonly name: string;
  readonly active: boolean;
  /** What may be spent; what is reserved is not in it. */
  readonly balance: number;
  readonly reserved: number;
  /** Messages that wait for their turn. */
  readonly waiting: number;
  /** Messages a second that are handed over at most; null: no limit. */
  readonly rate_per_s: number | null;
  readonly lane: Lane;
  /** null: COST_PER_SMS. */
  readonly cost_per_sms: number | null;
  /** The longest prefix that fits wins. */
  readonly prices: readonly Price[];
  /** Times are RFC 3339, UTC. */
  readonly created_at: string;
  readonly updated_at: string;
}

/** The only time that the secret is shown, unless another one is made. */
export interface MadeCustomer extends CustomerView {
  /** whsec_ and 43 characters: the key of the HMAC as it stands, in ASCII. */
  readonly callback_secret: string;
}

/** What is left out stays; null: the option of the same meaning. */
export interface CustomerChange {
  readonly name?: string;
  readonly active?: boolean;
  readonly rate_per_s?: number | null;
  readonly lane?: Lane;
  readonly cost_per_sms?: number | null;
  /** Replaces all prices. */
  readonly prices?: readonly Price[];
}

export interface NewCustomer extends CustomerChange {
  readonly customer_id: string;
  /** Its first credit. */
  readonly balance?: number;
}

/** Also of a debit. */
export interface NewCredit {
  readonly amount: number;
  /** A repeat with the same key changes nothing. */
  readonly idempotency_key: string;
}

export interface CreditView {
  readonly customer_id: string;
  readonly amount: number;
  /** After this credit or debit; of a replay, what it was then. */
  readonly balance: number;
}

export interface KeyView {
  /** The public part of the key. */
  readonly id: string;
  readonly customer_id: string;
  readonly name: string;
  readonly env: 'live' | 'test';
  readonly state: 'valid' | 'expired' | 'revoked';
  readonly expires_at: string | null;
  /** Until then the secret before the rotation is good, too; null: there is none. */
  readonly previous_until: string | null;
  readonly created_at: string;
}

/** The only time that the key is shown. */
export interface MadeKey extends KeyView {
  readonly key: string;
}

export interface NewKey {
  readonly name?: string;
  /** Default: live. */
  readonly env?: 'live' | 'test';
  /** RFC 3339; left out: it does not expire. */
  readonly expires_at?: string | null;
}

/** The only time that the secret is shown. */
export interface CallbackSecret {
  readonly customer_id: string;
  /** whsec_ and 43 characters: the key of the HMAC as it stands, in ASCII. */
  readonly callback_secret: string;
}

/** Questions of administration: what is asked with, and what is answered. */
export interface AdminQuestions {
  addCustomer: { input: { actor: Actor; customer: NewCustomer }; answer: MadeCustomer };
  listCustomers: { input: { after?: string; limit: number; search?: string }; answer: Page<CustomerView, string> };
  customer: { input: { id: string }; answer: CustomerView };
  changeCustomer: { input: { actor: Actor; id: string; change: CustomerChange }; answer: CustomerView };
  credit: {
    input: { actor: Actor; id: string; credit: NewCredit };
    answer: { readonly view: CreditView; readonly replayed: boolean };
  };
  debit: {
    input: { actor: Actor; id: string; debit: NewCredit };
    answer: { readonly view: CreditView; readonly replayed: boolean };
  };
  rotateCallbackSecret: { input: { actor: Actor; id: string }; answer: CallbackSecret };
  addKey: { input: { actor: Actor; customerId: string; key: NewKey }; answer: MadeKey };
  listKeys: { input: { customerId: string }; answer: readonly KeyView[] };
  rotateKey: { input: { actor: Actor; id: string; overlapS: number }; answer: MadeKey };
  revokeKey: { input: { actor: Actor; id: string }; answer: null };
  audit: { input: { before?: number; limit: number }; answer: Page<AuditEntry> };
}
