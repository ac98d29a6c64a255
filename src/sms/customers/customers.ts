/** Customers: what the administrators' routes and the command line do to them. */

import { audit } from '../../service/database/audit.ts';
import type { Actor, Page } from '../../service/database/contract.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { smsErrors } from '../errors.ts';
import { isCustomerId } from '../model.ts';
import { credit, debit, OPENING_KEY } from '../money/ledger.ts';
import { newCallbackSecret } from './keys.ts';
import type { CreditView, CustomerChange, CustomerView, MadeCustomer, NewCredit, NewCustomer, Price } from './views.ts';

const NAME_MAX = 255;
export const PRICES_MAX = 10_000;
export const COST_MAX = 1_000_000_000;
export const RATE_MAX = 1_000_000;

const invalid = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });
const unknown = (customer: string): Error => smsErrors.CUSTOMER_UNKNOWN({ customer });

/** A value as a message shows it. */
const found = (value: unknown): string => JSON.stringify(value)?.slice(0, 80) ?? 'nothing';

const VIEW = `SELECT c.customer_id, c.name, c.active, c.balance::float8 AS balance, c.reserved::float8 AS reserved,
    c.waiting::float8 AS waiting, c.rate_per_s, c.lane, c.cost_per_sms::float8 AS cost_per_sms,
    coalesce((SELECT json_agg(json_build_object('prefix', '+' || p.prefix, 'cost', p.cost) ORDER BY p.prefix)
      FROM customer_prices p WHERE p.customer_id = c.customer_id), '[]') AS prices,
    c.created_at, c.updated_at
  FROM customers c`;

interface Row extends Omit<CustomerView, 'created_at' | 'updated_at'> {
  readonly [column: string]: unknown;
  readonly created_at: Date;
  readonly updated_at: Date;
}

// Amounts are at most 2^53 - 1 (customers_money_exact), so float8 carries them exactly.
const viewOf = (row: Row): CustomerView => ({
  ...row,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
});

/** Throws CUSTOMER_UNKNOWN when there is none. */
export async function findCustomer(link: PostgresLink, id: string): Promise<CustomerView> {
  const { rows } = await link.query<Row>(`${VIEW} WHERE c.customer_id = $1`, [id]);
  if (rows[0] === undefined) throw unknown(id);
  return viewOf(rows[0]);
}

/** By id, above the id `after`; `search`: only those whose id or name has this text. */
export async function listCustomers(
  link: PostgresLink,
  { after = '', limit, search = '' }: { readonly after?: string; readonly limit: number; readonly search?: string },
): Promise<Page<CustomerView, string>> {
  const { rows } = await link.query<Row>(
    `${VIEW} WHERE c.customer_id > $1 AND ($3 = '' OR strpos(lower(c.customer_id), lower($3)) > 0
      OR strpos(lower(c.name), lower($3)) > 0) ORDER BY c.customer_id LIMIT $2`,
    [after, limit + 1, search],
  );
  const items = rows.slice(0, limit).map(viewOf);
  return { items, next: rows.length > limit ? items.at(-1)!.customer_id : null };
}

/** Throws INPUT_REFUSED for what a customer cannot have; the routes have checked it by the document already. */
function check({ name, rate_per_s: rate, lane, cost_per_sms: cost, prices = [] }: CustomerChange): void {
  if (name !== undefined && (name.length > NAME_MAX || /\p{Cc}/u.test(name)))
    throw invalid(`name must be at most ${NAME_MAX} characters, none of them a control character`);
  if (rate !== undefined && rate !== null && !(Number.isInteger(rate) && rate >= 1 && rate <= RATE_MAX))
    throw invalid(`rate_per_s must be a whole number from 1 to ${RATE_MAX}: found=${found(rate)}`);
  if (lane !== undefined && lane !== 'normal' && lane !== 'express')
    throw invalid(`lane must be normal or express: found=${found(lane)}`);
  if (cost !== undefined && cost !== null) checkCost('cost_per_sms', cost);
  if (prices.length > PRICES_MAX)
    throw invalid(`prices must have at most ${PRICES_MAX} entries: found=${prices.length}`);
  const seen = new Set<string>();
  for (const { prefix, cost: price } of prices) {
    if (!/^\+[0-9]{1,15}$/.test(prefix))
      throw invalid(`a prefix must be a plus and 1 to 15 digits, like +98912: found=${found(prefix)}`);
    checkCost(`the cost of ${prefix}`, price);
    if (seen.has(prefix)) throw invalid(`prices must have each prefix once: found=${prefix} twice`);
    seen.add(prefix);
  }
}

function checkCost(what: string, cost: number): void {
  if (Number.isInteger(cost) && cost >= 0 && cost <= COST_MAX) return;
  throw invalid(`${what} must be a whole number from 0 to ${COST_MAX}: found=${found(cost)}`);
}

/** A whole number that JSON carries exactly. `least`: 0 or 1. */
export function checkAmount(what: string, amount: number, least: 0 | 1): void {
  if (Number.isSafeInteger(amount) && amount >= least) return;
  throw invalid(`${what} must be a whole number from ${least} to ${Number.MAX_SAFE_INTEGER}: found=${found(amount)}`);
}

async function replacePrices(link: PostgresLink, id: string, prices: readonly Price[] | undefined): Promise<void> {
  if (prices === undefined) return;
  await link.query('DELETE FROM customer_prices WHERE customer_id = $1', [id]);
  if (prices.length === 0) return;
  await link.query(
    'INSERT INTO customer_prices (customer_id, prefix, cost) SELECT $1, p, c FROM unnest($2::text[], $3::bigint[]) AS u (p, c)',
    [id, prices.map(({ prefix }) => prefix.slice(1)), prices.map(({ cost }) => cost)],
  );
}

/** Shows the secret of its callbacks, this once. Throws RESOURCE_TAKEN when there is a customer of this id. */
export function addCustomer(link: PostgresLink, actor: Actor, customer: NewCustomer): Promise<MadeCustomer> {
  const { customer_id: id, name = '', active = true, rate_per_s = null, lane = 'normal', balance = 0 } = customer;
  const { cost_per_sms = null, prices } = customer;
  if (!isCustomerId(id)) throw invalid(`customer_id must be 1 to 64 of A-Z a-z 0-9 . _ -: found=${found(id)}`);
  check(customer);
  checkAmount('balance', balance, 0);
  const secret = newCallbackSecret();
  return inTransaction(link, async () => {
    const { rowCount } = await link.query(
      `INSERT INTO customers (customer_id, name, active, rate_per_s, lane, cost_per_sms, callback_secret)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
      [id, name, active, rate_per_s, lane, cost_per_sms, Buffer.from(secret)],
    );
    if (rowCount === 0)
      throw serviceErrors.RESOURCE_TAKEN({ reason: `there is a customer of this id: customer_id=${id}` });
    await replacePrices(link, id, prices);
    if (balance > 0) await credit(link, id, balance, OPENING_KEY);
    const details = { ...(balance > 0 ? { balance } : {}), ...(prices === undefined ? {} : { prices: prices.length }) };
    await audit(link, actor, { action: 'customer_added', subject: `customer:${id}`, details });
    return { ...(await findCustomer(link, id)), callback_secret: secret };
  });
}

/** Throws CUSTOMER_UNKNOWN. */
export function changeCustomer(
  link: PostgresLink,
  actor: Actor,
  id: string,
  change: CustomerChange,
): Promise<CustomerView> {
  check(change);
  const { name, active, rate_per_s, lane, cost_per_sms, prices } = change;
  const columns = Object.entries({ name, active, rate_per_s, lane, cost_per_sms }).filter(
    ([, value]) => value !== undefined,
  );
  return inTransaction(link, async () => {
    // Only what is given is named: a statement that names `active` looks at every key of the customer.
    const sets = columns.map(([column], i) => `${column} = $${i + 2}`);
    const { rowCount } = await link.query(
      `UPDATE customers SET ${[...sets, 'updated_at = now()'].join(', ')} WHERE customer_id = $1`,
      [id, ...columns.map(([, value]) => value)],
    );
    if (rowCount === 0) throw unknown(id);
    await replacePrices(link, id, prices);
    const details = { ...change, ...(prices === undefined ? {} : { prices: prices.length }) };
    await audit(link, actor, { action: 'customer_changed', subject: `customer:${id}`, details });
    return findCustomer(link, id);
  });
}

type Moved = Promise<{ readonly view: CreditView; readonly replayed: boolean }>;

/** Adds money, once for each key. Throws as credit() does, and INPUT_REFUSED. */
export const creditCustomer = (link: PostgresLink, actor: Actor, id: string, payment: NewCredit): Moved =>
  moveMoney(link, actor, id, payment, credit, 'customer_credited');

/** Takes money back, once for each key. Throws as debit() does, and INPUT_REFUSED. */
export const debitCustomer = (link: PostgresLink, actor: Actor, id: string, payment: NewCredit): Moved =>
  moveMoney(link, actor, id, payment, debit, 'customer_debited');

function moveMoney(
  link: PostgresLink,
  actor: Actor,
  id: string,
  { amount, idempotency_key: key }: NewCredit,
  move: typeof credit,
  action: string,
): Moved {
  checkAmount('amount', amount, 1);
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw invalid(`idempotency_key must be 1 to 255 printable ASCII characters without spaces: found=${found(key)}`);
  return inTransaction(link, async () => {
    const { balance, replayed } = await move(link, id, amount, key);
    const details = { amount, balance, idempotency_key: key };
    if (!replayed) await audit(link, actor, { action, subject: `customer:${id}`, details });
    return { view: { customer_id: id, amount, balance }, replayed };
  });
}
