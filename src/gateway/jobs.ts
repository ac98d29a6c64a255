/** Jobs of the gateway, each once among all processes that share the database. */
import { now } from '../kernel/clock.ts';
import type { Job, JobFrame, Jobs } from '../service/scheduler.ts';
import { openLink, type PostgresLink } from '../store/postgres/connection.ts';
import { passing } from '../store/postgres/vanishing.ts';
import type { GatewayValues } from './gateway.ts';
import type { GatewayJobName } from './job-names.ts';
import { dropOldLogs, logMonths } from './logs/partitions.ts';
import { collect } from './upload/store.ts';

const HOUR_MS = 3_600_000;
/** Longest statement of a job: a batch of deletes, a move out of the default partition. */
const QUERY_MS = 120_000;

type Run = (link: PostgresLink, frame: JobFrame<GatewayValues, unknown>) => Promise<unknown>;

/** A job with a session that lasts as long as it runs. */
const job = (name: GatewayJobName, run: Run): Job<GatewayValues> => ({
  name,
  every: HOUR_MS,
  // Those that change partitions wait for each other.
  lock: name === 'uploads' ? true : 'partitions',
  run: async (frame) => {
    const applicationName = `ringmain-gateway-${name}`;
    const link = await openLink(frame.values.postgres.pgDsn!, {
      applicationName,
      queryTimeoutMs: QUERY_MS,
      settings: passing,
    });
    try {
      await run(link, frame);
    } finally {
      await link.close();
    }
  },
});

export default (() => [
  job('partitions', (link) => logMonths.make(link)),
  job('retention', async (link, { values, log, signal }) => {
    const { months, rows } = await dropOldLogs(link, values.gateway.logRetentionDays, signal);
    if (months.length + rows > 0) log.info({ months, rows }, 'deleted requests that are too old from the log');
  }),
  job('uploads', async (link, { values, log, signal }) => {
    const { uploadDir, readTimeoutMs } = values.gateway;
    // What is younger may still be received, or be about to get its row.
    const collected = await collect(link, uploadDir, { nowMs: now(), ageMs: HOUR_MS + readTimeoutMs, signal });
    if (collected > 0) log.info({ collected }, 'deleted uploads without an owner, and leftovers');
  }),
]) satisfies Jobs<GatewayValues>;
