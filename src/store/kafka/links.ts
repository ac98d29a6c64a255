/**
 * Links: the connections to the brokers of a cluster, one per broker, and what is known of its nodes and topics.
 * Framing, TLS and login of the wire protocol are @platformatic/kafka's Connection. The sink and the consumer ask their
 * questions over it.
 *
 * Always true: every wait ends. Connecting (with TLS and login) ends after kafkaConnectTimeoutMs, a question after its
 * own limit; a connection on which something timed out is destroyed. What fails, fails with a KafkaFailure. Nothing is
 * retried in here: the back-off of whoever asks decides.
 */
import { isIP } from 'node:net';
import { apiVersionsV3, type ConnectionOptions, metadataV9, metadataV12 } from '@platformatic/kafka';
import { placeOf } from '../../kernel/place.ts';
import { BrokerConnection, unreadable } from './answer.ts';
import type { KafkaConnectionConfig } from './config.ts';
import { type Address, connectionOptions, parseAddress } from './connection-options.ts';
import { failureOf, failureOfCode, KafkaFailure, kafkaCode } from './failure.ts';

const METADATA = 3;
/** Stands where a broker before 2.8 has no id of a topic. */
const NO_ID = '00000000-0000-0000-0000-000000000000';
/** Brokers refuse names of software that have other characters than letters, digits, dots and dashes between them. */
const SOFTWARE = 'ringmain';
/** A closing connection gets this long to flush; a frozen broker must not hold a drain up. */
const CLOSE_MS_MAX = 1000;

/** What is known of a topic: partition i is led by node leaders[i], -1 when nobody leads it now. */
export interface Topic {
  /** Another one when the topic is deleted and made anew. Undefined: the broker does not tell. */
  readonly id: string | undefined;
  readonly leaders: readonly number[];
  /** When the answer came, by performance.now(). */
  readonly askedMs: number;
}

export interface Cluster {
  /** Empty when the brokers do not tell. */
  readonly id: string;
  /** Topics of the question that exist. */
  readonly topics: ReadonlyMap<string, Topic>;
}

/** One connection that is ready for requests. */
export interface Link {
  readonly connection: BrokerConnection;
  /** Lowest and highest version of each API that the broker speaks. */
  readonly versions: ReadonlyMap<number, readonly [number, number]>;
  /** What the connection failed with, if it did: it says more than the failure of a request. */
  readonly lastError: unknown;
}

interface Linking {
  readonly connection: BrokerConnection;
  readonly ready: Promise<Link>;
  versions: Link['versions'];
  lastError: unknown;
}

export interface LinksOptions {
  readonly clientId: string;
  /** Limit of a request; default: kafkaRequestTimeoutMs. */
  readonly requestTimeoutMs?: number;
  /** Called when a connection ends that nobody here has closed. */
  readonly lost?: () => void;
}

export class KafkaLinks {
  readonly #clientId: string;
  readonly #lost: () => void;
  readonly #connectMs: number;
  readonly #options: ConnectionOptions;
  readonly #bootstrap: readonly Address[];
  #nodes = new Map<number, Address>();
  readonly #links = new Map<string, Linking>();
  #closed = false;

  /** Reads the TLS files; a file that cannot be read is a KafkaFailure with the verdict 'stop'. */
  constructor(config: KafkaConnectionConfig, options: LinksOptions) {
    this.#clientId = options.clientId;
    this.#lost = options.lost ?? (() => undefined);
    this.#connectMs = config.kafkaConnectTimeoutMs;
    this.#bootstrap = config.kafkaBrokers.map(parseAddress);
    const { requestTimeoutMs } = options;
    this.#options = {
      ...connectionOptions(config),
      ...(requestTimeoutMs !== undefined && { requestTimeout: requestTimeoutMs }),
    };
  }

  /** Asks one broker after the other until one answers. */
  async ask<T>(what: string, question: (link: Link) => Promise<T>): Promise<T> {
    let worst: KafkaFailure | undefined;
    for (const address of this.#addresses()) {
      const place = placeOf(address);
      const where = `${what} from ${place}`;
      try {
        const link = await this.#link(address);
        return await this.#within(link.connection, question(link), where, this.#connectMs);
      } catch (error) {
        const failure = named(failureOf(error, where), where, place);
        // A broker that is down says less than one that refuses us.
        if (!worst || (worst.verdict === 'retry' && failure.verdict !== 'retry')) worst = failure;
        if (this.#closed) break;
      }
    }
    throw worst ?? new KafkaFailure('stop', 'NO_BROKERS', 'no broker is configured: KAFKA_BROKERS');
  }

  /**
   * Asks one node of the cluster, which answers within `limitMs`; default: the limit of questions about the cluster.
   */
  async askNode<T>(
    node: number,
    what: string,
    question: (link: Link) => Promise<T>,
    limitMs = this.#connectMs,
  ): Promise<T> {
    const { link, where } = await this.toNode(node, what);
    try {
      return await this.#within(link.connection, question(link), where, limitMs);
    } catch (error) {
      throw named(failureOf(link.lastError ?? error, where), where, this.place(node));
    }
  }

  /** The connection to a node, and the words that say which one it is. The caller bounds what it sends. */
  async toNode(node: number, what: string): Promise<{ link: Link; where: string }> {
    const address = this.#nodes.get(node);
    if (!address) throw new KafkaFailure('retry', 'UNKNOWN_NODE', `broker is not in the cluster's list: node=${node}`);
    const where = `${what} to ${placeOf(address)}`;
    try {
      return { link: await this.#link(address), where };
    } catch (error) {
      throw named(failureOf(error, where), where, placeOf(address));
    }
  }

  /** host:port of a node, for messages. */
  place(node: number): string {
    const address = this.#nodes.get(node);
    return address === undefined ? `node ${node}` : placeOf(address);
  }

  /** Tells where a node is that an answer has named. */
  learn(node: number, address: Address): void {
    if (isAddress(address)) this.#nodes.set(node, address);
  }

  /** Asks for topics with their partitions and leaders, and for the brokers. */
  cluster(names: readonly string[]): Promise<Cluster> {
    return this.ask('metadata', (link) => this.#metadata(link, names));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all(links.map(({ connection }) => closeConnection(connection)));
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

  async #metadata(link: Link, names: readonly string[]): Promise<Cluster> {
    const call = pick(link, METADATA, [
      [12, metadataV12.api],
      [9, metadataV9.api],
    ]);
    // A topic or partition in trouble makes the library throw; the answer is complete all the same.
    const answer = await call.async(link.connection, [...names], false, false).catch((error: unknown) => {
      const { response } = error as { response?: Awaited<ReturnType<typeof metadataV12.api.async>> };
      if (!response?.topics) throw error;
      return response;
    });
    if (answer.brokers.length > 0) this.#learnAll(answer.brokers);
    const topics = new Map<string, Topic>();
    for (const { name, topicId, errorCode, partitions } of answer.topics) {
      if (name === null || name === undefined || errorCode === kafkaCode.unknownTopicOrPartition) continue;
      if (errorCode !== kafkaCode.none) throw failureOfCode(errorCode, `topic ${name}`);
      if (partitions.length === 0) continue;
      const leaders = new Array<number>(partitions.length).fill(-1);
      for (const { partitionIndex, leaderId } of partitions) {
        // An index is a place in this list, and whoever reads the list makes something for each place.
        if (partitionIndex < 0 || partitionIndex >= leaders.length)
          throw unreadable(`partitions of ${name} must be 0..${leaders.length - 1}: ${partitionIndex}`);
        leaders[partitionIndex] = leaderId;
      }
      const id = topicId === NO_ID ? undefined : topicId;
      topics.set(name, { id, leaders, askedMs: performance.now() });
    }
    return { id: answer.clusterId ?? '', topics };
  }

  #learnAll(brokers: readonly { nodeId: number; host: string; port: number }[]): void {
    this.#nodes = new Map(brokers.filter(isAddress).map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    const kept = new Set(this.#addresses().map(({ host, port }) => `${host}:${port}`));
    for (const [key, { connection }] of this.#links) {
      if (kept.has(key)) continue;
      this.#links.delete(key);
      void closeConnection(connection);
    }
  }

  /** The connection to a broker, made when there is none; callers at the same time share one attempt. */
  #link(address: Address): Promise<Link> {
    if (this.#closed) return Promise.reject(new KafkaFailure('retry', 'CLOSED', 'the client is closed'));
    const key = `${address.host}:${address.port}`;
    const existing = this.#links.get(key);
    if (existing) return existing.ready;
    // TLS names hosts, not addresses (RFC 6066); an address is checked against the certificate all the same.
    const tlsServerName = isIP(address.host) === 0 && address.host;
    const connection = new BrokerConnection(this.#clientId, { ...this.#options, tlsServerName });
    const forget = () => {
      if (this.#links.get(key) === link) this.#links.delete(key);
    };
    let ready = false;
    const end = () => {
      // Still in the list: neither close() nor a newer list of brokers has taken it out.
      if (ready && this.#links.get(key) === link) this.#lost();
      forget();
    };
    const link: Linking = {
      connection,
      versions: new Map(),
      lastError: undefined,
      ready: this.#connect(connection, address).then(
        (versions) => {
          ready = true;
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
      end();
    });
    connection.on('close', end);
    connection.on('closing', forget);
    this.#links.set(key, link);
    return link.ready;
  }

  async #connect(connection: BrokerConnection, { host, port }: Address): Promise<Link['versions']> {
    const ask = async () => {
      await connection.open(host, port);
      return apiVersionsV3.api.async(connection, SOFTWARE, '1');
    };
    const { apiKeys } = await this.#within(connection, ask(), `connect to ${host}:${port}`, this.#connectMs);
    return new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]));
  }

  /** `work`, or a failure after `limitMs` that destroys the connection. */
  async #within<T>(connection: BrokerConnection, work: Promise<T>, where: string, limitMs: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        connection.socket?.destroy();
        reject(new KafkaFailure('retry', 'TIMEOUT', `${where}: no answer within ${limitMs} ms`));
      }, limitMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
      work.catch(() => {}); // it fails later, when the connection is destroyed; the failure above is what counts
    }
  }
}

/** The failure with `where` in front, unless it names the place already: what an answer says names topics alone. */
function named(failure: KafkaFailure, where: string, place: string): KafkaFailure {
  const { verdict, code, message } = failure;
  return message.includes(place) ? failure : new KafkaFailure(verdict, code, `${where}: ${message}`, failure);
}

/** Whether somebody can be asked there: another answer of the same broker, or another broker, may know better. */
const isAddress = ({ host, port }: Address): boolean => host !== '' && port > 0 && port < 65_536;

/**
 * The newest of our calls that the broker speaks; `least`: the oldest Kafka that speaks one of them. A connection that
 * speaks none is closed: the next one asks for the versions again.
 */
export function pick<T>(
  { versions, connection }: Pick<Link, 'versions' | 'connection'>,
  api: number,
  calls: readonly (readonly [number, T])[],
  least = '2.4',
): T {
  const [min, max] = versions.get(api) ?? [0, -1];
  const call = calls.find(([version]) => version >= min && version <= max);
  if (call) return call[1];
  connection.socket?.destroy();
  throw new KafkaFailure(
    'stop',
    'UNSUPPORTED_VERSION',
    `broker must speak Kafka ${least} or newer: api=${api}, versions=${min}..${max}`,
  );
}

async function closeConnection(connection: BrokerConnection): Promise<void> {
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
