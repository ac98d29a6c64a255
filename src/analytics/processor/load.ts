/** Load of the output `store`: the event load (event-load.ts) with the parts that it has in the service. */

import type { ErrorClass } from '../../delivery/contract.ts';
import { now } from '../../kernel/clock.ts';
import type { DeadRecord, DeadTopic } from '../../sinks/kafka/dead-topic.ts';
import type { MakeLoad } from '../../sinks/postgres/load.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { Rollups } from '../rollup/rollup.ts';
import { oldestAgeMs } from './clock.ts';
import type { Letters } from './dead-letters.ts';
import { EventLoad } from './event-load.ts';
import { processorMetrics, tellMeters } from './metrics.ts';
import { MonthsOnDemand } from './partitions.ts';
import { sourceOf } from './source.ts';
import { Visitors } from './visitors.ts';

/** Most bytes of a foreign record that are read: what a topic takes by default. */
const LINE_BYTES_MAX = 1 << 20;

/** The dead topic. The client of Kafka takes 30 MiB, so it comes with the first letter. */
class TopicLetters implements Letters {
  readonly #values: AnalyticsValues;
  readonly #output: string;
  #topic: Promise<DeadTopic> | undefined;
  #classify: (error: unknown) => ErrorClass | undefined = () => undefined;

  constructor(values: AnalyticsValues, output: string) {
    this.#values = values;
    this.#output = output;
  }

  async put(letters: readonly DeadRecord[]): Promise<void> {
    this.#topic ??= this.#open();
    await (await this.#topic).put(letters);
  }

  classify(error: unknown): ErrorClass | undefined {
    return this.#classify(error);
  }

  /** Each session closes it. */
  async close(): Promise<void> {
    const topic = this.#topic;
    this.#topic = undefined;
    await (await topic)?.close();
  }

  async #open(): Promise<DeadTopic> {
    const { classifyLetter, DeadTopic } = await import('../../sinks/kafka/dead-topic.ts');
    this.#classify = classifyLetter;
    return new DeadTopic(this.#values.kafka, `ringmain-${this.#output}`);
  }
}

export default (({ output, values, meters, log }) => {
  const months = new MonthsOnDemand(values.postgres.pgDsn!, log);
  const visitors = new Visitors();
  const letters = new TopicLetters(values, output);
  const told = tellMeters(meters(processorMetrics));
  return () =>
    new EventLoad({
      topics: [values.kafka.kafkaTopic],
      lineBytesMax: Math.max(LINE_BYTES_MAX, values.collect.maxEventBytes),
      ageMsMax: oldestAgeMs(values.analytics.maxEventAgeMs, values.analytics.retentionDays),
      retentionDays: values.analytics.retentionDays,
      // What a session knows to be committed may be gone when it is opened anew: each has its own.
      rollups: new Rollups(values.analytics),
      ensureMonths: (transaction, wanted) => months.ensure(transaction, wanted),
      visitors,
      sourceOf,
      letters,
      told,
      now,
    });
}) satisfies MakeLoad<AnalyticsValues>;
