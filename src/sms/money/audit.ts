/**
 * Audit: proves that what customers' rows say is what the ledger and the messages come to, of one snapshot of the
 * database, while everything goes on.
 *
 *   available  balance        = credits of the account available, less its debits
 *   reserved   reserved       = credits of the account reserved, less its debits
 *   messages   reserved       = cost of the customer's messages whose money is reserved
 *   waiting    waiting        = their number
 *
 * Money of a customer who has no row is a difference as well.
 *
 * While a snapshot is open, dead versions of customers' rows, of the queue and of the outbox stay, and every charge has
 * to pass by them. So as little as possible is read in it:
 *
 *   ledger     days that are not over; of the others balance_carries knows what they come to (partitions/carry.ts)
 *   messages   this day; of days before, those that were reserved when they were looked at a moment ago, piece by piece
 *              and without a snapshot. Days whose messages have ended are left out (partitions/ended.ts)
 *
 * Messages may be reserved in days before only by `ringmain sms resend` and by clocks that are wrong. Customers whose
 * messages seem to differ are therefore looked at once more, with all of their messages of all days.
 */
import { textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { quoteName } from '../../store/postgres/names.ts';
import { attached, periodsOf } from '../../store/postgres/time-partitions.ts';
import { overDays, type SmsDays, smsDays } from '../partitions/days.ts';
import { gatherReserved } from '../partitions/ended.ts';
import { CLOCKS_MS } from '../partitions/prove.ts';

export const checks = ['available', 'reserved', 'messages', 'waiting'] as const;

/** A figure that is not what it must be. Amounts are whole numbers, as text: of what is wrong nothing is promised. */
export interface Difference {
  readonly customer: string;
  readonly check: (typeof checks)[number];
  /** What the customer's row says. */
  readonly stored: string;
  /** What it must be. */
  readonly proven: string;
  /** `stored` less `proven`. */
  readonly difference: string;
}

export interface Audited {
  readonly customers: number;
  /** Rows of the ledger that are in its table. */
  readonly transfers: number;
  /** In order of customer; at most DIFFERENCES_MAX. */
  readonly differences: readonly Difference[];
}

export const DIFFERENCES_MAX = 10_000;
/** Customers that are looked at twice: each by an index, which of all would take longer than reading the tables. */
const DOUBTFUL_MAX = 100;
const GATHERED = 'pg_temp.audit_gathered';

/** Nothing waits for it; the session gets a temporary table, which is gone afterwards. */
export async function audit(
  link: PostgresLink,
  days: SmsDays = smsDays,
  signal: AbortSignal = new AbortController().signal,
): Promise<Audited> {
  await link.query(`DROP TABLE IF EXISTS ${GATHERED}`);
  await link.query(`CREATE TEMP TABLE audit_gathered (message_id text COLLATE "C", created_at timestamptz)`);
  try {
    const first = await look(link, days, gathered(await gather(link, days, signal)));
    const wanted = first.differences.filter(({ check }) => check === 'messages' || check === 'waiting');
    const doubtful = new Set(wanted.map(({ customer }) => customer));
    if (doubtful.size === 0 || doubtful.size > DOUBTFUL_MAX) return first;
    const again = await look(link, days, ofCustomers, [...doubtful]);
    const others = first.differences.filter(({ customer }) => !doubtful.has(customer));
    const differences = [...others, ...again.differences].sort((a, b) => (a.customer < b.customer ? -1 : 1));
    return { ...first, differences };
  } finally {
    if (link.broken === undefined) await link.query(`DROP TABLE ${GATHERED}`);
  }
}

/** Gathers what is reserved in days before; returns where the others begin, in ms since 1970. */
async function gather(link: PostgresLink, days: SmsDays, signal: AbortSignal): Promise<number> {
  const first = days.period.at((await days.now(link)) - CLOCKS_MS);
  const over = await overDays(link, days, 'sms_logs');
  for (const day of await periodsOf(link, days.period, 'sms_logs'))
    if (day < first && !over.has(day)) await gatherReserved(link, days, day, GATHERED, signal);
  return days.period.begin(first);
}

/** Reserved messages as SQL: of this day, of the default partition, and those of days before that still are. */
function gathered(fromMs: number): string {
  const from = `'${new Date(fromMs).toISOString()}'`;
  // LIMIT keeps the lookup what it is: one by the key, in one partition.
  return `SELECT customer_id, cost FROM sms_logs WHERE money = 'reserved' AND created_at >= ${from}
    UNION ALL SELECT customer_id, cost FROM sms_logs_default WHERE money = 'reserved' AND created_at < ${from}
    UNION ALL SELECT m.customer_id, m.cost FROM ${GATHERED} g CROSS JOIN LATERAL (
      SELECT l.customer_id, l.cost FROM sms_logs l
      WHERE l.message_id = g.message_id AND l.created_at = g.created_at AND l.money = 'reserved' LIMIT 1) AS m`;
}

/** One snapshot. `only`: of these customers; then `messages` is asked for them as well. */
async function look(link: PostgresLink, days: SmsDays, messages: string, only?: readonly string[]): Promise<Audited> {
  await link.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    // Before the snapshot is taken: a day that is being closed meanwhile is either all in it or not at all.
    await link.query('LOCK TABLE balance_txn, sms_logs IN ACCESS SHARE MODE');
    const over = await overDays(link, days, 'balance_txn');
    const open = [...(await attached(link, 'balance_txn'))].filter((name) => !over.has(days.period.of(name) ?? -1));
    const values = only === undefined ? [] : [textArray(only, (customer) => customer)];
    const { rows } = await link.query<Row>(differencesSql(open, messages, only !== undefined), values);
    const { customers, transfers } = rows[0]!;
    const differences = rows.flatMap(({ customer, check, stored, proven, difference }) =>
      customer === null ? [] : [{ customer, check, stored, proven, difference }],
    );
    return { customers: Number(customers), transfers: Number(transfers), differences };
  } finally {
    if (link.broken === undefined) await link.query('ROLLBACK');
  }
}

interface Row extends Record<string, unknown> {
  readonly customers: string;
  readonly transfers: string;
  /** Null: nothing differs. */
  readonly customer: string | null;
  readonly check: Difference['check'];
  readonly stored: string;
  readonly proven: string;
  readonly difference: string;
}

/** `open`: partitions of the ledger that are read. */
function differencesSql(open: readonly string[], messages: string, some: boolean): string {
  const where = some ? ' WHERE customer_id = ANY ($1::text[])' : '';
  const sides = (account: string): string =>
    `sum(CASE '${account}' WHEN credit THEN amount WHEN debit THEN -amount ELSE 0 END) AS ${account}`;
  const entries = open.map((name) => `SELECT customer_id, debit, credit, amount FROM ONLY ${quoteName(name)}${where}`);
  return `WITH ledger AS MATERIALIZED (
    SELECT customer_id, sum(available) AS available, sum(reserved) AS reserved, sum(n) AS n FROM (
      SELECT customer_id, ${sides('available')}, ${sides('reserved')}, count(*) AS n
        FROM (${entries.join(' UNION ALL ')}) AS entries GROUP BY customer_id
      UNION ALL SELECT customer_id, CASE account WHEN 'available' THEN amount ELSE 0 END,
        CASE account WHEN 'reserved' THEN amount ELSE 0 END, 0 FROM balance_carries${where}
    ) AS parts GROUP BY customer_id
  ), messages AS (
    SELECT customer_id, sum(cost) AS reserved, count(*) AS waiting FROM (${messages}) AS m GROUP BY customer_id
  ), figures AS (
    SELECT coalesce(c.customer_id, l.customer_id, m.customer_id) AS customer,
      coalesce(c.balance, 0) AS balance, coalesce(c.reserved, 0) AS held, coalesce(c.waiting, 0) AS waits,
      coalesce(l.available, 0) AS available, coalesce(l.reserved, 0) AS reserved,
      coalesce(m.reserved, 0) AS messages, coalesce(m.waiting, 0) AS waiting
    FROM (SELECT * FROM customers${where}) AS c FULL JOIN ledger l USING (customer_id)
      FULL JOIN messages m ON m.customer_id = coalesce(c.customer_id, l.customer_id)
  ), different AS (
    SELECT f.customer, v.what AS check, v.stored::text, v.proven::text, (v.stored - v.proven)::text AS difference
    FROM figures f CROSS JOIN LATERAL (VALUES ('available', f.balance::numeric, f.available),
      ('reserved', f.held, f.reserved), ('messages', f.held, f.messages), ('waiting', f.waits, f.waiting))
      AS v(what, stored, proven)
    WHERE v.stored <> v.proven ORDER BY f.customer COLLATE "C", v.what LIMIT ${DIFFERENCES_MAX}
  )
  SELECT t.customers::text, t.transfers::text, d.* FROM (
    SELECT (SELECT count(*) FROM customers) AS customers,
      (SELECT coalesce(sum(n), 0) FROM ledger)
        + (SELECT coalesce(sum(row_count), 0) FROM sms_days WHERE parent = 'balance_txn') AS transfers
  ) AS t LEFT JOIN different d ON true ORDER BY d.customer COLLATE "C", d.check`;
}

/** All reserved messages of some customers, by the index of each day. */
const ofCustomers =
  "SELECT customer_id, cost FROM sms_logs WHERE money = 'reserved' AND customer_id = ANY ($1::text[])";
