/**
 * Carry: proves what a day of the ledger comes to, once, when the day is over. The sums of its accounts, per customer,
 * are added to balance_carries, and the audit does not read the day again (money/audit.ts). The rows stay where they
 * are until their retention ends.
 *
 * Always true: per customer and account, balance_carries is the sum over all days that are marked in sms_days, and over
 * those that were archived. A row that comes late is carried by a trigger of its partition, in its own transaction.
 *
 * The day is read in pieces, and nothing is written meanwhile: one statement over 200 million rows, or a transaction
 * with an id, would keep dead versions of customers' rows, which are updated hundreds of times a second, from being
 * pruned. Writers of the day wait; there are none, but for transactions that began before midnight.
 */
import { textArray } from '../../store/postgres/binary-array.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { inTransaction } from '../../store/postgres/in-transaction.ts';
import { quoteName } from '../../store/postgres/names.ts';
import { LOCK_MS, periodsOf } from '../../store/postgres/time-partitions.ts';
import { dateOf, type SmsDays } from './days.ts';

/** Blocks of a piece: 256 MiB, some 2 million rows, a second. */
const PIECE_BLOCKS = 32_768;

export interface Carried {
  readonly partition: string;
  readonly rows: number;
  /** Sums that were carried: one for each customer and account. */
  readonly sums: number;
}

type Sums = Map<string, { readonly customer: string; readonly account: string; amount: bigint }>;

/**
 * Carries one day. Returns undefined when that was done before, or the day is not attached. Rejects with SQLSTATE 55P03
 * when somebody writes to the day and does not end in time; nothing has changed then.
 */
export async function carryDay(
  link: PostgresLink,
  days: SmsDays,
  day: number,
  signal: AbortSignal,
): Promise<Carried | undefined> {
  const date = dateOf(days, day);
  const name = days.nameOf('balance_txn', day);
  const partition = quoteName(name);
  return inTransaction(link, async () => {
    await link.query(`SET LOCAL lock_timeout = ${LOCK_MS}`);
    if (!(await periodsOf(link, days.period, 'balance_txn')).includes(day)) return undefined;
    await link.query(`LOCK TABLE ONLY ${partition} IN SHARE ROW EXCLUSIVE MODE`);
    const { rows: marks } = await link.query('SELECT FROM sms_days WHERE parent = $1 AND day = $2', [
      'balance_txn',
      date,
    ]);
    if (marks.length > 0) return undefined;
    const sums: Sums = new Map();
    const rows = await sumUp(link, partition, sums, signal);
    await link.query(
      `CREATE TRIGGER late_transfer AFTER INSERT OR UPDATE OR DELETE ON ${partition}
         FOR EACH ROW EXECUTE FUNCTION carry_late_transfer()`,
    );
    await addSums(link, sums);
    await link.query('INSERT INTO sms_days (parent, day, over_at, row_count) VALUES ($1, $2, now(), $3)', [
      'balance_txn',
      date,
      rows,
    ]);
    return { partition: name, rows, sums: sums.size };
  });
}

/** Returns how many rows there are. Each piece is a snapshot of its own: under the lock no row is added or moved. */
async function sumUp(link: PostgresLink, partition: string, sums: Sums, signal: AbortSignal): Promise<number> {
  const { rows: sizes } = await link.query<{ blocks: number }>(
    `SELECT (pg_relation_size($1::regclass) / current_setting('block_size')::int)::float8 AS blocks`,
    [partition],
  );
  let transfers = 0;
  for (let from = 0; from < sizes[0]!.blocks; from += PIECE_BLOCKS) {
    signal.throwIfAborted();
    const { rows } = await link.query<{ customer_id: string; debit: string; credit: string; sum: string; n: number }>(
      `SELECT customer_id, debit, credit, sum(amount)::text AS sum, count(*)::int AS n FROM ONLY ${partition}
       WHERE ctid >= '(${from},0)' AND ctid < '(${from + PIECE_BLOCKS},0)' GROUP BY 1, 2, 3`,
    );
    for (const { customer_id, debit, credit, sum, n } of rows) {
      add(sums, customer_id, debit, -BigInt(sum));
      add(sums, customer_id, credit, BigInt(sum));
      transfers += n;
    }
  }
  return transfers;
}

function add(sums: Sums, customer: string, account: string, amount: bigint): void {
  const key = `${customer} ${account}`;
  const sum = sums.get(key);
  if (sum === undefined) sums.set(key, { customer, account, amount });
  else sum.amount += amount;
}

async function addSums(link: PostgresLink, sums: Sums): Promise<void> {
  const rows = [...sums.values()];
  await link.query(
    `INSERT INTO balance_carries AS c (customer_id, account, amount)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[]::numeric[]) AS g (customer_id, account, amount)
       ORDER BY customer_id COLLATE "C", account COLLATE "C"
     ON CONFLICT (customer_id, account) DO UPDATE SET amount = c.amount + excluded.amount`,
    [
      textArray(rows, ({ customer }) => customer),
      textArray(rows, ({ account }) => account),
      textArray(rows, ({ amount }) => String(amount)),
    ],
  );
}
