/**
 * Usage worker: makes the counters of quotas whole at the start, keeps them so (usage-follower.ts), and sends messages
 * of thresholds (messages.ts).
 *
 * At the start the journal may hold records of earlier lives that no counter knows. They are on their way to the
 * database, by the output `logs`; once it has passed them, the database knows all that was used before. Until then
 * requests of users with a quota are answered with 503; without a backlog that takes some hundred ms. While the
 * database is away afterwards, each gateway goes on with what it knows and with what it counts itself.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { now, systemClock } from '../../kernel/clock.ts';
import { Transitions } from '../../kernel/log.ts';
import type { Meters } from '../../kernel/metrics.ts';
import type { Worker, WorkerJournal } from '../../service/contract.ts';
import { openLink, type PostgresLink } from '../../store/postgres/connection.ts';
import { describeFault } from '../../store/postgres/fault.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import type { GatewayValues } from '../gateway.ts';
import type { GatewayShared } from '../shared.ts';
import { QuotaMessages } from './messages.ts';
import { quotaMetrics } from './metrics.ts';
import { UsageFollower } from './usage-follower.ts';
import { UsageTable } from './usage-table.ts';

const LOGS_OUTPUT = 'logs';
const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 10_000;
/** With the time for which records wait for others in the load's batch, this stays below a second. */
const LOOK_MS = 300;
/** A look that reads so many rows is followed by a pause of LOOK_SHARE times its duration, */
const ROWS_MANY = 2000;
const LOOK_SHARE = 20;
/** and by no longer one: what made it wait for seconds, a lock or a busy database, is no cost of its own. */
const PAUSE_MS_MAX = 5000;
const WAIT_MS = 25;

/** Resolves when the output has passed what lay in the journal when it was first seen. */
async function untilPassed({ outputs }: WorkerJournal, signal: AbortSignal): Promise<void> {
  let all: number | undefined;
  while (!signal.aborted) {
    const standing = outputs().find(({ name }) => name === LOGS_OUTPUT);
    if (standing !== undefined) {
      all ??= standing.passed + standing.lag;
      if (standing.passed >= all) return;
    }
    await pause(WAIT_MS, signal);
  }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  delay(ms, undefined, { signal }).catch(() => undefined);

/** Ms between a look that has read so many rows in so many ms and the next one. @internal for tests */
export const pauseAfter = (rows: number, tookMs: number): number =>
  rows < ROWS_MANY ? LOOK_MS : Math.min(PAUSE_MS_MAX, Math.max(LOOK_MS, LOOK_SHARE * tookMs));

interface Rounds {
  readonly dsn: NonNullable<GatewayValues['postgres']['pgDsn']>;
  readonly signal: AbortSignal;
  readonly told: Transitions;
  readonly away: string;
  readonly back: string;
}

/**
 * Does a round of work every LOOK_MS, on a session of its own that is opened anew after a failure; `work` returns how
 * many rows it has read. Never rejects.
 */
async function rounds(
  { dsn, signal, told, away, back }: Rounds,
  work: (link: PostgresLink) => Promise<number>,
): Promise<void> {
  let link: PostgresLink | undefined;
  while (!signal.aborted) {
    const begin = systemClock.elapsed();
    let rows = 0;
    try {
      link ??= await openLink(dsn, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName: 'ringmain-gateway-usage',
        settings: passing,
      });
      rows = await work(link);
      told.up(away, back);
    } catch (error) {
      told.down(away, away, { reason: describeFault(error) });
      await link?.close();
      link = undefined;
    }
    told.look();
    const took = systemClock.elapsed() - begin;
    await pause(pauseAfter(rows, took), signal);
  }
  await link?.close();
}

export default {
  async run({ values, shared, log, signal, meters, journal, ready, away }) {
    const table = new UsageTable(shared.usage);
    const told = new Transitions(log);
    if (table.known) ready();
    else {
      away('what earlier lives have left in the journal is not counted yet');
      if (values.sinks.outputs.includes(LOGS_OUTPUT)) await untilPassed(journal, signal);
    }
    // Its options are checked: without a DSN the gateway does not start.
    const session = { dsn: values.postgres.pgDsn!, signal, told };
    const follower = new UsageFollower(table, now, systemClock.elapsed);
    const messages = messagesOf(values, meters(quotaMetrics), told);
    const follow = rounds(
      {
        ...session,
        away: 'what other gateways have counted cannot be read; quotas go by what this one knows',
        back: 'what other gateways have counted is read again',
      },
      async (link) => {
        const looked = await follower.look(link);
        if (!table.known) {
          table.setKnown();
          ready();
        }
        await messages?.note(link, looked);
        return looked.rows;
      },
    );
    const send =
      messages === undefined
        ? undefined
        : rounds(
            { ...session, away: 'quota messages cannot be read', back: 'quota messages are read again' },
            async (link) => {
              await messages.send(link, signal);
              return 0;
            },
          );
    await Promise.all([follow, send]);
  },
} satisfies Worker<GatewayValues, GatewayShared>;

/** Undefined: there is nobody to send messages to. */
function messagesOf(
  { gateway }: GatewayValues,
  { ringmain_gateway_quota_messages_total: counts }: Meters<typeof quotaMetrics>,
  told: Transitions,
): QuotaMessages | undefined {
  const { quotaWebhookUrl: url, quotaWebhookSecret: secret } = gateway;
  if (url === undefined) return undefined;
  return new QuotaMessages({
    url,
    secret,
    now,
    sent: counts.at({ outcome: 'sent' }),
    failed: counts.at({ outcome: 'failed' }),
    givenUp: counts.at({ outcome: 'given_up' }),
    told(reason) {
      if (reason === undefined) told.up('messages', 'the receiver of quota messages answers again');
      else told.down('messages', 'a quota message was not delivered; it is sent again', { reason });
    },
  });
}
