/**
 * Registry worker: keeps what acceptors must know of the database, so that no request waits for Postgres.
 *
 *   salts   intake/salts-keeper.ts, in memory that they share
 *   names   of regions, which acceptors have learned (intake/region-names.ts)
 *   sites   access/site-registry.ts; acceptors ask for what has changed (access/guard-feed.ts). Not with ACCESS=open
 *
 * It is ready when the sites have been read once: an installation that has sites is not open because its database is
 * away. From then on intake goes on with what is known, whether Postgres is there or not.
 */
import type { Worker } from '../service/contract.ts';
import { openLink } from '../store/postgres/connection.ts';
import { SITES, type SitesRequest } from './access/guard-feed.ts';
import { SiteRegistry } from './access/site-registry.ts';
import type { AnalyticsShared, AnalyticsValues } from './analytics.ts';
import { NAMES, type NamesQuestion, storeNames } from './intake/region-names.ts';
import { SaltsKeeper } from './intake/salts-keeper.ts';

const CONNECT_MS_MAX = 5000;
const QUERY_MS_MAX = 5000;

export default {
  async run({ values, shared, log, signal, ready, away, serve }) {
    // Its options are checked: without a DSN the service does not start.
    const dsn = values.postgres.pgDsn!;
    const link = { connectTimeoutMs: CONNECT_MS_MAX, queryTimeoutMs: QUERY_MS_MAX };
    const open = () => openLink(dsn, { ...link, applicationName: 'ringmain-analytics-registry' });
    const salts = new SaltsKeeper({ memory: shared.salts, open, log });
    const store = async ({ names }: NamesQuestion) => {
      const session = await open();
      try {
        await storeNames(session, names);
      } finally {
        await session.close();
      }
    };
    if (values.analytics.access === 'open') {
      serve((question) => store(question as NamesQuestion));
      ready();
      await salts.run(signal);
      return;
    }
    away('sites and keys have not been read yet');
    const sites = new SiteRegistry({ open, log, ready, pepper: values.access.keyPepper });
    serve((question) => {
      if ((question as NamesQuestion).what === NAMES) return store(question as NamesQuestion);
      const { what, base, since } = question as SitesRequest;
      if (what !== SITES) throw new TypeError(`the registry must be asked for ${SITES}: found=${String(what)}`);
      return sites.answer({ base, since });
    });
    await Promise.all([salts.run(signal), sites.run(signal)]);
  },
} satisfies Worker<AnalyticsValues, AnalyticsShared>;
