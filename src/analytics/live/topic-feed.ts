/**
 * Topic feed: with Kafka, the topic from five minutes before its end, where the events of all processes come by. Those
 * minutes are read once more for the visitors of a site that is looked at later.
 */
import { followTail } from '../../store/kafka/tail.ts';
import type { AnalyticsValues } from '../analytics.ts';
import type { Feed, FeedOptions } from './feed.ts';
import { seenOf, WINDOW_MS } from './live-event.ts';

/** Five minutes of a topic are read in less. */
const FILL_MS = 10_000;

interface TopicOptions extends FeedOptions {
  readonly kafka: AnalyticsValues['kafka'];
  readonly warn: (error: Error) => void;
}

interface Came {
  readonly value: Buffer | undefined;
  readonly timeMs: number;
}

export function followTopic({ hub, kafka, now, told, warn }: TopicOptions): Feed {
  const ended = new AbortController();
  const fromMs = now() - WINDOW_MS;
  const failed = (error: unknown) => warn(error as Error);
  const record = ({ value, timeMs }: Came) => {
    const seen = seenOf(String(value), timeMs);
    if (seen !== undefined && hub.add(seen)) told();
  };
  const options = { topic: kafka.kafkaTopic, clientId: 'ringmain-live', sinceMs: fromMs, record, failed };
  const following = followTail(kafka, options, ended.signal);
  let filling: Promise<void> | undefined;
  const fill = (names: readonly string[]): number => {
    const toMs = now();
    const meet = ({ value, timeMs }: Came) => {
      const seen = timeMs < toMs ? seenOf(String(value), timeMs) : undefined;
      if (seen !== undefined && names.includes(seen.siteId)) hub.meet(seen);
    };
    const past = { ...options, clientId: 'ringmain-live-past', sinceMs: toMs - WINDOW_MS, record: meet };
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(FILL_MS)]);
    filling = followTail(kafka, past, signal).finally(() => {
      filling = undefined;
    });
    return past.sinceMs;
  };
  return {
    // Of the first site from the past of the topic; of another one too, unless the past is being read for a third.
    begin: (names) => (!hub.watched ? fromMs : filling === undefined ? fill(names) : now()),
    recall: () => Promise.resolve(),
    async end() {
      ended.abort();
      await Promise.all([following, filling]);
    },
  };
}
