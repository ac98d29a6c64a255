/** Jobs of role api, each once among all processes that share the database. */
import type { Job, JobFrame, Jobs } from '../../service/scheduler.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import { dropOldKeys } from '../accept/old-keys.ts';
import { noteFinding } from '../findings.ts';
import { smsDays } from '../partitions/days.ts';
import type { SmsValues } from '../sms.ts';
import { audit } from './audit.ts';
import type { moneyJobNames } from './job-names.ts';

type Name = (typeof moneyJobNames)[number];
type Run = (link: PostgresLink, frame: JobFrame<SmsValues, unknown>) => Promise<void>;

const KEYS_EVERY_MS = 600_000;
/** After the role partitions, which proves days that are over at 02:00. */
const AUDIT_AT = '03:00';
const AUDIT_MS_MAX = 3_600_000;
const KEYS_MS_MAX = 120_000;
const TOLD_MAX = 20;

const onLink =
  (name: Name, queryTimeoutMs: number, run: Run): Job<SmsValues>['run'] =>
  async (frame) => {
    const applicationName = `ringmain-sms-${name}`;
    const link = await openLink(frame.values.postgres.pgDsn!, { applicationName, queryTimeoutMs, settings: passing });
    try {
      await run(link, frame);
    } finally {
      await link.close();
    }
  };

export default (() => [
  {
    name: 'audit',
    at: AUDIT_AT,
    lock: true,
    run: onLink('audit', AUDIT_MS_MAX, async (link, { log, signal }) => {
      const { customers, transfers, differences } = await audit(link, smsDays, signal);
      await noteFinding(link, 'audit_differences', differences.length);
      if (differences.length === 0) log.info({ customers, transfers }, 'the audit found balances and ledger in order');
      for (const { customer, check, stored, proven, difference } of differences.slice(0, TOLD_MAX))
        log.error({ customer, check, stored, proven, difference }, 'a balance is not what the ledger comes to');
      if (differences.length > TOLD_MAX)
        log.error({ differences: differences.length }, 'more balances differ: ringmain sms audit lists them');
    }),
  },
  {
    name: 'idempotency',
    every: KEYS_EVERY_MS,
    lock: true,
    run: onLink('idempotency', KEYS_MS_MAX, async (link, { values, log, signal }) => {
      const deleted = await dropOldKeys(link, values.accept.idempotencyTtlH, signal);
      if (deleted > 0) log.info({ deleted }, 'deleted idempotency keys that are too old');
    }),
  },
]) satisfies Jobs<SmsValues>;
