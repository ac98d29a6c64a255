/**
 * Jobs of the role partitions: at 02:00, and at start when that time has passed without a run, once among all processes
 * that share the database.
 */
import type { Jobs } from '../../service/scheduler.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import { noteFinding } from '../findings.ts';
import type { SmsValues } from '../sms.ts';
import { smsDays } from './days.ts';
import { smsPartitionMetrics } from './metrics.ts';
import { proveDays } from './prove.ts';

/** Longest statement: rows of a day that are moved out of the default partition, or the drop of a large table. */
const QUERY_MS = 30 * 60_000;

export default (({ postgres, partitions }) => [
  {
    name: 'partitions',
    at: '02:00',
    lock: true,
    run: async ({ log, signal, meters }) => {
      const gauges = meters(smsPartitionMetrics);
      const link = await openLink(postgres.pgDsn!, {
        applicationName: 'ringmain-sms-partitions',
        queryTimeoutMs: QUERY_MS,
        settings: passing,
      });
      try {
        await smsDays.make(link);
        const { carried, ended } = await proveDays(link, smsDays, signal);
        if (carried.length + ended.length > 0)
          log.info({ carried, ended }, 'days that are over were proved: the audit need not read them again');
        const { archiveDir: folder, retentionDays, ledgerRetentionDays } = partitions;
        if (folder === undefined) return;
        // What writes Parquet is loaded only where there is an archive.
        const { retire } = await import('./retire.ts');
        const retention = { sms_logs: retentionDays, balance_txn: ledgerRetentionDays };
        const { closed, held, archived, dropped } = await retire(link, smsDays, { retention, folder }, signal);
        await noteFinding(link, 'partitions_held', held.length);
        for (const { relation, rows } of archived) {
          const table = relation.startsWith('sms_logs') ? 'sms_logs' : 'balance_txn';
          gauges.ringmain_sms_archived_rows_total.at({ table }).add(rows);
        }
        if (held.length > 0)
          log.warn({ held }, 'days past their retention stay: a message in them has not ended; see runbook');
        if (closed.length + dropped.length > 0)
          log.info({ closed, archived, dropped, folder }, 'days past their retention were archived and dropped');
      } finally {
        await link.close();
      }
    },
  },
]) satisfies Jobs<SmsValues>;
