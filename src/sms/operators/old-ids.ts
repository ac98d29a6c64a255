/** Deletes ids of operators for which no receipt is to be expected any more (sms_operator_ids). */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { deletePages } from '../../store/postgres/delete-pages.ts';

/** Operators try for as long as a message is valid, which is at most a week. */
const KEPT_DAYS = 8;
const PAGE = 10_000;

// In the order of the index: else each page may be looked for from the begin of the table, past all that is young.
const OLD = `DELETE FROM sms_operator_ids WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM sms_operator_ids WHERE created_at < now() - make_interval(days => $1)
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))`;

/** Returns how many were deleted. */
export const dropOldOperatorIds = (link: PostgresLink, signal?: AbortSignal): Promise<number> =>
  deletePages(link, OLD, [KEPT_DAYS, PAGE], PAGE, signal);
