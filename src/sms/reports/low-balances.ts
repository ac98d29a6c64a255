/**
 * Low balances: of everybody who has spent something of late, those whose balance ends first. ClickHouse knows what was
 * spent, Postgres what is left, so both are asked for all spenders, a page of them at a time. That is work: who asks
 * again soon gets the same answer.
 */
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import { latelyFrom, leftOf, lowestFirst, type Spender, spendingRange } from './balances.ts';
import type { Balance, LowBalance } from './contract.ts';
import { spenders } from './queries.ts';

/** Customers that are looked at: those that spent most in the week. */
const SPENDERS_MAX = 100_000;
/** Customers of a question to Postgres. */
const PAGE = 5000;
/** Rows that are kept: what a report may ask for. */
export const LOWEST_MAX = 1000;
/** It may take a fifth of the time: the answer stands four times as long as it took. */
const SHARE = 4;

export interface Lowest {
  readonly rows: readonly LowBalance[];
  /** Customers that spend, and have nothing left within an hour and within a day at their pace. */
  readonly hour: number;
  readonly day: number;
}

export class LowBalances {
  readonly #client: ClickHouse;
  readonly #balancesOf: (customers: readonly string[]) => Promise<readonly Balance[]>;
  readonly #everyMs: number;
  #last: Lowest | undefined;
  #dueAt = 0;
  #looking: Promise<Lowest> | undefined;

  /** `balancesOf`: of those that may send. `everyMs`: how old an answer is at most, unless it takes long. */
  constructor(
    client: ClickHouse,
    balancesOf: (customers: readonly string[]) => Promise<readonly Balance[]>,
    everyMs: number,
  ) {
    this.#client = client;
    this.#balancesOf = balancesOf;
    this.#everyMs = everyMs;
  }

  /** Rejects with what ClickHouse or Postgres say. */
  lowest(): Promise<Lowest> {
    if (this.#last !== undefined && performance.now() < this.#dueAt) return Promise.resolve(this.#last);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<Lowest> {
    const started = performance.now();
    const [clock] = await this.#client.rows<{ now: number }>('SELECT toUnixTimestamp64Milli(now64(3)) AS now');
    const { now } = clock!;
    const found = await spenders(this.#client, spendingRange(now), latelyFrom(now), SPENDERS_MAX);
    let rows: readonly LowBalance[] = [];
    let [hour, day] = [0, 0];
    for (let at = 0; at < found.length; at += PAGE) {
      const page = found.slice(at, at + PAGE);
      const left = leftOf(page, await this.#balancesOf(page.map(({ customer_id }) => customer_id)), now);
      const spending = spendingOf(page, left);
      hour += spending.filter((days) => days < 1 / 24).length;
      day += spending.filter((days) => days < 1).length;
      rows = lowestFirst([...rows, ...left], LOWEST_MAX);
    }
    const ended = performance.now();
    this.#dueAt = ended + Math.max(this.#everyMs, SHARE * (ended - started));
    this.#last = { rows, hour, day };
    return this.#last;
  }
}

/** Days that are left to those that spend still; one that has stopped needs nobody's haste. */
function spendingOf(page: readonly Spender[], left: readonly LowBalance[]): number[] {
  const spend = new Set(page.filter(({ lately }) => lately > 0).map(({ customer_id }) => customer_id));
  return left.filter(({ customer_id }) => spend.has(customer_id)).map(({ days_left: days }) => days ?? Infinity);
}
