/** Errors of events: bodies and items that do not follow the event model. */
import { answer, defineErrors } from '../kernel/errors.ts';

interface Limit {
  readonly bytes: number;
  readonly limit: number;
}

export const eventErrors = defineErrors('events', {
  INVALID_JSON: answer(
    400,
    false,
    'The body is not valid JSON',
    (f: { offset: number; reason: string }) => `body must be valid JSON: ${f.reason} at byte ${f.offset}`,
  ),
  INVALID_BODY: answer(
    400,
    false,
    'The body contains no event',
    (f: { found: string }) => `body must be an event object or an array of them: found=${f.found}`,
  ),
  INVALID_EVENT: answer(
    400,
    false,
    'An event is not valid',
    (f: { field: string; must: string; found: string }) => `${f.field} must be ${f.must}: found=${f.found}`,
  ),
  NO_VALID_EVENT: answer(
    400,
    false,
    'No event of the batch is valid',
    (f: { rejected: number; first: string }) =>
      `at least one event must be valid: rejected=${f.rejected}, first=${f.first}`,
  ),
  EVENT_TOO_LARGE: answer(
    413,
    false,
    'An event is too large',
    (f: Limit) => `event exceeds the limit: bytes=${f.bytes}, limit=${f.limit}`,
  ),
  BATCH_TOO_LARGE: answer(
    413,
    false,
    'The batch is too large',
    (f: Limit) => `batch exceeds the limit: bytes=${f.bytes}, limit=${f.limit}`,
  ),
});
