/** The question that makes a topic with the options of the sink, or only asks whether it could be made. */
import { createTopicsV5, createTopicsV7 } from '@platformatic/kafka';
import { type Link, pick } from '../../store/kafka/links.ts';
import type { KafkaConfig } from './config.ts';

const CREATE_TOPICS = 19;

/** Why the broker refuses to make the topic. */
export interface TopicRefusal {
  readonly errorCode: number;
  readonly errorMessage: string | null | undefined;
}

/** Undefined: it is made, or could be (`validateOnly`). Rejects when the question itself fails. */
export async function createTopic(
  link: Link,
  { kafkaTopic: name, kafkaPartitions, kafkaReplication, kafkaConnectTimeoutMs }: KafkaConfig,
  validateOnly: boolean,
): Promise<TopicRefusal | undefined> {
  const call = pick(link, CREATE_TOPICS, [
    [7, createTopicsV7.api],
    [5, createTopicsV5.api],
  ]);
  const numPartitions = kafkaPartitions || -1;
  const replicationFactor = kafkaReplication || -1;
  const wanted = [{ name, numPartitions, replicationFactor, assignments: [], configs: [] }];
  try {
    await call.async(link.connection, wanted, kafkaConnectTimeoutMs, validateOnly);
    return undefined;
  } catch (error) {
    const { response } = error as { response?: Awaited<ReturnType<typeof createTopicsV7.api.async>> };
    const refusal = response?.topics?.[0];
    if (!refusal) throw error;
    return refusal;
  }
}
