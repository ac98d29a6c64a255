/** Schemas of what reports answer; the types stand in contract.ts. Every member is always there. */
import type { BodySchema } from '../../http/json.ts';

const whole = (properties: BodySchema): BodySchema => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
});
const rowsOf = (properties: BodySchema): BodySchema => ({ type: 'array', items: whole(properties) });

const count = { type: 'integer', minimum: 0 } as const;
const text = { type: 'string' } as const;
const time = { type: 'string', format: 'date-time' } as const;
/** Sums over customers and years: contract.ts, Amount. */
const cost = {
  ...count,
  description: 'In all its digits, also beyond 2^53 - 1, where a reader whose numbers are doubles rounds it.',
} as const;
const figures = { accepted: count, sent: count, delivered: count, failed: count, unknown: count, cost } as const;
const ms = { type: ['integer', 'null'] } as const;
const latency = whole({ p50: ms, p95: ms, p99: ms });
const ratio = { type: ['number', 'null'] } as const;
/** What was answered, in whole minutes or days of UTC. */
const range = { from: time, to: time } as const;

export const timeReportSchema: BodySchema = {
  $id: 'time-report',
  ...whole({ customer_id: { type: ['string', 'null'] }, ...range, rows: rowsOf({ time, ...figures }) }),
};

export const operatorReportSchema: BodySchema = {
  $id: 'operator-report',
  ...whole({
    ...range,
    express_deadline_ms: { type: 'integer' },
    rows: rowsOf({
      operator: text,
      type: text,
      ...figures,
      delivery_rate: ratio,
      to_operator_ms: latency,
      to_handset_ms: latency,
    }),
  }),
};

export const topReportSchema: BodySchema = {
  $id: 'top-report',
  ...whole({ ...range, rows: rowsOf({ customer_id: text, ...figures }) }),
};

export const standingReportSchema: BodySchema = {
  $id: 'standing-report',
  ...whole({ rows: rowsOf({ operator: text, workers: count, up: count, open: count, in_flight: count }) }),
};

export const balanceReportSchema: BodySchema = {
  $id: 'balance-report',
  ...whole({
    rows: rowsOf({
      customer_id: text,
      name: text,
      balance: count,
      reserved: count,
      waiting: count,
      cost_per_day: count,
      days_left: ratio,
    }),
  }),
};
