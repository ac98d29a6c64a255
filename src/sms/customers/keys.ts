/**
 * Keys of customers, and the secrets that their callbacks are signed with: made, listed, rotated, revoked. The text of
 * either is returned where it is made; of a key its digest is kept, of a secret the text, because callbacks are signed
 * with it.
 */
import { randomBytes } from 'node:crypto';
import { digestOf, makeKey } from '../../access/api-key.ts';
import { pepperIdOf } from '../../access/pepper.ts';
import { audit } from '../../service/database/audit.ts';
import type { Actor } from '../../service/database/contract.ts';
import { endKey, type KeysOf, mustBeThePepper, renewSecret } from '../../service/database/key-changes.ts';
import { expiryIn, mustBeKeyName } from '../../service/database/key-input.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { smsErrors } from '../errors.ts';
import type { CallbackSecret, KeyView, MadeKey, NewKey } from './views.ts';

/** How the keys of customers begin. */
const KEY_PREFIX = 'sms';
/** Of one customer, that are not revoked. */
const KEYS_MAX = 100;
const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });
const unknown = (id: string): Error => serviceErrors.RESOURCE_UNKNOWN({ what: 'key', id });

const VIEW = `SELECT k.id, k.customer_id, k.name, k.env,
    CASE WHEN NOT k.is_active THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired' ELSE 'valid' END AS state,
    k.expires_at, CASE WHEN k.previous_until > now() THEN k.previous_until END AS previous_until, k.created_at
  FROM api_keys k`;

interface Row extends Omit<KeyView, 'expires_at' | 'previous_until' | 'created_at'> {
  readonly [column: string]: unknown;
  readonly expires_at: Date | null;
  readonly previous_until: Date | null;
  readonly created_at: Date;
}

const viewOf = (row: Row): KeyView => ({
  ...row,
  expires_at: row.expires_at?.toISOString() ?? null,
  previous_until: row.previous_until?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
});

/** Throws RESOURCE_UNKNOWN when there is none. */
async function findKey(link: PostgresLink, id: string): Promise<KeyView> {
  const { rows } = await link.query<Row>(`${VIEW} WHERE k.id = $1`, [id]);
  if (rows[0] === undefined) throw unknown(id);
  return viewOf(rows[0]);
}

/** The keys of a customer, also those that are revoked; the newest last. Throws CUSTOMER_UNKNOWN. */
export async function listKeys(link: PostgresLink, customerId: string): Promise<readonly KeyView[]> {
  const { rows: customers } = await link.query('SELECT FROM customers WHERE customer_id = $1', [customerId]);
  if (customers.length === 0) throw smsErrors.CUSTOMER_UNKNOWN({ customer: customerId });
  const { rows } = await link.query<Row>(`${VIEW} WHERE k.customer_id = $1 ORDER BY k.created_at, k.id`, [customerId]);
  return rows.map(viewOf);
}

/** The keys of this service. */
const keys: KeysOf = { prefix: KEY_PREFIX, revoking: 'ringmain sms key revoke', renewing: '', find: findKey };

/** Makes a key. Throws CUSTOMER_UNKNOWN, and RESOURCE_TAKEN under another pepper or beyond the number of keys. */
export function addKey(
  link: PostgresLink,
  actor: Actor,
  pepper: string,
  customerId: string,
  { name = '', env = 'live', expires_at }: NewKey,
): Promise<MadeKey> {
  mustBeKeyName(name);
  const expires = expiryIn(expires_at);
  return inTransaction(link, async () => {
    // Of two that count at once both would make the last one. Charges of the customer do not wait for this lock.
    await link.query("SELECT pg_advisory_xact_lock(hashtextextended('api_keys ' || $1, 0))", [customerId]);
    const { rows: customers } = await link.query('SELECT FROM customers WHERE customer_id = $1', [customerId]);
    if (customers.length === 0) throw smsErrors.CUSTOMER_UNKNOWN({ customer: customerId });
    const { rows } = await link.query<{ keys: number; late: boolean }>(
      'SELECT count(*)::int AS keys, $2::timestamptz <= now() AS late FROM api_keys WHERE customer_id = $1 AND is_active',
      [customerId, expires],
    );
    if (rows[0]!.late) throw invalid(`expires_at must be in the future: found=${expires_at}`);
    if (rows[0]!.keys >= KEYS_MAX)
      throw serviceErrors.RESOURCE_TAKEN({ reason: `a customer has at most ${KEYS_MAX} keys that are not revoked` });
    await mustBeThePepper(link, pepper, keys);
    const key = makeKey(KEY_PREFIX, env);
    await link.query(
      `INSERT INTO api_keys (id, customer_id, key_hash, pepper_id, name, env, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [key.id, customerId, digestOf(pepper, key), pepperIdOf(pepper), name, env, expires],
    );
    await audit(link, actor, {
      action: 'key_added',
      subject: `key:${key.id}`,
      details: { customer_id: customerId, name },
    });
    return { ...(await findKey(link, key.id)), key: key.text };
  });
}

/**
 * Gives a key another secret. The one before stays good for `overlapS` more seconds; the one before that ends now.
 * Throws RESOURCE_UNKNOWN, and RESOURCE_TAKEN for a key that is revoked or expired, and under another pepper.
 */
export const rotateKey = (
  link: PostgresLink,
  actor: Actor,
  pepper: string,
  id: string,
  overlapS: number,
): Promise<MadeKey> =>
  renewSecret(link, actor, keys, { pepper, id, overlapS }, async (key) => ({
    ...(await findKey(link, id)),
    key: key.text,
  }));

/** For good. A key that was revoked before stays so, without another row of the audit log. */
export const revokeKey = (link: PostgresLink, actor: Actor, id: string): Promise<void> => endKey(link, actor, keys, id);

/** The key of the HMAC, in ASCII. */
export const newCallbackSecret = (): string => `whsec_${randomBytes(32).toString('base64url')}`;

/** Gives a customer another secret for callbacks; the one before signs none any more. Throws CUSTOMER_UNKNOWN. */
export function rotateCallbackSecret(link: PostgresLink, actor: Actor, customerId: string): Promise<CallbackSecret> {
  const secret = newCallbackSecret();
  return inTransaction(link, async () => {
    const { rowCount } = await link.query(
      'UPDATE customers SET callback_secret = $2, updated_at = now() WHERE customer_id = $1',
      [customerId, Buffer.from(secret)],
    );
    if (rowCount === 0) throw smsErrors.CUSTOMER_UNKNOWN({ customer: customerId });
    await audit(link, actor, { action: 'callback_secret_rotated', subject: `customer:${customerId}` });
    return { customer_id: customerId, callback_secret: secret };
  });
}
