/** The desk of receipts of an acceptor: a session of its own, opened with the first receipt. */
import type { AcceptorFrame } from '../../service/contract.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import { byIndex } from '../by-index.ts';
import { handOverMetrics } from '../delivery/metrics.ts';
import { promiseOf } from '../delivery/promise.ts';
import { ReceiptDesk } from '../delivery/receipt-desk.ts';
import { tellReceipts } from '../delivery/told.ts';
import type { SmsValues } from '../sms.ts';

const CONNECT_MS_MAX = 3000;
/** Below the time in which a route must answer. */
const QUERY_MS_MAX = 8000;

export const deskOf = ({ values, meters }: Pick<AcceptorFrame<SmsValues>, 'values' | 'meters'>): ReceiptDesk =>
  new ReceiptDesk({
    express: promiseOf(values.worker),
    told: tellReceipts(meters(handOverMetrics)),
    open: () =>
      openLink(values.postgres.pgDsn!, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName: 'ringmain-sms-receipts',
        settings: { ...byIndex, ...vanishing(QUERY_MS_MAX) },
        // The operator does not send again what was answered with 200.
        durable: true,
      }),
  });
