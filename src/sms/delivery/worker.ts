/**
 * Worker `delivery`: hands messages to operators (delivery.ts), and takes the receipts that come over their
 * connections. /readyz is red while the database is away, because nothing is sent then; an operator that is away makes
 * it not red.
 */
import { once } from 'node:events';
import { now } from '../../kernel/clock.ts';
import type { Worker } from '../../service/contract.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import { byIndex } from '../by-index.ts';
import { openRouting } from '../operators/routing.ts';
import { StateTeller, TELL_MS } from '../operators/states.ts';
import type { SmsValues } from '../sms.ts';
import { Delivery } from './delivery.ts';
import { deliveryMetrics, handOverMetrics } from './metrics.ts';
import { promiseOf } from './promise.ts';
import { ReceiptDesk } from './receipt-desk.ts';
import { tellMeters, tellReceipts } from './told.ts';

const GAUGES_MS = 250;
const QUEUE_ROWS_MS = 5000;
/** Customers whose messages are being settled wait for it, and cannot send. */
const IDLE_MS_MAX = 10_000;
/** Part of DRAIN_TIMEOUT that calls have to end. */
const DRAIN_PART = 0.5;

export default {
  async run({ values, log, signal, meters, ready, away }) {
    if (values.operators.operators.length === 0) {
      log.warn('OPERATORS names no operator: messages wait until a worker has one');
      ready();
      if (!signal.aborted) await once(signal, 'abort');
      return;
    }
    const cells = meters(deliveryMetrics);
    const open = (purpose: string) =>
      openLink(values.postgres.pgDsn!, {
        applicationName: `ringmain-sms-${purpose}`,
        queryTimeoutMs: 30_000,
        settings: { ...byIndex, ...vanishing(IDLE_MS_MAX) },
        // An attempt that a crash of the server takes back is made once more, though the operator has the message; a
        // receipt that it takes back does not come again.
        durable: true,
      });
    away('no shard of customers is held yet');
    const handOvers = meters(handOverMetrics);
    const desk = new ReceiptDesk({
      open: () => open('receipts'),
      express: promiseOf(values.worker),
      told: tellReceipts(handOvers),
    });
    const routing = await openRouting(values, {
      log,
      expressShare: values.worker.expressShare / 100,
      receive: (receipt) => desk.take(receipt),
      meters,
    });
    const delivery = new Delivery({
      open,
      routing,
      config: values.worker,
      log,
      told: tellMeters(cells, handOvers),
      standing: (reason) => (reason === undefined ? ready() : away(reason)),
      now,
    });
    const gauges = setInterval(() => {
      const { waiting, customers, calls, unsettled, shards } = delivery.figures;
      for (const lane of ['normal', 'express'] as const) {
        cells.ringmain_sms_worker_waiting.at({ lane }).set(waiting[lane]);
        cells.ringmain_sms_worker_customers.at({ lane }).set(customers[lane]);
      }
      cells.ringmain_sms_worker_calls.at().set(calls);
      cells.ringmain_sms_worker_unsettled.at().set(unsettled);
      cells.ringmain_sms_worker_shards.at().set(shards);
    }, GAUGES_MS);
    const rows = setInterval(
      () => void countRows(open, (count) => cells.ringmain_sms_queue_rows.at().set(count)),
      QUEUE_ROWS_MS,
    );
    const states = new StateTeller(() => open('operator-states'), routing.operators);
    void states.tell();
    const telling = setInterval(() => void states.tell(), TELL_MS);
    await delivery.run(signal, values.service.drainTimeoutMs * DRAIN_PART);
    clearInterval(gauges);
    clearInterval(rows);
    clearInterval(telling);
    await states.close();
    await routing.close();
    await desk.close();
  },
} satisfies Worker<SmsValues>;

/** An estimate by the statistics of the table: counting millions of rows would cost more than it tells. */
async function countRows(
  open: (purpose: string) => Promise<PostgresLink>,
  tell: (rows: number) => void,
): Promise<void> {
  let link: PostgresLink | undefined;
  try {
    link = await open('figures');
    const { rows } = await link.query<{ rows: string }>(
      `SELECT n_live_tup AS rows FROM pg_stat_user_tables WHERE relid = 'sms_queue'::regclass`,
    );
    tell(Number(rows[0]?.rows ?? 0));
  } catch {
    // The loops of the delivery say that the database is away.
  } finally {
    await link?.close();
  }
}
