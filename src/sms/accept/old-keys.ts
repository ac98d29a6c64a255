/** Deletes idempotency keys of messages that are older than IDEMPOTENCY_TTL_H, a page at a time. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { deletePages } from '../../store/postgres/delete-pages.ts';

const PAGE = 10_000;

// In the order of the index: else each page may be looked for from the begin of the table, past all that is young.
const OLD = `DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM idempotency_keys WHERE created_at < now() - make_interval(hours => $1)
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))`;

/** By the clock of the database. Returns how many were deleted. */
export const dropOldKeys = (
  link: PostgresLink,
  ttlH: number,
  signal?: AbortSignal,
  page: number = PAGE,
): Promise<number> => deletePages(link, OLD, [ttlH, page], page, signal);
