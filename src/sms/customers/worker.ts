/**
 * Callers worker: follows the keys of customers in the database for the acceptors (known-keys.ts), so that no request
 * waits for Postgres to know who it is and a revoked key is refused everywhere within a second; answers administration.
 * A change that is made here is read before it is answered, so it holds in this process at once.
 */
import type { ChangesQuestion } from '../../service/change-copy.ts';
import { ChangeFollower } from '../../service/change-follower.ts';
import type { Worker } from '../../service/contract.ts';
import { openAnswering } from '../../service/database/answering.ts';
import type { Question } from '../../service/database/questions.ts';
import { effectiveAcceptors } from '../../service/effective.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { sessionsEach } from '../connections.ts';
import type { SmsValues } from '../sms.ts';
import { adminAnswers, changesKeys } from './answers.ts';
import { type KeyItem, readKeys } from './known-keys.ts';
import { ADMIN_AREA, KEYS_AREA } from './questions.ts';

const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 5000;
const LOOK_MS = 500;
/** A database that is back is followed within this time: keys may have been revoked meanwhile. */
const RETRY_MS_MAX = 1000;
const KEYS_MAX = 2_000_000;
/** Who changed something waits for it to be read at most so long; then the answer goes out all the same. */
const SETTLE_MS_MAX = 1000;

export default {
  async run({ values, log, signal, ready, away, serve }) {
    // The start is refused without a DSN.
    const dsn = values.postgres.pgDsn!;
    away('keys of customers have not been read yet');
    const follower = new ChangeFollower<KeyItem>({
      open: () =>
        openLink(dsn, {
          connectTimeoutMs: CONNECT_MS_MAX,
          queryTimeoutMs: QUERY_MS_MAX,
          applicationName: 'ringmain-sms-callers',
        }),
      log,
      channel: 'key_changes',
      table: 'key_changes',
      read: readKeys,
      nameOf: ({ id }) => id,
      itemsMax: KEYS_MAX,
      lookMs: LOOK_MS,
      retryMsMax: RETRY_MS_MAX,
      words: {
        name: 'keys of customers',
        away: (held) =>
          `keys of customers cannot be read; ${held ? 'those that were read last stay in force' : 'every key is refused'}`,
        back: 'keys of customers are read',
      },
      began(items, first) {
        if (!first) return;
        let keys = 0;
        for (const { value } of items) if (value !== null) keys += 1;
        log.info({ keys }, keys === 0 ? 'there is no key yet (ringmain sms key add)' : 'keys of customers are read');
        ready();
      },
    });
    const answering = openAnswering({
      dsn,
      applicationName: 'ringmain-sms-admin',
      ...sessionsEach(values.connections, effectiveAcceptors(values)),
      areas: { [ADMIN_AREA]: adminAnswers(values.access.keyPepper) },
      log,
    });
    serve(async (asked) => {
      const { area, what, input } = asked as Question;
      if (area === KEYS_AREA) return follower.answer(input as ChangesQuestion);
      const answer = await answering.answer(asked);
      if (changesKeys.has(what)) await within(SETTLE_MS_MAX, follower.look());
      return answer;
    });
    await follower.run(signal);
    await answering.close();
  },
} satisfies Worker<SmsValues>;

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
