/** Callback worker: tells customers what became of their messages (courier.ts), on a session of its own. */
import { setTimeout as delay } from 'node:timers/promises';
import { now, systemClock } from '../../kernel/clock.ts';
import { Transitions } from '../../kernel/log.ts';
import type { Worker } from '../../service/contract.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { vanishing } from '../../store/postgres/vanishing.ts';
import { byIndex } from '../by-index.ts';
import type { SmsValues } from '../sms.ts';
import { Courier } from './courier.ts';
import { callbackMetrics } from './metrics.ts';
import { expireCallbacks, waitingCallbacks } from './queue.ts';
import { Receivers } from './receivers.ts';
import type { CallbackSender } from './sender.ts';

const LOOK_MS = 200;
const RECONNECT_MS = 1000;
const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 10_000;
const CHORES_MS = 15_000;
const COUNTED_MAX = 100_000;
/** A claim outlasts its callback, and the time until that is written down. */
const LEASE_MS = 30_000;
/** What is under way when the drain begins may end for so long. */
const DRAIN_MS = 3000;

export default {
  async run({ values, log, signal, meters, ready, away }) {
    const { callbackAllowPrivate: allowPrivate, callbackTimeoutMs: timeoutMs, ...options } = values.callbacks;
    const cells = meters(callbackMetrics);
    const outcomes = cells.ringmain_sms_callbacks_total;
    const inFlight = cells.ringmain_sms_callbacks_in_flight.at();
    const told = new Transitions(log);
    // Its client of HTTP is loaded with the first callback: most processes start without one that is due.
    let opened: Promise<CallbackSender> | undefined;
    const open = async () => new (await import('./sender.ts')).CallbackSender({ allowPrivate, timeoutMs, now });
    const sender: Pick<CallbackSender, 'send'> = {
      async send(outgoing, abort) {
        opened ??= open();
        return (await opened).send(outgoing, abort);
      },
    };
    const stop = new AbortController();
    const courier = new Courier({
      sender,
      receivers: new Receivers(),
      concurrency: options.callbackConcurrency,
      leaseMs: timeoutMs + LEASE_MS,
      retryMs: options.callbackRetryMs,
      ended: (outcome) => outcomes.at({ outcome }).add(1),
    });
    let link: PostgresLink | undefined;
    let choresMs = systemClock.elapsed();

    const chores = async (open: PostgresLink): Promise<void> => {
      if (systemClock.elapsed() < choresMs) return;
      choresMs = systemClock.elapsed() + CHORES_MS;
      outcomes.at({ outcome: 'given_up' }).add(await expireCallbacks(open, options.callbackRetryMs));
      const { rows, ageS } = await waitingCallbacks(open, COUNTED_MAX);
      cells.ringmain_sms_callbacks_waiting.at().set(rows);
      cells.ringmain_sms_callbacks_oldest_seconds.at().set(ageS);
    };
    /** Whether there was anything to do. */
    const round = async (): Promise<boolean> => {
      link ??= await openLink(values.postgres.pgDsn!, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName: 'ringmain-sms-callbacks',
        settings: { ...byIndex, ...vanishing(QUERY_MS_MAX) },
      });
      await chores(link);
      const busy = await courier.round(link, stop.signal);
      told.up('queue', 'the queue of callbacks is read again');
      ready();
      return busy;
    };

    while (!signal.aborted) {
      try {
        const busy = await round();
        inFlight.set(courier.running);
        if (!busy) await courier.wait(LOOK_MS);
      } catch (error) {
        const reason = describeFault(error);
        told.down('queue', 'the queue of callbacks cannot be read', { reason });
        away(reason);
        await link?.close();
        link = undefined;
        await delay(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
      }
      told.look();
    }
    const late = setTimeout(() => stop.abort(), DRAIN_MS);
    await courier.idle();
    clearTimeout(late);
    // Without it they are sent again when their lease is over.
    if (link !== undefined) await courier.settle(link).catch(() => undefined);
    await link?.close();
    await (await opened)?.close();
  },
} satisfies Worker<SmsValues>;
