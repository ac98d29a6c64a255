/**
 * Worker `relay` of the API: the relay (relay.ts), what is to be seen of the outbox, what the last audit found, and
 * whether workers send for everybody. It stays ready while the log or Kafka takes nothing, and while nobody sends:
 * messages are accepted all the same, and wait. Gauges and alerts say so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { now } from '../../kernel/clock.ts';
import type { Worker } from '../../service/contract.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import { byIndex } from '../by-index.ts';
import { unownedShards } from '../delivery/ownership.ts';
import { readFinding } from '../findings.ts';
import { moneyMetrics } from '../money/metrics.ts';
import type { SmsValues } from '../sms.ts';
import { outboxMetrics } from './metrics.ts';
import { Relay } from './relay.ts';

const LOOK_MS = 1000;
/** A transaction of the relay waits for the disk of the log; its rows wait with it. */
const IDLE_MS_MAX = 30_000;
const ROWS_COUNTED = 100_000;
/** Looks between two at the locks of the whole server. */
const LOOKS_PER_SHARDS = 5;

export default {
  async run({ values, log, signal, meters, ready, lane, publish }) {
    if (lane === undefined) throw new TypeError('the relay must have a lane: an output must read records of the API');
    const cells = meters(outboxMetrics);
    const published = cells.ringmain_sms_outbox_records_total.at();
    const open = () =>
      openLink(values.postgres.pgDsn!, {
        applicationName: 'ringmain-sms-relay',
        settings: { ...byIndex, ...vanishing(IDLE_MS_MAX) },
      });
    const relay = new Relay({
      open,
      lane,
      publish: () => publish(values.outbox.ack),
      log,
      published: (records) => published.add(records),
      now,
    });
    ready();
    const differences = meters(moneyMetrics).sms_audit_differences.at();
    await Promise.all([relay.run(signal), watch(open, signal, cells, differences)]);
  },
} satisfies Worker<SmsValues>;

type Cells = Parameters<typeof tell>[0];

/** Looks at the outbox once a second, on a session of its own: the relay's may wait for the lane. */
async function watch(
  open: () => Promise<PostgresLink>,
  signal: AbortSignal,
  cells: Cells,
  differences: { set(value: number): void },
): Promise<void> {
  let link: PostgresLink | undefined;
  let sinceMs: number | undefined;
  let oldest: string | undefined;
  for (let look = 0; !signal.aborted; look += 1) {
    try {
      link ??= await open();
      if (look % LOOKS_PER_SHARDS === 0) cells.ringmain_sms_shards_unowned.at().set(await unownedShards(link));
      const { rows } = await link.query<{ oldest: string | null; rows: string }>(
        `SELECT min(id) AS oldest, count(*) AS rows FROM (SELECT id FROM sms_outbox ORDER BY id LIMIT ${ROWS_COUNTED}) o`,
      );
      const [found] = rows;
      const first = found?.oldest ?? undefined;
      // The same row is still the first one: it has waited since it was seen first.
      if (first === undefined || first !== oldest) sinceMs = first === undefined ? undefined : performance.now();
      oldest = first;
      tell(cells, Number(found?.rows ?? 0), sinceMs === undefined ? 0 : (performance.now() - sinceMs) / 1000);
      differences.set(await readFinding(link, 'audit_differences'));
    } catch {
      // The relay says so; what was seen stays.
      await link?.close();
      link = undefined;
    }
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  await link?.close();
}

function tell(
  cells: {
    readonly ringmain_sms_outbox_rows: { at(): { set(value: number): void } };
    readonly ringmain_sms_outbox_oldest_seconds: { at(): { set(value: number): void } };
    readonly ringmain_sms_shards_unowned: { at(): { set(value: number): void } };
  },
  rows: number,
  seconds: number,
): void {
  cells.ringmain_sms_outbox_rows.at().set(rows);
  cells.ringmain_sms_outbox_oldest_seconds.at().set(seconds);
}
