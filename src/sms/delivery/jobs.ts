/** Jobs of role worker, each once among all processes that share the database. */
import { now } from '../../kernel/clock.ts';
import type { Job, JobFrame, Jobs } from '../../service/scheduler.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import { dropOldOperatorIds } from '../operators/old-ids.ts';
import type { SmsValues } from '../sms.ts';
import { dropOldDeadLetters } from './dead-letters.ts';
import type { deliveryJobNames } from './job-names.ts';
import { findStranded } from './stranded.ts';

type Name = (typeof deliveryJobNames)[number];
type Run = (link: PostgresLink, frame: JobFrame<SmsValues, unknown>) => Promise<void>;

const STRANDED_EVERY_MS = 60_000;
/** After partitions and audit. */
const CLEANED_AT = '04:00';
const QUERY_MS_MAX = 300_000;

const onLink =
  (name: Name, run: Run): Job<SmsValues>['run'] =>
  async (frame) => {
    const link = await openLink(frame.values.postgres.pgDsn!, {
      applicationName: `ringmain-sms-${name}`,
      queryTimeoutMs: QUERY_MS_MAX,
      settings: passing,
    });
    try {
      await run(link, frame);
    } finally {
      await link.close();
    }
  };

export default (() => [
  {
    name: 'stranded',
    every: STRANDED_EVERY_MS,
    lock: true,
    run: onLink('stranded', async (link, { values, log, signal }) => {
      const found = await findStranded(link, { nowMs: now(), afterS: values.worker.strandedAfterS }, signal);
      if (found > 0)
        log.warn({ messages: found }, 'messages that had reached no queue were put into it: a host was lost?');
    }),
  },
  {
    name: 'operator-ids',
    at: CLEANED_AT,
    lock: true,
    run: onLink('operator-ids', async (link, { log, signal }) => {
      const dropped = await dropOldOperatorIds(link, signal);
      if (dropped > 0) log.info({ dropped }, 'deleted ids of operators that no receipt can bear any more');
    }),
  },
  {
    name: 'dead-letters',
    at: CLEANED_AT,
    lock: true,
    run: onLink('dead-letters', async (link, { log, signal }) => {
      const dropped = await dropOldDeadLetters(link, signal);
      if (dropped > 0) log.info({ dropped }, 'deleted dead letters of days that are archived');
    }),
  },
]) satisfies Jobs<SmsValues>;
