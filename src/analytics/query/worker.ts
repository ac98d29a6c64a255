/**
 * Worker `query`: answers the questions of the acceptors from Postgres. It is ready as soon as it runs, and stays so
 * while the database is away: events are taken in meanwhile, and a red /readyz would send them elsewhere. Questions get
 * STORE_AWAY then, and the gauge ringmain_query_up is 0.
 */
import { once } from 'node:events';
import type { Worker } from '../../service/contract.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { answerApi } from '../api/answers.ts';
import { change } from '../api/changes.ts';
import { type Change, isChange } from '../api/questions.ts';
import { Columns } from '../columns/store.ts';
import { Database, type Snapshot } from './database.ts';
import { tellLag } from './lag-teller.ts';
import { queryMetrics } from './metrics.ts';
import { measurePipe } from './pipe.ts';
import { type Question, questionNames } from './questions.ts';
import { KnownPaths } from './raw-paths.ts';
import { reconcile } from './reconcile.ts';
import { stats } from './stats.ts';
import { TopicEnds } from './topic-ends.ts';

/** Columns of days that stay in memory: a hundred days of 100,000 events or so. */
const COLUMN_BYTES_MAX = 64 * 1024 * 1024;

/** What questions are answered with beside the database. */
interface Means {
  readonly columns: Columns;
  readonly paths: KnownPaths;
  /** Undefined: events take no way through Kafka. */
  readonly topic: TopicEnds | undefined;
}

async function answerFrom(
  snapshot: Snapshot,
  question: Exclude<Question, Change>,
  { columns, paths, topic }: Means,
): Promise<unknown> {
  if (question.name === 'stats') return stats(snapshot, question, paths);
  if (question.name === 'reconcile')
    return reconcile(snapshot, question, (times) => measurePipe(snapshot, topic, times));
  return answerApi(snapshot, question, (asked) => snapshot.use((link) => columns.answerWithin(link, asked)));
}

export default {
  async run({ values, log, signal, meters, ready, serve, journal }) {
    const cells = meters(queryMetrics);
    const seconds = new Map(
      questionNames.map((question) => [question, cells.ringmain_query_seconds.at({ question })] as const),
    );
    const up = cells.ringmain_query_up.at();
    up.set(1);
    const sessions = values.analytics.queryConnections;
    const dsn = values.postgres.pgDsn ?? '';
    const { kafka } = values;
    const means: Means = {
      columns: new Columns({ gapMs: values.analytics.sessionTimeoutMs, cacheBytes: COLUMN_BYTES_MAX }),
      paths: new KnownPaths(),
      topic:
        kafka.kafkaBrokers.length === 0
          ? undefined
          : new TopicEnds(kafka, kafka.kafkaTopic, (error) =>
              log.warn(
                { reason: (error as Error).message },
                'the ends of the topic are not known: GET /reconcile guesses',
              ),
            ),
    };
    const telling = tellLag(dsn, journal, signal);
    const database = new Database({
      dsn,
      sessions,
      told(away) {
        up.set(away === undefined ? 1 : 0);
        if (away === undefined) log.info('the database answers questions again');
        else log.warn({ reason: away }, 'the database cannot be reached: questions are answered with 503');
      },
    });
    serve(async (asked) => {
      const question = asked as Question;
      const started = performance.now();
      try {
        if (isChange(question)) return await change(dsn, question);
        return await database.read((snapshot) => answerFrom(snapshot, question, means));
      } finally {
        seconds.get(question.name)?.observe((performance.now() - started) / 1000);
      }
    }, sessions);
    ready();
    if (!signal.aborted) await once(signal, 'abort');
    await Promise.all([database.close(), telling, means.topic?.close()]);
  },
} satisfies Worker<AnalyticsValues>;
