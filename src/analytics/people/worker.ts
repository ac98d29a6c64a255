/**
 * Worker `people`: logins, sessions and share links (desk.ts). It derives passwords in the thread pool and asks
 * Postgres on a session of its own, so that neither intake nor queries wait for somebody who logs in. It is ready as
 * soon as it runs, as the worker `query` is: while the database is away its questions get STORE_AWAY.
 */
import { once } from 'node:events';
import { Passwords } from '../../access/password.ts';
import type { Worker } from '../../service/contract.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { LinkPool } from '../../store/postgres/pool.ts';
import { passing } from '../../store/postgres/vanishing.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { analyticsErrors } from '../errors.ts';
import { Desk } from './desk.ts';
import type { PeopleQuestion } from './questions.ts';

const CONNECT_MS_MAX = 3000;
const QUERY_MS_MAX = 5000;

export default {
  async run({ values, log, signal, ready, serve }) {
    const { loginMaxAgeMs: maxAgeMs, loginIdleMs: idleMs } = values.analytics;
    const link = new LinkPool({
      open: () =>
        openLink(values.postgres.pgDsn!, {
          connectTimeoutMs: CONNECT_MS_MAX,
          queryTimeoutMs: QUERY_MS_MAX,
          settings: passing,
          applicationName: 'ringmain-analytics-people',
        }),
      sessions: 1,
      away: (cause) => analyticsErrors.STORE_AWAY({}, cause),
    });
    const passwords = new Passwords();
    const desk = new Desk({ link, passwords, log, maxAgeMs, idleMs, nowMs: () => performance.now() });
    serve((question) => desk.answer(question as PeopleQuestion));
    ready();
    if (!signal.aborted) await once(signal, 'abort');
    await link.close();
  },
} satisfies Worker<AnalyticsValues>;
