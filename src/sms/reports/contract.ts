/** What reports answer. Plain data, also for browsers. */

/**
 * Money. A balance is at most 2^53 - 1; what all customers have spent in ten years is not bounded by it, and beyond it a
 * sum is a bigint, which JSON gets in all its digits. A browser reads it as the nearest number.
 */
export type Amount = number | bigint;

export interface Figures {
  readonly accepted: number;
  readonly sent: number;
  readonly delivered: number;
  readonly failed: number;
  readonly unknown: number;
  readonly cost: Amount;
}
export interface TimeRow extends Figures {
  readonly time: string;
}
export interface Latency {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}
export interface OperatorRow extends Figures {
  /** '': no operator has them yet, or none had them before they ended. */
  readonly operator: string;
  readonly type: string;
  /** Of what was sent; null: nothing was. */
  readonly delivery_rate: number | null;
  readonly to_operator_ms: Latency;
  readonly to_handset_ms: Latency;
}
export interface CustomerRow extends Figures {
  readonly customer_id: string;
}

export interface Ranged<R> {
  /** RFC 3339, UTC: whole minutes or days. */
  readonly from: string;
  readonly to: string;
  readonly rows: readonly R[];
}

export interface OperatorReport extends Ranged<OperatorRow> {
  /** What is promised to express messages, from acceptance to the operator. */
  readonly express_deadline_ms: number;
}

/** How an operator stands now, over all workers that say so. */
export interface OperatorStanding {
  readonly operator: string;
  /** Processes that have it in OPERATORS; how many of them call it, and have its breaker open or on trial. */
  readonly workers: number;
  readonly up: number;
  readonly open: number;
  /** Messages under way at it. */
  readonly in_flight: number;
}

/** What a customer has. */
export interface Balance {
  readonly customer_id: string;
  readonly name: string;
  readonly balance: number;
  readonly reserved: number;
  readonly waiting: number;
}

export interface LowBalance extends Balance {
  readonly cost_per_day: number;
  /** Null: nothing is spent. */
  readonly days_left: number | null;
}
