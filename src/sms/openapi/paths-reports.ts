/** Paths of the document that the role reporting answers, at REPORTING_ADDR. */
import { customerIdSchema } from '../customers/schemas.ts';
import { exportFormats } from '../reports/export.ts';
import { always, answer, asked, content, inQuery, type Json, json, readers } from './parts.ts';

const time = { type: 'string', format: 'date-time' } as const;
const range = [inQuery('from', 'Not before this time.', time, true), inQuery('to', 'Before this time.', time, true)];
const customer = inQuery(
  'customer_id',
  'Whose; a key of a customer asks for its own, also when it is left out. Administrators: all of them.',
  customerIdSchema,
);
const limit = inQuery('limit', 'Rows.', { type: 'integer', minimum: 1 });
/** They are served elsewhere than the other paths. */
const servers = [{ url: '/', description: 'The role reporting: REPORTING_ADDR, port 8081 by default.' }];
const file = { type: 'string', format: 'binary' } as const;

const report = (
  operationId: string,
  summary: string,
  ok: Json,
  parameters: readonly Json[],
  everybody = false,
): Json => ({
  get: {
    ...asked(operationId, {
      tag: 'reports',
      summary,
      ok: { 200: ok },
      refused: [...always, 403],
      ...(everybody ? { security: readers } : {}),
      more: { parameters },
    }),
    servers,
  },
});

export const reportPaths: Json = {
  '/v1/reports/minute': report(
    'reportMinutes',
    'Messages, outcomes and cost by minute.',
    answer('The minutes that have messages.', json('TimeReport')),
    [...range, customer],
    true,
  ),
  '/v1/reports/day': report(
    'reportDays',
    'Messages, outcomes and cost by day of UTC.',
    answer('The days that have messages.', json('TimeReport')),
    [...range, customer],
    true,
  ),
  '/v1/reports/operators': report(
    'reportOperators',
    'Delivery rates and latencies by operator and lane.',
    answer('The operators.', json('OperatorReport')),
    range,
  ),
  '/v1/reports/top': report(
    'reportTop',
    'The customers with the most messages.',
    answer('The customers, the one with the most first.', json('TopReport')),
    [...range, limit],
  ),
  '/v1/reports/balances': report(
    'reportBalances',
    'Balances that last the fewest days, by what was spent since yesterday began; of who has stopped, in the week before.',
    answer('The customers, the poorest first.', json('BalanceReport')),
    [limit],
  ),
  '/v1/reports/standing': report(
    'reportStanding',
    'How operators stand now, by what workers say.',
    answer('The operators of all workers; `open`: workers whose breaker is open or on trial.', json('StandingReport')),
    [],
  ),
  '/v1/export': report(
    'exportMessages',
    'A row for each message, streamed.',
    answer(
      'The rows.',
      Object.assign(
        {},
        ...['text/csv', 'application/x-ndjson', 'application/vnd.apache.parquet'].map((type) => content(type, file)),
      ),
    ),
    [...range, customer, inQuery('format', 'Of the file.', { type: 'string', enum: [...exportFormats] })],
    true,
  ),
};
