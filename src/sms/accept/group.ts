/**
 * Group: one transaction that accepts the messages of many requests.
 *
 *   1. lock    the group's customers, in order of id, and read them; then their idempotency keys
 *   2. decide  decide.ts
 *   3. write   customers, messages, ledger, keys, outbox; COMMIT
 *
 * Queries are pipelined, so there are two round trips. The lock holds until the commit: two groups that share a
 * customer, of two acceptors or two processes, come one after the other, and a key that came twice at once is seen by
 * the second. All take locks in one order, so none waits for another in a circle. The decision holds because the rows
 * are locked; should it ever be wrong, the constraint `balance >= 0` undoes the whole group.
 *
 * The keys are read by a statement of their own: its snapshot is taken when the locks are held.
 *
 * A customer whose row somebody else holds for longer than a second must not keep the others from sending: the group is
 * made again with those who are free, and the customer is refused until the row can be had.
 */
import { byteaArray, instantArray, int2Array, int8Array, textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { faultOf, sqlState } from '../../store/postgres/fault.ts';
import { wasMadeMeanwhile } from '../../store/postgres/time-partitions.ts';
import { smsErrors } from '../errors.ts';
import {
  type AcceptedMessage,
  type CustomerState,
  type Decision,
  decide,
  type KeptKey,
  keyName,
  type Rules,
} from './decide.ts';
import { outboxRows } from './outbox-rows.ts';
import type { Wanted } from './wanted.ts';

const READ = `SELECT c.customer_id, c.active, c.balance::text, c.waiting::text, c.lane, c.rate_per_s,
    c.cost_per_sms::text,
    EXISTS (SELECT FROM customer_prices p WHERE p.customer_id = c.customer_id) AS has_prices
  FROM customers c WHERE c.customer_id = ANY ($1::text[])`;
const LOCK = `${READ} ORDER BY c.customer_id FOR NO KEY UPDATE OF c`;
/** Leaves out whoever is locked by somebody else. */
const LOCK_FREE = `${LOCK} SKIP LOCKED`;
const KNOWN = 'SELECT customer_id FROM customers WHERE customer_id = ANY ($1::text[])';

const PREFIX_DIGITS_MAX = 15;
const prefixes = Array.from({ length: PREFIX_DIGITS_MAX }, (_, i) => `left(g.digits, ${i + 1})`).join(', ');
/** The price of each number: by the longest prefix. So a long list costs no more than a short one. */
const PRICES = `SELECT g.customer_id, p.prefix, p.cost::text
  FROM unnest($1::text[], $2::text[]) AS g(customer_id, digits) CROSS JOIN LATERAL (
    SELECT c.prefix, c.cost FROM customer_prices c
    WHERE c.customer_id = g.customer_id AND c.prefix = ANY (ARRAY[${prefixes}])
    ORDER BY length(c.prefix) DESC LIMIT 1) p`;

const KEYS = `SELECT k.customer_id, k.key, k.fingerprint, k.message_id, k.segments, k.cost::text, k.balance::text
  FROM unnest($1::text[], $2::text[]) AS g(customer_id, key) JOIN idempotency_keys k USING (customer_id, key)`;

const CHARGE = `UPDATE customers c SET balance = c.balance - g.cost, reserved = c.reserved + g.cost,
    waiting = c.waiting + g.messages
  FROM unnest($1::text[], $2::int8[], $3::int8[]) AS g(customer_id, cost, messages)
  WHERE c.customer_id = g.customer_id`;

const MESSAGES = `WITH added AS (
  INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, sender, body, lane, segments, cost, valid_until,
      callback_url)
    SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
      $8::int2[], $9::int8[], $10::timestamptz[], $11::text[])
    RETURNING message_id, customer_id, cost
)
INSERT INTO balance_txn (customer_id, kind, debit, credit, amount, message_id)
  SELECT customer_id, 'reserve', 'available', 'reserved', cost, message_id FROM added`;

const KEEP = `INSERT INTO idempotency_keys (customer_id, key, fingerprint, message_id, segments, cost, balance)
  SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::int2[], $6::int8[], $7::int8[])`;

const OUTBOX = `INSERT INTO sms_outbox (express, topic, records)
  SELECT topic = 'sms.express', topic, records FROM unnest($1::text[], $2::text[]) AS g(topic, records)`;

/** Those that find rows by their keys, for the test of their plans. */
export const keyedStatements = [LOCK, LOCK_FREE, KNOWN, PRICES, KEYS, CHARGE] as const;

export interface GroupRules extends Rules {
  /** COST_PER_SMS */
  readonly costPerSms: number;
}

/** Customers whose rows could not be had: nobody waits for them before they have been had again. */
export type LockedCustomers = Set<string>;
const LOCKED_MAX = 10_000;
/** Other groups, and outcomes, hold a customer for milliseconds. */
const CUSTOMER_LOCK_MS = 1000;
/** Whoever makes a partition may hold a table for longer; but not for longer than a client waits for its answer. */
export const TABLE_LOCK_MS = 3500;
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Accepts a group as attempt() does; once more, when its day got a partition of its own while its rows were on their
 * way to the default partition, or without the customers that are locked. `locked` is kept from group to group.
 */
export async function acceptGroup(
  link: PostgresLink,
  group: readonly Wanted[],
  rules: GroupRules,
  locked: LockedCustomers = new Set(),
): Promise<Decision> {
  const wait = !group.some(({ customerId }) => locked.has(customerId));
  try {
    return await attempt(link, group, rules, wait ? undefined : locked);
  } catch (error) {
    if (wait && sqlState(error) === LOCK_NOT_AVAILABLE) return attempt(link, group, rules, locked);
    if (!wasMadeMeanwhile(error)) throw error;
    return attempt(link, group, rules, wait ? undefined : locked);
  }
}

/**
 * Accepts a group on a pipelined session; resolves when it is committed. Throws ACCEPT_UNKNOWN when the session was
 * lost while the commit was under way, and what Postgres says otherwise; then nothing was accepted. `locked`: who is
 * locked is not waited for, and stands in it afterwards.
 */
async function attempt(
  link: PostgresLink,
  group: readonly Wanted[],
  rules: GroupRules,
  locked: LockedCustomers | undefined,
): Promise<Decision> {
  let committing = false;
  try {
    const decision = await judge(link, group, rules, locked);
    if (decision.messages.length === 0) {
      await link.query('ROLLBACK');
      return decision;
    }
    committing = true;
    await write(link, decision);
    return decision;
  } catch (error) {
    // What the server refuses is undone. A server that says good-bye, or nothing, may have committed before.
    if (committing && faultOf(error) === 'network') throw smsErrors.ACCEPT_UNKNOWN({}, error);
    if (link.broken === undefined) await link.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

async function judge(
  link: PostgresLink,
  group: readonly Wanted[],
  rules: GroupRules,
  locked: LockedCustomers | undefined,
): Promise<Decision> {
  const keyed = group.filter(({ key }) => key !== undefined);
  const ids = customersOf(group);
  const [, { rows }, kept, known] = await Promise.all([
    link.query(locked === undefined ? `BEGIN; SET LOCAL lock_timeout = ${CUSTOMER_LOCK_MS}` : 'BEGIN'),
    locked === undefined
      ? link.prepared<CustomerRow>('sms-lock', LOCK, [ids])
      : link.prepared<CustomerRow>('sms-lock-free', LOCK_FREE, [ids]),
    keyed.length === 0 ? undefined : readKeys(link, keyed),
    locked === undefined ? undefined : link.prepared<{ customer_id: string }>('sms-known', KNOWN, [ids]),
  ]);
  const customers = await statesOf(link, group, rows, rules);
  if (locked !== undefined) {
    if (locked.size > LOCKED_MAX) locked.clear();
    for (const { customerId } of group) locked.delete(customerId);
    for (const { customer_id: id } of known!.rows) if (!customers.has(id)) locked.add(id);
  }
  return decide(group, customers, kept ?? new Map(), rules, locked);
}

/** What would become of the group now, by itself: nothing is locked or written, and keys do not count. */
export async function judgeGroup(link: PostgresLink, group: readonly Wanted[], rules: GroupRules): Promise<Decision> {
  const { rows } = await link.prepared<CustomerRow>('sms-read', READ, [customersOf(group)]);
  return decide(group, await statesOf(link, group, rows, rules), new Map(), rules);
}

const customersOf = (group: readonly Wanted[]): Buffer =>
  textArray([...new Set(group.map(({ customerId }) => customerId))], (id) => id);

async function statesOf(
  link: PostgresLink,
  group: readonly Wanted[],
  rows: readonly CustomerRow[],
  { costPerSms }: GroupRules,
): Promise<Map<string, CustomerState>> {
  const priced = rows.filter((row) => row.has_prices);
  const prices = priced.length === 0 ? undefined : await readPrices(link, group, priced);
  return new Map(rows.map((row) => [row.customer_id, stateOf(row, costPerSms, prices?.get(row.customer_id))]));
}

/** Of these customers, the prices that the numbers of the group come under. */
async function readPrices(
  link: PostgresLink,
  group: readonly Wanted[],
  customers: readonly CustomerRow[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, number>>> {
  const prices = new Map(customers.map((row) => [row.customer_id, new Map<string, number>()]));
  const numbers = new Map(
    group.flatMap((wanted) => (prices.has(wanted.customerId) ? [[`${wanted.customerId} ${wanted.to}`, wanted]] : [])),
  );
  const asked = [...numbers.values()];
  const { rows } = await link.prepared<{ customer_id: string; prefix: string; cost: string }>('sms-prices', PRICES, [
    textArray(asked, ({ customerId }) => customerId),
    textArray(asked, ({ to }) => to.slice(1)),
  ]);
  for (const { customer_id: id, prefix, cost } of rows) prices.get(id)!.set(prefix, Number(cost));
  return prices;
}

interface CustomerRow {
  readonly customer_id: string;
  readonly active: boolean;
  readonly balance: string;
  readonly waiting: string;
  readonly lane: 'normal' | 'express';
  readonly rate_per_s: number | null;
  readonly cost_per_sms: string | null;
  readonly has_prices: boolean;
}

const stateOf = (
  row: CustomerRow,
  costPerSms: number,
  prices: ReadonlyMap<string, number> | undefined,
): CustomerState => ({
  active: row.active,
  balance: Number(row.balance),
  waiting: Number(row.waiting),
  lane: row.lane,
  ratePerS: row.rate_per_s ?? undefined,
  tariff: {
    base: row.cost_per_sms === null ? costPerSms : Number(row.cost_per_sms),
    prefixes: prices,
  },
});

async function readKeys(link: PostgresLink, keyed: readonly Wanted[]): Promise<ReadonlyMap<string, KeptKey>> {
  const { rows } = await link.prepared<{
    readonly customer_id: string;
    readonly key: string;
    readonly fingerprint: Buffer;
    readonly message_id: string;
    readonly segments: number;
    readonly cost: string;
    readonly balance: string;
  }>('sms-keys', KEYS, [textArray(keyed, ({ customerId }) => customerId), textArray(keyed, ({ key }) => key)]);
  return new Map(
    rows.map((row) => [
      keyName(row.customer_id, row.key),
      {
        fingerprint: row.fingerprint,
        messageId: row.message_id,
        segments: row.segments,
        cost: Number(row.cost),
        balance: Number(row.balance),
      },
    ]),
  );
}

/** All statements and the commit are sent at once; when one fails, the server ends what follows and undoes all. */
async function write(link: PostgresLink, { messages, charges }: Decision): Promise<void> {
  const keyed = messages.filter(({ wanted }) => wanted.key !== undefined);
  const outbox = outboxRows(messages);
  await Promise.all([
    link.query(`SET LOCAL lock_timeout = ${TABLE_LOCK_MS}`),
    link.prepared('sms-charge', CHARGE, [
      textArray(charges, ({ customerId }) => customerId),
      int8Array(charges, ({ cost }) => BigInt(cost)),
      int8Array(charges, ({ messages: count }) => BigInt(count)),
    ]),
    link.prepared('sms-messages', MESSAGES, messageColumns(messages)),
    ...(keyed.length === 0 ? [] : [link.prepared('sms-keep', KEEP, keyColumns(keyed))]),
    link.prepared('sms-outbox', OUTBOX, [
      textArray(outbox, ({ topic }) => topic),
      textArray(outbox, ({ records }) => records),
    ]),
    link.query('COMMIT'),
  ]);
}

const messageColumns = (messages: readonly AcceptedMessage[]): readonly Buffer[] => [
  instantArray(messages, ({ atMs }) => atMs),
  textArray(messages, ({ messageId }) => messageId),
  textArray(messages, ({ wanted }) => wanted.customerId),
  textArray(messages, ({ wanted }) => wanted.to),
  textArray(messages, ({ wanted }) => wanted.sender),
  textArray(messages, ({ wanted }) => wanted.text),
  textArray(messages, ({ lane }) => lane),
  int2Array(messages, ({ segments }) => segments),
  int8Array(messages, ({ cost }) => BigInt(cost)),
  instantArray(messages, ({ atMs, wanted }) => atMs + 1000 * wanted.validityS),
  textArray(messages, ({ wanted }) => wanted.callbackUrl),
];

const keyColumns = (keyed: readonly AcceptedMessage[]): readonly Buffer[] => [
  textArray(keyed, ({ wanted }) => wanted.customerId),
  textArray(keyed, ({ wanted }) => wanted.key),
  byteaArray(keyed, ({ wanted }) => wanted.fingerprint),
  textArray(keyed, ({ messageId }) => messageId),
  int2Array(keyed, ({ segments }) => segments),
  int8Array(keyed, ({ cost }) => BigInt(cost)),
  int8Array(keyed, ({ balance }) => BigInt(balance)),
];
