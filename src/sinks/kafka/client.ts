/**
 * Kafka client of the sink: the topic, made when it is missing and that is allowed; producer ids; Produce requests with
 * record batches that are already encoded. Connections are those of store/kafka/links.ts, whose limits hold for every
 * question; a Produce request ends after kafkaRequestTimeoutMs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { initProducerIdV2, initProducerIdV4 } from '@platformatic/kafka';
import { unreadable } from '../../store/kafka/answer.ts';
import { failureOf, failureOfCode, KafkaFailure, kafkaCode } from '../../store/kafka/failure.ts';
import { KafkaLinks, type Link, pick, type Topic } from '../../store/kafka/links.ts';
import type { KafkaConfig } from './config.ts';
import { createTopic } from './create-topic.ts';
import type { ProducerIdentity } from './encode.ts';
import { encodeProduce, type PartitionResult, PRODUCE, parseProduce, produceVersions } from './produce.ts';

/** How often a topic just made is looked for, and the pause between two looks. */
const MADE_LOOKS = 20;
const MADE_PAUSE_MS = 50;
const INIT_PRODUCER_ID = 22;

export class KafkaClient {
  readonly #config: KafkaConfig;
  readonly #links: KafkaLinks;

  /** Reads the TLS files; a file that cannot be read is a KafkaFailure with the verdict 'stop'. */
  constructor(config: KafkaConfig, clientId: string, lost?: () => void) {
    this.#config = config;
    this.#links = new KafkaLinks(config, { clientId, ...(lost && { lost }) });
  }

  /** host:port of a node, for messages. */
  place(node: number): string {
    return this.#links.place(node);
  }

  /** Asks for the topic's partitions and leaders; creates the topic when it is missing and that is allowed. */
  async topic(): Promise<Topic> {
    const name = this.#config.kafkaTopic;
    const known = await this.#known(name);
    if (known) return known;
    if (!this.#config.kafkaCreateTopic) {
      throw new KafkaFailure(
        'stop',
        'TOPIC_MISSING',
        `the topic does not exist and may not be created: topic=${name}, KAFKA_CREATE_TOPIC=false`,
      );
    }
    await this.#links.ask('create topic', (link) => this.#createTopic(link));
    // Leaders are elected a moment after the answer; what takes longer is a retry like any other.
    let made = await this.#known(name);
    for (let look = 0; !made && look < MADE_LOOKS; look++) {
      await sleep(MADE_PAUSE_MS);
      made = await this.#known(name);
    }
    if (!made) throw failureOfCode(kafkaCode.unknownTopicOrPartition, 'topic was created and is not known yet');
    return made;
  }

  /** A producer identity that nobody had before. */
  async producerIdentity(): Promise<ProducerIdentity> {
    return this.#links.ask('producer id', async (link) => {
      const call = pick(link, INIT_PRODUCER_ID, [
        [4, initProducerIdV4.api],
        [2, initProducerIdV2.api],
      ]);
      const { producerId, producerEpoch } = await call.async(link.connection, null, 0, -1n, -1);
      // Batches under such an id would not be idempotent, and nobody would see it.
      if (producerId < 0n || producerEpoch < 0)
        throw unreadable(`a producer id must not be negative: ${producerId}, epoch ${producerEpoch}`);
      return { id: producerId, epoch: producerEpoch };
    });
  }

  /**
   * Sends record batches to the node that leads their partitions and resolves with one result each. Rejects when the
   * outcome of the whole request is unknown.
   */
  async produce(
    node: number,
    parts: readonly { readonly partition: number; readonly bytes: Buffer }[],
  ): Promise<PartitionResult[]> {
    const { link, where } = await this.#links.toNode(node, 'produce');
    try {
      const version = pick(link, PRODUCE, produceVersions);
      const acks = acksOf[this.#config.kafkaAcks];
      // The broker's own limit for its replicas comes first: an answer that says so tells more than none.
      const replicasMs = Math.ceil(this.#config.kafkaRequestTimeoutMs * 0.75);
      return await new Promise((resolve, reject) => {
        link.connection.send(
          PRODUCE,
          version,
          () => encodeProduce(this.#config.kafkaTopic, acks, replicasMs, parts),
          parseProduce,
          true,
          true,
          (error, results) => {
            if (error) reject(link.lastError ?? error);
            else if (acks === 0)
              resolve(parts.map(({ partition }) => ({ partition, code: kafkaCode.none, detail: null })));
            else resolve(results ?? []);
          },
        );
      });
    } catch (error) {
      throw failureOf(error, where);
    }
  }

  close(): Promise<void> {
    return this.#links.close();
  }

  async #known(name: string): Promise<Topic | undefined> {
    return (await this.#links.cluster([name])).topics.get(name);
  }

  async #createTopic(link: Link): Promise<void> {
    const refused = await createTopic(link, this.#config, false);
    // Somebody was quicker.
    if (refused === undefined || refused.errorCode === kafkaCode.topicAlreadyExists) return;
    const what = `topic ${this.#config.kafkaTopic} could not be created`;
    throw failureOfCode(refused.errorCode, what, refused.errorMessage);
  }
}

const acksOf = { all: -1, '1': 1, '0': 0 } as const;
