/**
 * Balances: whose balance ends soonest, by what was spent of late. Of a customer that spends, that is since yesterday
 * began; of one that has stopped, since a week before today: it may have stopped because nothing was left.
 */

import { byText } from '../../kernel/by-text.ts';
import type { Balance, LowBalance } from './contract.ts';
import { DAY_MS, type Range } from './range.ts';

/** What a customer has spent: in the whole range, and of it since yesterday began. */
export interface Spender {
  readonly customer_id: string;
  readonly spent: number;
  readonly lately: number;
}

const todayOf = (nowMs: number): number => Math.floor(nowMs / DAY_MS) * DAY_MS;

/** Begin of yesterday, UTC. */
export const latelyFrom = (nowMs: number): number => todayOf(nowMs) - DAY_MS;

/** Today and the seven days before it, whole days of UTC. */
export const spendingRange = (nowMs: number): Range => ({
  from: todayOf(nowMs) - 7 * DAY_MS,
  to: todayOf(nowMs) + DAY_MS,
});

function perDay({ spent, lately }: Spender, nowMs: number): number {
  const [cost, from] = lately > 0 ? [lately, latelyFrom(nowMs)] : [spent, spendingRange(nowMs).from];
  return (cost * DAY_MS) / (nowMs - from);
}

/** What is left of balances at the pace of their customers. All of `spenders` have spent something. */
export function leftOf(spenders: readonly Spender[], balances: readonly Balance[], nowMs: number): LowBalance[] {
  const paces = new Map(spenders.map((spender) => [spender.customer_id, perDay(spender, nowMs)]));
  return balances.map((balance) => {
    const pace = paces.get(balance.customer_id)!;
    return { ...balance, cost_per_day: Math.round(pace), days_left: balance.balance / pace };
  });
}

/**
 * Those whose balance ends first; of equals, such as those that have none, who spent most, and then by their ids: the
 * same order each time, whatever order the rows come in.
 */
export const lowestFirst = (rows: readonly LowBalance[], limit: number): readonly LowBalance[] =>
  [...rows]
    .sort(
      (a, b) =>
        (a.days_left ?? Infinity) - (b.days_left ?? Infinity) ||
        b.cost_per_day - a.cost_per_day ||
        byText(a.customer_id, b.customer_id),
    )
    .slice(0, limit);
