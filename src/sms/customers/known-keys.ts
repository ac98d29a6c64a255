/**
 * Known keys: what an acceptor knows of the keys of customers. Look-ups are synchronous; what changes in the database
 * is known here within a second (worker.ts), and what this process changes is known to its worker before it is
 * answered.
 */
import type { KeptSecret } from '../../access/proven-keys.ts';
import { ChangeCopy, type Changes, type ChangesQuestion, type Versioned } from '../../service/change-copy.ts';
import type { ChangedPage } from '../../service/change-follower.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';

/** Its digest: access/api-key.ts, digestOf(), as hex. */
export interface KeySecret extends KeptSecret {
  /** Ms since 1970: when the secret before a rotation ends; left out: it ends with the key. */
  readonly untilMs?: number;
}

export interface CustomerKey {
  readonly customerId: string;
  /** The newest first; two during a rotation. */
  readonly secrets: readonly KeySecret[];
  /** Ms since 1970; null: it does not expire. */
  readonly expiresAtMs: number | null;
  /** The customer is active. */
  readonly active: boolean;
}

/** A change of a key. One that is revoked, or gone, has no value. */
export interface KeyItem extends Versioned {
  readonly id: string;
  readonly value: CustomerKey | null;
}

class KeyIndex {
  readonly keys = new Map<string, CustomerKey>();

  put({ id, value }: KeyItem): void {
    if (value === null) this.keys.delete(id);
    else this.keys.set(id, value);
  }
}

export class KnownKeys {
  readonly #copy = new ChangeCopy<KeyItem, KeyIndex>(() => new KeyIndex());

  get question(): ChangesQuestion {
    return this.#copy.question;
  }

  /** False: nothing has been read yet, and nobody can be told from anybody (503). */
  get known(): boolean {
    return this.#copy.index !== undefined;
  }

  take(changes: Changes<KeyItem>): boolean {
    return this.#copy.take(changes);
  }

  key(id: string): CustomerKey | undefined {
    return this.#copy.index?.keys.get(id);
  }
}

/** Changes of one read from the database. */
const PAGE = 5000;

interface Row {
  readonly [column: string]: unknown;
  readonly version: string;
  readonly id: string;
  readonly customer_id: string | null;
  readonly digest: string | null;
  readonly previous: string | null;
  readonly until: number | null;
  readonly expires: number | null;
  readonly active: boolean | null;
}

function keyOf({ customer_id: customerId, digest, previous, until, expires, active }: Row): CustomerKey | null {
  if (customerId === null) return null;
  const now = { digest: digest! };
  const secrets = previous === null ? [now] : [now, { digest: previous, untilMs: until! }];
  return { customerId, secrets, expiresAtMs: expires, active: active === true };
}

/** A page of what has changed after a version, in its order. */
export async function readKeys(link: PostgresLink, since: number): Promise<ChangedPage<KeyItem>> {
  const { rows } = await link.query<Row>(
    `SELECT c.version, c.key_id AS id, k.customer_id, encode(k.key_hash, 'hex') AS digest,
        encode(k.previous_hash, 'hex') AS previous,
        floor(extract(epoch FROM k.previous_until) * 1000)::float8 AS until,
        floor(extract(epoch FROM k.expires_at) * 1000)::float8 AS expires, o.active
      FROM (SELECT version, key_id FROM key_changes WHERE version > $1 ORDER BY version LIMIT ${PAGE}) c
      LEFT JOIN api_keys k ON k.id = c.key_id AND k.is_active LEFT JOIN customers o USING (customer_id)
      ORDER BY c.version`,
    [since],
  );
  const items = rows.map((row) => ({ version: Number(row.version), id: row.id, value: keyOf(row) }));
  return { items, more: rows.length === PAGE };
}
