/** Reader: the sessions on which an acceptor reads messages and balances, beside the one that accepts. */
import type { AcceptorFrame } from '../../service/contract.ts';
import { effectiveAcceptors } from '../../service/effective.ts';
import { serviceErrors } from '../../service/errors.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { LinkPool } from '../../store/postgres/pool.ts';
import { sessionsEach } from '../connections.ts';
import type { SmsValues } from '../sms.ts';

const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 6000;

export function openReader({ values, log }: Pick<AcceptorFrame<SmsValues>, 'values' | 'log'>): LinkPool {
  return new LinkPool({
    open: () =>
      openLink(values.postgres.pgDsn!, {
        connectTimeoutMs: CONNECT_MS_MAX,
        queryTimeoutMs: QUERY_MS_MAX,
        applicationName: 'ringmain-sms-read',
      }),
    ...sessionsEach(values.connections, effectiveAcceptors(values)),
    away: (cause) => serviceErrors.DATABASE_UNAVAILABLE({}, cause),
    told(away) {
      if (away === undefined) log.info('the database answers again: messages and balances are read');
      else log.warn({ reason: away }, 'the database cannot be reached: messages and balances are not read');
    },
  });
}
