/** Usage: what users have used in a month, as the output `logs` has counted it. */
import type { PostgresLink } from '../../../store/postgres/connection.ts';

export interface UsageRow {
  readonly user_id: number;
  /** null: the user was removed. */
  readonly username: string | null;
  /** YYYY-MM */
  readonly month: string;
  readonly requests: number;
  /** Bodies of answers. */
  readonly bytes: number;
  readonly monthly_requests: number | null;
  readonly monthly_bytes: number | null;
}

/** Rows of all users at most: who was removed has one as well. */
const ROWS_MAX = 200_000;

/** The most bytes first. `month`: YYYY-MM, the present one by default; `userId`: of one user, also when it used nothing. */
export async function readUsage(
  link: PostgresLink,
  month: string | undefined,
  userId: number | undefined,
): Promise<readonly UsageRow[]> {
  const { rows } = await link.query<{ row: UsageRow }>(
    `WITH m AS (SELECT coalesce(to_date($1, 'YYYY-MM'), date_trunc('month', now() AT TIME ZONE 'UTC')::date) AS month),
       ids AS (SELECT $2::bigint AS user_id WHERE $2::bigint IS NOT NULL
         UNION ALL SELECT user_id FROM usage_months JOIN m USING (month) WHERE $2::bigint IS NULL)
     SELECT json_build_object('user_id', user_id, 'username', u.username, 'month', to_char(m.month, 'YYYY-MM'),
       'requests', coalesce(s.requests, 0), 'bytes', coalesce(s.bytes, 0),
       'monthly_requests', q.monthly_requests, 'monthly_bytes', q.monthly_bytes) AS row
     FROM ids CROSS JOIN m LEFT JOIN usage_months s USING (user_id, month) LEFT JOIN users u ON u.id = user_id
     LEFT JOIN quotas q USING (user_id) ORDER BY coalesce(s.bytes, 0) DESC, user_id LIMIT ${ROWS_MAX}`,
    [month, userId],
  );
  return rows.map(({ row }) => row);
}
