/**
 * Worker `live`: keeps what live views show. With Kafka it follows the topic, else the lanes of this process, each from
 * five minutes ago. It does nothing of it while nobody looks, and asks no database.
 */
import { once } from 'node:events';
import type { Worker } from '../../service/contract.ts';
import type { AnalyticsShared, AnalyticsValues } from '../analytics.ts';
import type { Feed } from './feed.ts';
import { LiveHub, type Look } from './hub.ts';
import { followLanes } from './lanes-feed.ts';
import { WINDOW_MS } from './live-event.ts';
import { liveMetrics } from './metrics.ts';

const TICK_MS = 1000;

export default {
  async run({ values, journal, log, signal, meters, ready, serve }) {
    const cells = meters(liveMetrics);
    const watching = cells.ringmain_live_watching.at();
    const events = cells.ringmain_live_events_total.at();
    const now = Date.now;
    const hub = new LiveHub(now);
    const { kafka, engine } = values;
    const startedMs = now() - process.uptime() * 1000;
    const keptFromMs = engine.journalDir !== 'off' && engine.journalRetainMs >= WINDOW_MS ? 0 : startedMs;
    const options = { hub, now, told: () => events.add(1) };
    // The client of Kafka is loaded only where there is a topic.
    const topic = kafka.kafkaBrokers.length === 0 ? undefined : await import('./topic-feed.ts');
    const open = (): Feed => {
      if (topic === undefined) return followLanes({ ...options, watcher: journal.watch(), keptFromMs });
      const warn = ({ message }: Error) =>
        log.warn({ reason: message }, 'the topic cannot be followed: live views stand still');
      return topic.followTopic({ ...options, kafka, warn });
    };
    let feed: Feed | undefined;
    let ending: Promise<void> | undefined;
    const stop = (): void => {
      ending = feed?.end();
      feed = undefined;
      watching.set(0);
    };
    serve(async (asked) => {
      const look = asked as Look;
      if (hub.find(look.names) !== undefined) return hub.look(look, now());
      feed ??= open();
      watching.set(1);
      if (hub.look(look, feed.begin(look.names)) === undefined) return undefined;
      await feed.recall(look.names);
      return hub.look(look, now());
    });
    const tick = setInterval(() => {
      hub.tick();
      if (!hub.watched && feed !== undefined) stop();
    }, TICK_MS);
    ready();
    if (!signal.aborted) await once(signal, 'abort');
    clearInterval(tick);
    stop();
    await ending;
  },
} satisfies Worker<AnalyticsValues, AnalyticsShared>;
