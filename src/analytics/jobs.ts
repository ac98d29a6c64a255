/** Jobs of the processor, each once among all processes that share the database. */
import type { Job, JobFrame, Jobs } from '../service/scheduler.ts';
import { openLink, type PostgresLink } from '../store/postgres/connection.ts';
import { inTurn } from '../store/postgres/in-turn.ts';
import { passing } from '../store/postgres/vanishing.ts';
import type { AnalyticsValues } from './analytics.ts';
import { sealJob } from './columns/job.ts';
import { deleteImportSalts } from './import/salts.ts';
import { deleteOldSalts } from './intake/salts-keeper.ts';
import type { JobName } from './job-names.ts';
import { tidyPeople } from './people/audit.ts';
import { dropWeeks, makePartitions } from './processor/partitions.ts';
import { retain } from './processor/retention.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Longest statement of a job: a batch of deletes, a move out of a default partition. */
const QUERY_MS = 120_000;

type Run = (link: PostgresLink, frame: JobFrame<AnalyticsValues, unknown>) => Promise<unknown>;

export default ((values) => {
  const { postgres } = values;
  /** A job with a session that lasts as long as it runs. */
  const job = (name: JobName, every: number, run: Run): Job<AnalyticsValues> => ({
    name,
    every,
    // Both change partitions: they wait for each other rather than for locks.
    lock: name === 'partitions' || name === 'retention' ? 'partitions' : true,
    run: async (frame) => {
      const applicationName = `ringmain-analytics-${name}`;
      const link = await openLink(postgres.pgDsn!, { applicationName, queryTimeoutMs: QUERY_MS, settings: passing });
      try {
        await run(link, frame);
      } finally {
        await link.close();
      }
    },
  });
  return [
    // Partitions that cannot be made keep no ids: they would pile up for as long as that lasts.
    job('partitions', HOUR_MS, (link, { values, log }) =>
      inTurn(link, [
        () => makePartitions(link),
        async () => {
          const dropped = await dropWeeks(link, values.analytics.eventIdDays);
          if (dropped.length > 0) log.info({ dropped }, 'dropped the ids of events of past weeks');
        },
      ]),
    ),
    job('retention', HOUR_MS, async (link, { values, log, signal }) => {
      const { dropped, deleted } = await retain(link, values.analytics.retentionDays, signal);
      if (dropped.length + deleted > 0) log.info({ dropped, deleted }, 'deleted events that are too old');
    }),
    // A salt is destroyed 48 hours after its day has begun: then nobody can tell any more whose ids it made.
    job('salts', 5 * MINUTE_MS, (link, { due }) =>
      inTurn(link, [() => deleteOldSalts(link, due.getTime()), () => deleteImportSalts(link)]),
    ),
    job('people', HOUR_MS, async (link, { values, log, signal }) => {
      const { auditDays, loginIdleMs: idleMs } = values.analytics;
      const deleted = await tidyPeople(link, { auditDays, idleMs }, signal);
      if (deleted > 0) log.info({ deleted }, 'deleted audit lines that are too old or too many');
    }),
    sealJob(values),
  ];
}) satisfies Jobs<AnalyticsValues>;
