/** Away: what ClickHouse says that passes by itself, as a client is told it. */
import { ClickHouseError, isPassing } from '../../store/clickhouse/errors.ts';
import { smsErrors } from '../errors.ts';

export function told(error: unknown): unknown {
  // The database or its tables are not made yet.
  const unmade = error instanceof ClickHouseError && (error.code === 60 || error.code === 81);
  return isPassing(error) || unmade ? smsErrors.REPORTS_AWAY({}, error) : error;
}
