/** Standing: what balances are, of customers that reports name and that may send, and how operators stand. */

import type { Answers } from '../../service/database/questions.ts';
import { readStandings } from '../operators/states.ts';
import type { Balance } from './contract.ts';

export const REPORTS_WORKER = 'reports';
export const STANDING = 'standing';
/** Asked of the worker itself, for ClickHouse has a part in the answer (low-balances.ts). */
export const LOW = 'low';

/** Money and counts are below 2^53 by the checks of the table. */
export const standingAnswers: Answers = {
  operators: (link) => readStandings(link),
  balances: async (link, { customers }: { customers: readonly string[] }) => {
    const { rows } = await link.query<{ [K in keyof Balance]: string }>(
      'SELECT customer_id, name, balance, reserved, waiting FROM customers WHERE customer_id = ANY($1) AND active',
      [customers],
    );
    return rows.map(
      (row): Balance => ({
        customer_id: row.customer_id,
        name: row.name,
        balance: Number(row.balance),
        reserved: Number(row.reserved),
        waiting: Number(row.waiting),
      }),
    );
  },
};
