/** Topics of the SMS gateway, made before anybody needs them: with how many partitions and replicas they should be. */
import type { KafkaConfig } from '../../sinks/kafka/config.ts';
import { createTopic } from '../../sinks/kafka/create-topic.ts';
import { failureOfCode } from '../../store/kafka/failure.ts';
import { KafkaLinks } from '../../store/kafka/links.ts';
import { topics } from '../topics.ts';

const TOPIC_ALREADY_EXISTS = 36;

export interface MadeTopic {
  readonly name: string;
  /** false: it was there, and stays as it is. */
  readonly made: boolean;
}

/**
 * Makes the topics that are missing, with KAFKA_PARTITIONS and KAFKA_REPLICATION of `config` (0: the broker's
 * defaults). `prefix`: KAFKA_PREFIX. Rejects with a KafkaFailure.
 */
export async function createTopics(config: KafkaConfig, prefix: string): Promise<readonly MadeTopic[]> {
  const links = new KafkaLinks(config, { clientId: 'ringmain-sms-topics' });
  try {
    const done: MadeTopic[] = [];
    for (const topic of topics) {
      const name = prefix + topic;
      const refusal = await links.ask('create topic', (link) =>
        createTopic(link, { ...config, kafkaTopic: name }, false),
      );
      if (refusal !== undefined && refusal.errorCode !== TOPIC_ALREADY_EXISTS)
        throw failureOfCode(refusal.errorCode, `topic ${name}`, refusal.errorMessage ?? undefined);
      done.push({ name, made: refusal === undefined });
    }
    return done;
  } finally {
    await links.close();
  }
}
