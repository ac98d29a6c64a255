/**
 * Answering: what the worker `query` answers from: the database, columns of closed days, the topic. The worker loads
 * this file with its first question: the builder of SQL costs a start a quarter of a second of CPU.
 */
import type { WorkerFrame } from '../../service/contract.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { answerApi } from '../api/answers.ts';
import { change } from '../api/changes.ts';
import { type Change, isChange } from '../api/questions.ts';
import { Columns } from '../columns/store.ts';
import { Database, type Snapshot } from './database.ts';
import { DayCounts } from './day-counts.ts';
import { measurePipe } from './pipe.ts';
import type { Question } from './questions.ts';
import { reconcile } from './reconcile.ts';
import { stats } from './stats.ts';
import type { TopicEnds } from './topic-ends.ts';

/** Columns of days that stay in memory: a hundred days of 100,000 events or so. */
const COLUMN_BYTES_MAX = 64 * 1024 * 1024;

/** What questions are answered with beside the database. */
interface Means {
  readonly columns: Columns;
  /** Undefined: events take no way through Kafka. */
  readonly topic: TopicEnds | undefined;
}

export interface Answering {
  /** `leave`: called before it waits without a session. */
  answer(question: Question, leave: () => void): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface AnsweringOptions {
  readonly values: AnalyticsValues;
  readonly log: WorkerFrame['log'];
  /** Told once when the database goes away, and once when it is back. */
  told(away: string | undefined): void;
}

export async function openAnswering({ values, log, told }: AnsweringOptions): Promise<Answering> {
  const dsn = values.postgres.pgDsn ?? '';
  const means: Means = {
    columns: new Columns({ gapMs: values.analytics.sessionTimeoutMs, cacheBytes: COLUMN_BYTES_MAX }),
    topic: await topicEnds(values, log),
  };
  const database = new Database({ dsn, sessions: values.analytics.queryConnections, told });
  const days = new DayCounts();
  return {
    answer(question, leave) {
      if (isChange(question)) return change(dsn, question);
      if (question.name === 'stats') return stats(question, { read: (work) => database.read(work), days, leave });
      return database.read((snapshot) => answerFrom(snapshot, question, means));
    },
    close: () => Promise.all([database.close(), means.topic?.close()]),
  };
}

/** The client of Kafka is loaded only where there is a topic. */
async function topicEnds({ kafka }: AnalyticsValues, log: WorkerFrame['log']): Promise<TopicEnds | undefined> {
  if (kafka.kafkaBrokers.length === 0) return undefined;
  const { TopicEnds } = await import('./topic-ends.ts');
  return new TopicEnds(kafka, kafka.kafkaTopic, (error) =>
    log.warn({ reason: (error as Error).message }, 'the ends of the topic are not known: GET /reconcile guesses'),
  );
}

async function answerFrom(
  snapshot: Snapshot,
  question: Exclude<Question, Change | { name: 'stats' }>,
  { columns, topic }: Means,
): Promise<unknown> {
  if (question.name === 'reconcile')
    return reconcile(snapshot, question, (times) => measurePipe(snapshot, topic, times));
  return answerApi(snapshot, question, (asked) => snapshot.use((link) => columns.answerWithin(link, asked)));
}
