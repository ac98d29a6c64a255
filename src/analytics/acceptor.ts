/**
 * Routes of the api: those that take events, and those that answer. Workers read the database, so no handler here waits
 * for it.
 */
import { collectRehearsal } from '../collect/rehearsal.ts';
import { addressReader, schemeReader } from '../http/client-address.ts';
import type { Acceptor } from '../service/contract.ts';
import { peopleCookies } from './access/cookies.ts';
import { grantOf, permitReads } from './access/credentials.ts';
import { openGuard } from './access/guard-feed.ts';
import { Readers } from './access/readers.ts';
import type { AnalyticsShared, AnalyticsValues } from './analytics.ts';
import { apiRoutes } from './api/routes.ts';
import { convertedRoutes } from './intake/converted-events.ts';
import { eventsRoute } from './intake/events-route.ts';
import { analyticsIntakeMetrics } from './intake/metrics.ts';
import { eventsRehearsal } from './intake/rehearsal.ts';
import { untilShared } from './intake/salts-board.ts';
import { openSenders } from './intake/senders.ts';
import { openLive } from './live/open.ts';
import { peopleRoutes } from './people/routes.ts';
import { oldestAgeMs } from './processor/clock.ts';
import { queryRoutes } from './query/routes.ts';
import { TEST_SITE } from './samples.ts';
import { trackerRoute } from './tracker-route.ts';

export default {
  async open(frame) {
    const { values } = frame;
    const { access, eventsPath, loginMaxAgeMs, maxEventAgeMs, retentionDays, trackerPath } = values.analytics;
    const testSite = values.service.testMode ? TEST_SITE : undefined;
    const feed = await openGuard(frame, { access, pepper: values.access.keyPepper, now: frame.now, testSite });
    if (!frame.rehearsing) await untilShared(frame.shared.salts, frame.now);
    const senders = await openSenders(frame, (req) => grantOf(feed.guard, req));
    const ageMs = oldestAgeMs(maxEventAgeMs, retentionDays);
    const cookies = peopleCookies(frame.secure, schemeReader(values.http), loginMaxAgeMs / 1000);
    const readers = new Readers({
      guard: feed.guard,
      access,
      address: values.http.serverAddr,
      cookies,
      ask: frame.ask,
    });
    const asking = { ask: frame.ask, corsOrigins: values.http.corsOrigins };
    const paths = { tracker: trackerPath, events: eventsPath };
    const queries = queryRoutes({ ...asking, paths, permit: permitReads(feed.guard) });
    const { bodies, now, faults } = frame;
    const api = apiRoutes({ ...asking, access: readers, paths, bodies, now, faults });
    const people = peopleRoutes({ ...frame, readers, cookies, addressOf: addressReader(values.http) });
    const live = openLive(frame, {
      permit: (req, siteId) => readers.mayRead(req, siteId),
      names: (siteId) => feed.guard.namesOf(siteId),
    });
    const events = eventsRoute(frame, { origins: senders.events, ageMs });
    return {
      routes: [
        events,
        ...(eventsPath === events.path ? [] : [{ ...events, path: eventsPath }]),
        trackerRoute(trackerPath, eventsPath),
        ...convertedRoutes(frame, senders.pages, ageMs, analyticsIntakeMetrics),
        ...queries,
        ...api,
        ...people,
        live.route,
      ],
      gauges: () => senders.look(),
      drain: () => live.drain(),
      close: () => {
        feed.close();
        senders.close();
      },
    };
  },
  rehearsal: [...eventsRehearsal, ...collectRehearsal],
} satisfies Acceptor<AnalyticsValues, AnalyticsShared>;
