/**
 * Ledger: balance_txn, transfers that are only ever added. Each takes an amount from one account (debit) and gives it
 * to another (credit).
 *
 *   credit    external  > available   an administrator adds money        here
 *   debit     available > external    an administrator takes it back     here
 *   reserve   available > reserved    a message is accepted              accept/group.ts
 *             revenue   > reserved    a captured unknown one goes again  delivery/resend.ts
 *   capture   reserved  > revenue     the operator took the message      settle.ts
 *   refund    reserved  > available   the message will not be sent       settle.ts
 *             revenue   > available   a captured unknown one never was   delivery/unknown.ts
 *
 * Always true, and proven by audit.ts: of each customer, `balance` is the sum of its account available, `reserved` that
 * of its account reserved, which is the cost of its messages whose money is reserved; `waiting` is their number.
 */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { smsErrors } from '../errors.ts';

/** What JSON carries exactly. The constraint customers_money_exact holds it for the sum of balance and reserved. */
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

/** Keys of credits that the service makes by itself: people's keys have no blanks, so nobody can take one of these. */
export const OPENING_KEY = 'opening balance';
export const expressMissKey = (messageId: string): string => `express miss ${messageId}`;

export interface Credited {
  /** After this credit or debit; of a replay, what it was then. */
  readonly balance: number;
  /** The key was used before for the same amount: nothing has changed now. */
  readonly replayed: boolean;
}

/**
 * Adds money to a balance, in the caller's transaction, once for each key: the lock of the customer makes repeats wait
 * for each other. `amount`: 1 to AMOUNT_MAX. Throws CUSTOMER_UNKNOWN, IDEMPOTENCY_MISMATCH when the key stands for
 * something else, AMOUNT_TOO_LARGE when the sum would be beyond AMOUNT_MAX.
 */
export async function credit(
  link: PostgresLink,
  customerId: string,
  amount: number,
  idempotencyKey: string,
): Promise<Credited> {
  return transfer(link, customerId, positive(amount), idempotencyKey);
}

/**
 * Takes money back from a balance, as credit() adds it; keys of both are the same ones. What is reserved cannot be
 * taken. Throws DEBIT_TOO_LARGE when the balance does not cover it.
 */
export async function debit(
  link: PostgresLink,
  customerId: string,
  amount: number,
  idempotencyKey: string,
): Promise<Credited> {
  return transfer(link, customerId, -positive(amount), idempotencyKey);
}

function positive(amount: number): number {
  if (Number.isSafeInteger(amount) && amount >= 1) return amount;
  throw new TypeError(`an amount must be a whole number from 1 to ${AMOUNT_MAX}: found=${amount}`);
}

/** `change`: of the balance; below zero for a debit. */
async function transfer(
  link: PostgresLink,
  customerId: string,
  change: number,
  idempotencyKey: string,
): Promise<Credited> {
  const { rows: customers } = await link.query<{ balance: string; reserved: string }>(
    'SELECT balance, reserved FROM customers WHERE customer_id = $1 FOR NO KEY UPDATE',
    [customerId],
  );
  const [customer] = customers;
  if (customer === undefined) throw smsErrors.CUSTOMER_UNKNOWN({ customer: customerId });
  const { rows: before } = await link.query<{ amount: string; balance: string }>(
    'SELECT amount, balance FROM balance_credits WHERE customer_id = $1 AND idempotency_key = $2',
    [customerId, idempotencyKey],
  );
  const [done] = before;
  if (done !== undefined) {
    if (Number(done.amount) !== change) throw smsErrors.IDEMPOTENCY_MISMATCH({ key: idempotencyKey });
    return { balance: Number(done.balance), replayed: true };
  }
  const balance = Number(customer.balance);
  if (balance + change < 0) throw smsErrors.DEBIT_TOO_LARGE({ amount: -change, balance });
  if (BigInt(customer.balance) + BigInt(customer.reserved) + BigInt(change) > BigInt(AMOUNT_MAX))
    throw smsErrors.AMOUNT_TOO_LARGE({ amount: change, balance });
  const { rows } = await link.query<{ balance: string }>(
    `WITH changed AS (
       UPDATE customers SET balance = balance + $2, updated_at = now() WHERE customer_id = $1 RETURNING balance
     ), entry AS (
       INSERT INTO balance_txn (customer_id, kind, debit, credit, amount) VALUES ($1, $4, $5, $6, abs($2::bigint))
     ), noted AS (
       INSERT INTO balance_credits (customer_id, idempotency_key, amount, balance)
         SELECT $1, $3, $2, balance FROM changed
     )
     SELECT balance FROM changed`,
    [customerId, change, idempotencyKey, ...(change < 0 ? DEBIT : CREDIT)],
  );
  return { balance: Number(rows[0]!.balance), replayed: false };
}

/** Kind, debit, credit. */
const CREDIT = ['credit', 'external', 'available'] as const;
const DEBIT = ['debit', 'available', 'external'] as const;
