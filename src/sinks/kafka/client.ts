/**
 * Kafka client of the sink: connections, knowledge of the topic, producer ids, and Produce requests with record batches
 * that are already encoded. The wire protocol's framing, TLS and login are @platformatic/kafka's Connection.
 *
 * Always true: every wait ends. Connecting (with TLS and login) and questions about the cluster end after
 * connectTimeoutMs, a Produce request after requestTimeoutMs; a connection on which something timed out is destroyed.
 * What fails, fails with a KafkaFailure; nothing is retried in here: the runner's back-off decides.
 */
import { isIP } from 'node:net';
import {
  apiVersionsV3,
  Connection,
  type ConnectionOptions,
  createTopicsV5,
  createTopicsV7,
  initProducerIdV2,
  initProducerIdV4,
  metadataV9,
  metadataV12,
} from '@platformatic/kafka';
import { type Address, connectionOptions, parseAddress } from '../../store/kafka/connection-options.ts';
import { failureOf, failureOfCode, KafkaFailure, kafkaCode } from '../../store/kafka/failure.ts';
import type { KafkaConfig } from './config.ts';
import type { ProducerIdentity } from './encode.ts';
import { encodeProduce, type PartitionResult, PRODUCE, parseProduce, produceVersions } from './produce.ts';

const CLIENT_ID = 'ringmain';
const CREATE_TOPICS = 19;
const METADATA = 3;
const INIT_PRODUCER_ID = 22;
/** A closing connection gets this long to flush; a frozen broker must not hold a drain up. */
const CLOSE_MS_MAX = 1000;

/** What is known of the topic: partition i is led by node leaders[i], -1 when nobody leads it now. */
export interface Topic {
  readonly leaders: readonly number[];
  readonly askedMs: number;
}

interface Link {
  readonly connection: Connection;
  readonly ready: Promise<Link>;
  /** Highest version of each API that both sides speak. */
  versions: ReadonlyMap<number, readonly [number, number]>;
  lastError: unknown;
}

export class KafkaClient {
  #config: KafkaConfig;
  #options: ConnectionOptions;
  #bootstrap: readonly Address[];
  #nodes = new Map<number, Address>();
  #links = new Map<string, Link>();
  #closed = false;
  #now: () => number;

  /** Reads the TLS files; a file that cannot be read is a KafkaFailure with the verdict 'stop'. */
  constructor(config: KafkaConfig, now: () => number = Date.now) {
    this.#config = config;
    this.#now = now;
    this.#bootstrap = config.kafkaBrokers.map(parseAddress);
    this.#options = connectionOptions(config);
  }

  /** True while at least one connection is usable. */
  get connected(): boolean {
    for (const { connection } of this.#links.values()) if (connection.isConnected()) return true;
    return false;
  }

  /** Asks for the topic's partitions and leaders; creates the topic when it is missing and that is allowed. */
  async topic(): Promise<Topic> {
    const known = await this.#ask('metadata', (link) => this.#metadata(link));
    if (known) return known;
    const name = this.#config.kafkaTopic;
    if (!this.#config.kafkaCreateTopic) {
      throw new KafkaFailure(
        'stop',
        'TOPIC_MISSING',
        `the topic does not exist and may not be created: topic=${name}, KAFKA_CREATE_TOPIC=false`,
      );
    }
    await this.#ask('create topic', (link) => this.#createTopic(link));
    // Leaders are elected a moment after the answer: until then this is a retry like any other.
    const made = await this.#ask('metadata', (link) => this.#metadata(link));
    if (!made) throw failureOfCode(kafkaCode.unknownTopicOrPartition, 'topic was created and is not known yet');
    return made;
  }

  /** A producer identity that nobody had before. */
  async producerIdentity(): Promise<ProducerIdentity> {
    return this.#ask('producer id', async (link) => {
      const call = pick(link, INIT_PRODUCER_ID, [
        [4, initProducerIdV4.api],
        [2, initProducerIdV2.api],
      ]);
      const { producerId, producerEpoch } = await call.async(link.connection, null, 0, -1n, -1);
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
    const address = this.#nodes.get(node);
    if (!address) throw new KafkaFailure('retry', 'UNKNOWN_NODE', `broker is not in the cluster's list: node=${node}`);
    const where = `produce to ${address.host}:${address.port}`;
    let link: Link;
    try {
      link = await this.#link(address);
      const version = highest(link, PRODUCE, produceVersions);
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

  async close(): Promise<void> {
    this.#closed = true;
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all(links.map(({ connection }) => closeConnection(connection)));
  }

  /** Asks one broker after the other until one answers. */
  async #ask<T>(what: string, question: (link: Link) => Promise<T>): Promise<T> {
    let worst: KafkaFailure | undefined;
    for (const address of this.#addresses()) {
      const where = `${what} from ${address.host}:${address.port}`;
      try {
        const link = await this.#link(address);
        return await this.#within(link, question(link), where);
      } catch (error) {
        const failure = failureOf(error, where);
        // A broker that is down says less than one that refuses us.
        if (!worst || (worst.verdict === 'retry' && failure.verdict !== 'retry')) worst = failure;
        if (this.#closed) break;
      }
    }
    throw worst ?? new KafkaFailure('stop', 'NO_BROKERS', 'no broker is configured: KAFKA_BROKERS');
  }

  /** Connected brokers first, then those of the cluster, then those of the configuration, each once. */
  #addresses(): Address[] {
    const all = new Map<string, Address>();
    const add = (address: Address) => all.set(`${address.host}:${address.port}`, address);
    for (const address of [...this.#nodes.values(), ...this.#bootstrap]) {
      if (this.#links.get(`${address.host}:${address.port}`)?.connection.isConnected()) add(address);
    }
    for (const address of [...this.#nodes.values(), ...this.#bootstrap]) add(address);
    return [...all.values()];
  }

  async #metadata({ connection, versions }: Link): Promise<Topic | undefined> {
    const name = this.#config.kafkaTopic;
    const call = pick({ versions }, METADATA, [
      [12, metadataV12.api],
      [9, metadataV9.api],
    ]);
    // A topic or partition in trouble makes the library throw; the answer is complete all the same.
    const answer = await call.async(connection, [name], false, false).catch((error: unknown) => {
      const { response } = error as { response?: Awaited<ReturnType<typeof metadataV12.api.async>> };
      if (!response?.topics) throw error;
      return response;
    });
    const topic = answer.topics.find((one) => one.name === name);
    if (answer.brokers.length > 0) this.#learn(answer.brokers);
    if (!topic || topic.errorCode === kafkaCode.unknownTopicOrPartition) return undefined;
    if (topic.errorCode !== kafkaCode.none) throw failureOfCode(topic.errorCode, `topic ${name}`);
    const leaders = new Array<number>(topic.partitions.length).fill(-1);
    for (const { partitionIndex, leaderId } of topic.partitions) leaders[partitionIndex] = leaderId;
    if (leaders.length === 0) return undefined;
    return { leaders, askedMs: this.#now() };
  }

  #learn(brokers: readonly { nodeId: number; host: string; port: number }[]): void {
    this.#nodes = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    const kept = new Set(this.#addresses().map(({ host, port }) => `${host}:${port}`));
    for (const [key, link] of this.#links) {
      if (kept.has(key)) continue;
      this.#links.delete(key);
      void closeConnection(link.connection);
    }
  }

  async #createTopic({ connection, versions }: Link): Promise<void> {
    const { kafkaTopic: name, kafkaPartitions, kafkaReplication, kafkaConnectTimeoutMs } = this.#config;
    const call = pick({ versions }, CREATE_TOPICS, [
      [7, createTopicsV7.api],
      [5, createTopicsV5.api],
    ]);
    const numPartitions = kafkaPartitions || -1;
    const replicationFactor = kafkaReplication || -1;
    const wanted = [{ name, numPartitions, replicationFactor, assignments: [], configs: [] }];
    try {
      await call.async(connection, wanted, kafkaConnectTimeoutMs, false);
    } catch (error) {
      const { response } = error as { response?: Awaited<ReturnType<typeof createTopicsV7.api.async>> };
      const result = response?.topics?.[0];
      if (!result) throw error;
      if (result.errorCode === kafkaCode.topicAlreadyExists) return; // somebody was quicker
      throw failureOfCode(result.errorCode, `topic ${name} could not be created`, result.errorMessage);
    }
  }

  /** The connection to a broker, made when there is none; callers at the same time share one attempt. */
  #link(address: Address): Promise<Link> {
    if (this.#closed) return Promise.reject(new KafkaFailure('retry', 'CLOSED', 'the sink is closed'));
    const key = `${address.host}:${address.port}`;
    const existing = this.#links.get(key);
    if (existing) return existing.ready;
    // TLS names hosts, not addresses (RFC 6066); an address is checked against the certificate all the same.
    const tlsServerName = isIP(address.host) === 0 && address.host;
    const connection = new Connection(CLIENT_ID, { ...this.#options, tlsServerName });
    const forget = () => {
      if (this.#links.get(key) === link) this.#links.delete(key);
    };
    const link: Link = {
      connection,
      versions: new Map(),
      lastError: undefined,
      ready: this.#connect(connection, address).then(
        (versions) => {
          link.versions = versions;
          return link;
        },
        (error: unknown) => {
          forget();
          connection.socket?.destroy();
          throw link.lastError ?? error;
        },
      ),
    };
    connection.on('error', (error) => {
      link.lastError ??= error;
      forget();
    });
    connection.on('close', forget);
    connection.on('closing', forget);
    this.#links.set(key, link);
    return link.ready;
  }

  async #connect(
    connection: Connection,
    { host, port }: Address,
  ): Promise<ReadonlyMap<number, readonly [number, number]>> {
    const where = `connect to ${host}:${port}`;
    const ask = async () => {
      await connection.connect(host, port);
      return apiVersionsV3.api.async(connection, CLIENT_ID, '1');
    };
    const { apiKeys } = await this.#within({ connection }, ask(), where);
    return new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]));
  }

  /** `work`, or a failure after connectTimeoutMs that destroys the connection. */
  async #within<T>({ connection }: Pick<Link, 'connection'>, work: Promise<T>, where: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const limit = this.#config.kafkaConnectTimeoutMs;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        connection.socket?.destroy();
        reject(new KafkaFailure('retry', 'TIMEOUT', `${where}: no answer within ${limit} ms`));
      }, limit);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
      work.catch(() => {}); // it fails later, when the connection is destroyed; the failure above is what counts
    }
  }
}

const acksOf = { all: -1, '1': 1, '0': 0 } as const;

/** The newest of our calls that the broker speaks. */
function pick<T>({ versions }: Pick<Link, 'versions'>, api: number, calls: readonly (readonly [number, T])[]): T {
  const [min, max] = versions.get(api) ?? [0, -1];
  const call = calls.find(([version]) => version >= min && version <= max);
  if (!call)
    throw new KafkaFailure(
      'stop',
      'UNSUPPORTED_VERSION',
      `broker must speak Kafka 2.4 or newer: api=${api}, versions=${min}..${max}`,
    );
  return call[1];
}

function highest(link: Link, api: number, versions: readonly number[]): number {
  return pick(
    link,
    api,
    versions.map((version) => [version, version] as const),
  );
}

async function closeConnection(connection: Connection): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      connection.socket?.destroy();
      resolve();
    }, CLOSE_MS_MAX);
  });
  await Promise.race([connection.close().catch(() => {}), late]);
  clearTimeout(timer);
}
