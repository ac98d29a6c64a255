/** Answers of the area `usage` (database/questions.ts). */

import type { Answers } from '../../service/database/questions.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { readUsage } from '../database/admin/usage.ts';
import type { Usage } from './usage-schema.ts';
import { monthBegin } from './usage-table.ts';

export const USAGE_AREA = 'usage';

export interface UsageQuestion {
  readonly userId: number;
  /** Months since year 0. */
  readonly month: number;
}

export const monthText = (month: number): string => new Date(monthBegin(month)).toISOString().slice(0, 7);

export const usageAnswers: Answers = {
  async ofUser(link: PostgresLink, { userId, month }: UsageQuestion): Promise<Usage> {
    const [row] = await readUsage(link, monthText(month), userId);
    // Usage outlasts its user.
    if (row === undefined || (row.username === null && row.requests === 0))
      throw serviceErrors.RESOURCE_UNKNOWN({ what: 'user', id: String(userId) });
    const { requests, bytes, monthly_requests, monthly_bytes } = row;
    return {
      user_id: userId,
      month: monthText(month),
      requests,
      bytes,
      quota: { monthly_requests, monthly_bytes },
      reset_at: new Date(monthBegin(month + 1)).toISOString(),
    };
  },
};
