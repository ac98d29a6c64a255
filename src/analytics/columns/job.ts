/** The job that seals days (seal.ts), once among all processes that share the database. */
import type { Job } from '../../service/scheduler.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { dayOf } from '../dimensions.ts';
import { Rest, sealDays } from './seal.ts';

const MINUTE_MS = 60_000;
/** A day is over this much after midnight: most of what comes late has come by then, and it is sealed once. */
const SETTLE_MS = 15 * MINUTE_MS;
const DAYS_MAX = 1000;
/** Postgres sorts a day of many millions of events. */
const QUERY_MS_MAX = 10 * MINUTE_MS;

export function sealJob({ analytics, postgres }: AnalyticsValues): Job<AnalyticsValues> {
  const rest = new Rest();
  return {
    name: 'columns',
    every: MINUTE_MS,
    lock: true,
    run: async ({ due, signal }) => {
      const link = await openLink(postgres.pgDsn!, {
        applicationName: 'ringmain-analytics-columns',
        queryTimeoutMs: QUERY_MS_MAX,
        // Between its statements it only puts a day into columns.
        settings: vanishing(QUERY_MS_MAX),
      });
      try {
        await sealDays(link, {
          today: dayOf(due.getTime() - SETTLE_MS),
          retentionDays: analytics.retentionDays,
          gapMs: analytics.sessionTimeoutMs,
          daysMax: DAYS_MAX,
          rest,
          signal,
        });
      } finally {
        await link.close();
      }
    },
  };
}
