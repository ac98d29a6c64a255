/** Statement: the transfers of a customer, as the ledger has them, the newest first. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { smsErrors } from '../errors.ts';

export const transferKinds = ['credit', 'debit', 'reserve', 'capture', 'refund'] as const;

export interface Transfer {
  /** A whole number as text: larger ones are later. */
  readonly transaction_id: string;
  /** When its transaction began. */
  readonly at: string;
  readonly kind: (typeof transferKinds)[number];
  readonly amount: number;
  /** What it did to the balance: a capture takes what was reserved before, and changes nothing. */
  readonly balance_change: number;
  /** null: no message is behind it. */
  readonly message_id: string | null;
}

export interface Statement {
  readonly transactions: readonly Transfer[];
  readonly next_cursor: string | null;
}

/** Whether the text may be the id of a transfer. */
export const isTransferId = (text: string): boolean => /^\d{1,18}$/.test(text);

interface Row extends Record<string, unknown> {
  readonly id: string;
  readonly created_at: Date;
  readonly kind: Transfer['kind'];
  readonly amount: string;
  readonly change: string;
  readonly message_id: string | null;
}

/**
 * Transfers of the days that are in the database (LEDGER_RETENTION_DAYS). `before`: an id; its own transfer is left out.
 * Throws CUSTOMER_UNKNOWN.
 */
export async function readStatement(
  link: PostgresLink,
  { customerId, limit, before }: { customerId: string; limit: number; before: string | undefined },
): Promise<Statement> {
  const { rows } = await link.query<Row>(
    `SELECT id, created_at, kind, amount, message_id,
       CASE 'available' WHEN credit THEN amount WHEN debit THEN -amount ELSE 0 END AS change
     FROM balance_txn WHERE customer_id = $1 AND id < $2 AND kind <> 'carry' ORDER BY id DESC LIMIT $3`,
    [customerId, before ?? ID_MAX, limit + 1],
  );
  if (rows.length === 0) {
    const { rowCount } = await link.query('SELECT FROM customers WHERE customer_id = $1', [customerId]);
    if (rowCount === 0) throw smsErrors.CUSTOMER_UNKNOWN({ customer: customerId });
  }
  const page = rows.slice(0, limit);
  return {
    transactions: page.map(({ id, created_at: created, kind, amount, change, message_id }) => ({
      ...{ transaction_id: id, at: created.toISOString(), kind, amount: Number(amount) },
      ...{ balance_change: Number(change), message_id },
    })),
    next_cursor: rows.length > limit ? page.at(-1)!.id : null,
  };
}

/** Behind every id. */
const ID_MAX = String(2n ** 63n - 1n);
