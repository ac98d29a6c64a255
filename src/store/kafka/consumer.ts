/**
 * Consumer: a member of a consumer group that fetches ahead what its partitions hold. It works beside its user and
 * never makes the user wait: the user looks at `arrived`, `recalling` and `problem` when it has time, and news() wakes
 * it.
 *
 *   join    the group deals out the partitions; `arrived` is what it dealt to this member, with the offsets to begin at
 *   begin   the user says where each partition really begins; fetching starts
 *   recall  the group deals anew, or has given this member up: the user finishes, commits and calls released(); then
 *           the consumer joins again
 *   remade  a topic was deleted and made anew: the same as recall. Its offsets begin again, so the group's offset, which
 *           names the topic that it belongs to, is none of it
 *   lost    no heartbeat got through for a session: the same as recall, but the group refuses what is committed now
 *
 * Always true: a partition is fetched only between begin() and released(). The bytes that wait to be read stay below
 * `fetchBytesMax` plus one answer per broker, and the batches that are unpacked below twice `unpackedBytesMax`, however
 * many partitions there are. The consumer tries again for ever what has failed, after 100 ms doubling
 * to 10 s, and shows the failure in `problem` until it has succeeded.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { unreadable } from './answer.ts';
import type { KafkaConnectionConfig } from './config.ts';
import { failureOf, failureOfCode, KafkaFailure, kafkaCode } from './failure.ts';
import { askFetch, type Fetched, type FetchedPartition, type FetchTopic } from './fetch.ts';
import { type Assignment, GroupMember, membershipCodes, type Offsets, type TopicIds } from './group.ts';
import { KafkaLinks, type Topic } from './links.ts';
import { EARLIEST, LATEST, listOffsets } from './offsets.ts';
import { Partition, type PartitionLimits, UNPACKED_BYTES_MAX } from './partition.ts';
import { Spare } from './spare.ts';

/** Limits where the service gives none. What each means is said in config.ts. */
export const consumerDefaults = {
  rebalanceTimeoutMs: 60_000,
  fetchBytesMax: 16 * 2 ** 20,
  fetchWaitMs: 500,
  unpackedBytesMax: UNPACKED_BYTES_MAX,
} as const;
export type ConsumerLimits = Readonly<Record<keyof typeof consumerDefaults, number>>;

/** Of tries to reach the cluster again: soon after a restart of a broker, and no load on one that stays away. */
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 10_000;
/** Answers of a buffer: with fewer, the buffer is empty while the next one comes. */
const ANSWERS = 4;
/** Of one partition in an answer: as much as a broker takes as a batch by default, so each has its share of the answer. */
const PARTITION_BYTES_MAX = 2 ** 20;
/** A partition with fewer waiting bytes is fetched again: the next ones come while these are read. */
const PARTITION_BYTES_LOW = PARTITION_BYTES_MAX / 2;
/** An answer without records comes so soon when other partitions wait for the same connection. */
const WAIT_MS_SHORT = 50;
/** Leaders that are not known are asked for this often. */
const TEND_MS = 500;

export interface ConsumerOptions extends Partial<ConsumerLimits> {
  readonly topics: readonly string[];
  readonly groupId: string;
  /** Where a partition begins that the group has never committed. */
  readonly start: 'earliest' | 'latest';
  readonly sessionTimeoutMs: number;
}

/** A partition that is ours now, and where the group stands in it. */
export interface Arrival {
  readonly topic: string;
  readonly partition: number;
  /** Undefined: the brokers do not tell. */
  readonly topicId: string | undefined;
  readonly offset: number;
  /** End of the partition when it came. */
  readonly end: number;
  /** The topic was deleted and made anew since the group was here: it begins with the earliest record. */
  readonly remade: boolean;
}

const NOTHING: readonly Arrival[] = [];

export class KafkaConsumer {
  readonly #options: ConsumerOptions;
  readonly #metadataMs: number;
  readonly #group: GroupMember;
  /** A connection answers in order: one that waits for records, or for a rebalance, must not hold up a heartbeat. */
  readonly #groupLinks: KafkaLinks;
  readonly #links: KafkaLinks;
  readonly #news: () => void;
  readonly #end = new AbortController();
  #running: Promise<void> | undefined;
  #tending: NodeJS.Timeout | undefined;
  #topics: ReadonlyMap<string, Topic> = new Map();
  /** Of the topics that the partitions belong to, since the last join. */
  #ids: TopicIds = new Map();
  /** One of them is another topic by now. */
  #remade = false;
  #stale = false;
  #learning = false;
  readonly #fetching = new Set<number>();
  #partitions: Partition[] = [];
  readonly #limits: ConsumerLimits;
  readonly #partitionLimits: PartitionLimits;
  /** Partitions that cannot be read now, and until when they are left alone. */
  readonly #resting = new Map<Partition, number>();
  #arrived = NOTHING;
  #recalled: PromiseWithResolvers<void> | undefined;
  /** The group has this member in its present generation. */
  #member = false;
  #groupProblem: KafkaFailure | undefined;
  /** By the node that a fetch failed at, or by what failed. */
  readonly #problems = new Map<number | 'metadata' | 'read', KafkaFailure>();

  constructor(config: KafkaConnectionConfig, options: ConsumerOptions, clientId: string, news: () => void) {
    this.#options = options;
    const limits = { ...consumerDefaults, ...options };
    const { rebalanceTimeoutMs, unpackedBytesMax } = limits;
    this.#limits = limits;
    this.#partitionLimits = {
      unpackedBytesMax,
      spare: new Spare(),
      hasRoom: () => this.#partitions.reduce((sum, one) => sum + one.unpackedBytes, 0) < unpackedBytesMax,
    };
    this.#metadataMs = config.kafkaMetadataMaxAgeMs;
    this.#news = news;
    this.#links = new KafkaLinks(config, { clientId });
    this.#groupLinks = new KafkaLinks(config, { clientId, requestTimeoutMs: 2 * rebalanceTimeoutMs });
    const { groupId, topics, sessionTimeoutMs } = options;
    this.#group = new GroupMember(this.#groupLinks, {
      groupId,
      topics,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
    });
  }

  /** Id of the cluster; empty when its brokers do not tell. */
  async clusterId(): Promise<string> {
    return (await this.#links.cluster([])).id;
  }

  /** Begins to work; resolves at once. */
  start(): void {
    this.#running ??= this.#run();
    this.#tending ??= setInterval(() => this.#tend(), TEND_MS);
  }

  /** Partitions that wait for begin(). The list is another object whenever it changes. */
  get arrived(): readonly Arrival[] {
    return this.#arrived;
  }
  get recalling(): boolean {
    return this.#recalled !== undefined;
  }
  get problem(): KafkaFailure | undefined {
    return this.#groupProblem ?? this.#problems.values().next().value;
  }

  /** Starts the partitions that have arrived, each at the offset that `at` gives. */
  begin(at: (arrival: Arrival) => number): readonly Partition[] {
    this.#problems.delete('read');
    const begun = this.#arrived.map((arrival) => {
      const partition = new Partition(arrival.topic, arrival.partition, at(arrival), this.#partitionLimits);
      partition.end = arrival.end;
      return partition;
    });
    this.#arrived = NOTHING;
    this.#partitions.push(...begun);
    this.pump();
    return begun;
  }

  /** Reads a partition from another offset: what was fetched of it is dropped. */
  seek(partition: Partition, offset: number): Partition {
    const again = new Partition(partition.topic, partition.partition, offset, this.#partitionLimits);
    again.end = partition.end;
    this.#partitions = this.#partitions.map((one) => (one === partition ? again : one));
    this.pump();
    return again;
  }

  /** The user has let go of all partitions. */
  released(): void {
    this.#partitions = [];
    this.#resting.clear();
    this.#recalled?.resolve();
    this.#recalled = undefined;
  }

  /**
   * Stores offsets with the group; does nothing when the group has given this member up, for then it would refuse them.
   */
  async commit(offsets: Offsets): Promise<void> {
    if (this.#member) await this.#group.commit(offsets, this.#ids);
  }

  /** What was fetched of a partition cannot be read: it is fetched again later. */
  failed(partition: Partition, error: unknown): Partition {
    this.#problems.set('read', failureOf(error, `read ${partition.topic}/${partition.partition}`));
    const again = this.seek(partition, partition.position);
    this.#resting.set(again, performance.now() + BACKOFF_MS_MAX);
    return again;
  }

  async close(): Promise<void> {
    clearInterval(this.#tending);
    this.#end.abort();
    this.#recalled?.resolve();
    if (this.#member) await this.#group.leave().catch(() => {}); // the session ends by itself
    await Promise.all([this.#links.close(), this.#groupLinks.close()]);
    await this.#running;
  }

  get #closed(): boolean {
    return this.#end.signal.aborted;
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#closed; ) {
      try {
        await this.#join();
        attempt = 0;
        await this.#hold();
      } catch (error) {
        if (this.#closed) return;
        const failure = failureOf(error, 'group');
        if (failure.code === 'UNKNOWN_MEMBER_ID' || failure.code === 'ILLEGAL_GENERATION') this.#group.forget();
        // A rebalance that begins while another one is under way is no trouble.
        if (!membershipCodes.has(failure.code)) this.#groupProblem = failure;
        this.#news();
        await this.#pause(Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** attempt++));
      }
    }
  }

  async #join(): Promise<void> {
    const assignment = await this.#group.join(async (topics) => {
      const { topics: found } = await this.#links.cluster(topics);
      return new Map([...found].map(([topic, { leaders }]) => [topic, leaders.length]));
    });
    this.#member = true;
    const { topics } = await this.#links.cluster(this.#options.topics);
    this.#topics = topics;
    const before = this.#ids;
    this.#ids = new Map([...topics].map(([name, { id }]) => [name, id]));
    this.#remade = false;
    const missing = this.#options.topics.find((topic) => !topics.has(topic));
    if (missing !== undefined)
      this.#groupProblem = new KafkaFailure('retry', 'TOPIC_MISSING', `the topic does not exist: topic=${missing}`);
    const arrived = await this.#starts(assignment, before);
    if (missing === undefined) this.#groupProblem = undefined;
    this.#arrived = arrived.length > 0 ? arrived : NOTHING;
    this.#news();
  }

  /**
   * Where the group stands in our partitions. A start that nobody has committed is committed now, so that it is the
   * same after a crash. `before`: ids of the topics at the join before.
   */
  async #starts(assignment: Assignment, before: TopicIds): Promise<readonly Arrival[]> {
    const { offsets: committed, stale } = await this.#group.committed(assignment, this.#ids);
    const ends = await this.#listOffsets(assignment, LATEST);
    const fresh = new Map(
      [...assignment].map(
        ([topic, partitions]) => [topic, partitions.filter((one) => !committed.get(topic)?.has(one))] as const,
      ),
    );
    const earliest = await this.#listOffsets(fresh, EARLIEST);
    const first = new Map<string, Map<number, number>>();
    const arrived: Arrival[] = [];
    for (const [topic, partitions] of assignment)
      for (const partition of partitions) {
        const end = ends.get(topic)?.get(partition) ?? 0;
        const known = committed.get(topic)?.get(partition);
        // Brokers forget the offsets of a topic that is deleted; then this member may know that it was another one.
        const remade =
          known === undefined &&
          (stale.get(topic)?.includes(partition) === true || isAnother(before.get(topic), this.#ids.get(topic)));
        const starts = this.#options.start === 'latest' && !remade ? ends : earliest;
        const offset = known ?? starts.get(topic)?.get(partition) ?? 0;
        if (known === undefined)
          first.set(topic, (first.get(topic) ?? new Map<number, number>()).set(partition, offset));
        arrived.push({ topic, partition, topicId: this.#ids.get(topic), offset, end, remade });
      }
    await this.#group.commit(first, this.#ids);
    return arrived;
  }

  #listOffsets(assignment: Assignment, timestamp: bigint): Promise<Offsets> {
    return listOffsets(this.#links, this.#topics, assignment, timestamp);
  }

  /** Stays a member until the group deals anew or has given us up; then everything is called back. */
  async #hold(): Promise<void> {
    const { sessionTimeoutMs } = this.#options;
    const beatMs = sessionTimeoutMs / 4;
    let askedMs = performance.now();
    let heardMs = performance.now();
    for (;;) {
      await this.#pause(this.#groupProblem === undefined ? beatMs : Math.min(beatMs, 1000));
      if (this.#closed) return;
      try {
        await this.#group.heartbeat();
        heardMs = performance.now();
        if (this.#groupProblem?.code !== 'TOPIC_MISSING') this.#groupProblem = undefined;
        if (this.#remade) break;
        const maxAgeMs = this.#groupProblem === undefined ? this.#metadataMs : sessionTimeoutMs;
        if (performance.now() - askedMs > maxAgeMs) {
          askedMs = performance.now();
          if (await this.#changed()) break;
        }
      } catch (error) {
        const failure = failureOf(error, 'heartbeat');
        if (failure.code === 'REBALANCE_IN_PROGRESS') break;
        const lost = membershipCodes.has(failure.code);
        if (lost) this.#group.forget();
        else this.#groupProblem = failure;
        if (lost || performance.now() - heardMs > sessionTimeoutMs) {
          this.#member = false;
          break;
        }
      }
      this.#news();
    }
    await this.#recall(beatMs);
  }

  /** Whether a topic has come, has got more partitions, or was made anew. */
  async #changed(): Promise<boolean> {
    const { topics } = await this.#links.cluster(this.#options.topics);
    const before = this.#topics;
    this.#topics = topics;
    this.#compare(topics);
    if (this.#remade) return true;
    return this.#options.topics.some((name) => topics.get(name)?.leaders.length !== before.get(name)?.leaders.length);
  }

  #compare(topics: ReadonlyMap<string, Topic>): void {
    for (const [name, { id }] of topics) if (isAnother(this.#ids.get(name), id)) this.#remade = true;
  }

  async #recall(beatMs: number): Promise<void> {
    this.#arrived = NOTHING;
    if (this.#partitions.length === 0) return;
    const recalled = Promise.withResolvers<void>();
    this.#recalled = recalled;
    this.#news();
    // The session goes on while the user finishes; the group waits rebalanceTimeoutMs at most.
    while (this.#recalled === recalled && !this.#closed) {
      await Promise.race([recalled.promise, this.#pause(beatMs)]);
      if (this.#recalled === recalled && this.#member) await this.#group.heartbeat().catch(() => {});
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms * (0.75 + Math.random() / 4), undefined, { signal: this.#end.signal }).catch(() => {});
  }

  /** Fetches for every partition that has little left to read. */
  pump(): void {
    if (this.#closed || this.recalling || this.#remade) return;
    let buffered = 0;
    for (const partition of this.#partitions) buffered += partition.buffered;
    if (buffered >= this.#limits.fetchBytesMax) return;
    const byLeader = new Map<number, Partition[]>();
    let full = false;
    const now = performance.now();
    for (const partition of this.#partitions) {
      if (partition.buffered >= PARTITION_BYTES_LOW) full = true;
      if (partition.buffered >= PARTITION_BYTES_LOW || partition.gap !== undefined) continue;
      if ((this.#resting.get(partition) ?? 0) > now) continue;
      const leader = this.#topics.get(partition.topic)?.leaders[partition.partition] ?? -1;
      if (leader < 0) this.#stale = true;
      else byLeader.set(leader, [...(byLeader.get(leader) ?? []), partition]);
    }
    for (const [leader, partitions] of byLeader)
      if (!this.#fetching.has(leader))
        void this.#fetch(
          leader,
          partitions,
          full ? Math.min(WAIT_MS_SHORT, this.#limits.fetchWaitMs) : this.#limits.fetchWaitMs,
        );
  }

  async #fetch(leader: number, partitions: readonly Partition[], waitMs: number): Promise<void> {
    this.#fetching.add(leader);
    const begun = performance.now();
    let came = false;
    const from = new Map(partitions.map((partition) => [partition, partition.fetchFrom]));
    try {
      const { code, partitions: fetched } = await this.#send(leader, partitions, waitMs);
      if (code !== kafkaCode.none) throw failureOfCode(code, `fetch from node ${leader}`);
      let failure: KafkaFailure | undefined;
      for (const [partition, offset] of from) {
        const answer = fetched.find((one) => one.topic === partition.topic && one.partition === partition.partition);
        if (answer === undefined) throw unreadable(`a fetch must name ${partition.topic}/${partition.partition}`);
        came ||= answer.code !== kafkaCode.none || answer.records.length > 0;
        // A partition that was called back or sought meanwhile has no use for it.
        if (this.#remade || !this.#partitions.includes(partition) || partition.fetchFrom !== offset) continue;
        failure = (await this.#take(partition, answer)) ?? failure;
      }
      if (failure !== undefined) throw failure;
      this.#problems.delete(leader);
      // A broker that has nothing and says so at once would be asked in a loop.
      const left = begun + waitMs - performance.now();
      if (!came && left > 0) await this.#pause(left);
    } catch (error) {
      this.#problems.set(leader, failureOf(error, `fetch from node ${leader}`));
      this.#stale = true;
      await this.#pause(TEND_MS);
    } finally {
      this.#fetching.delete(leader);
    }
    this.#news();
    this.pump();
  }

  async #send(leader: number, partitions: readonly Partition[], waitMs: number): Promise<Fetched> {
    const node = await this.#links.toNode(leader, 'fetch');
    const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(
      ([name, list]): FetchTopic => ({
        name,
        id: this.#ids.get(name),
        wishes: list.map(({ partition, fetchFrom }) => ({ partition, offset: fetchFrom })),
      }),
    );
    const bytesMax = Math.ceil(this.#limits.fetchBytesMax / ANSWERS);
    const limits = { waitMs, bytesMax, partitionBytesMax: Math.min(PARTITION_BYTES_MAX, bytesMax) };
    return askFetch(node, limits, topics);
  }

  async #take(partition: Partition, answer: FetchedPartition): Promise<KafkaFailure | undefined> {
    const { topic, partition: index, code } = answer;
    if (code === kafkaCode.none) {
      partition.add(answer);
      this.#resting.delete(partition);
      return undefined;
    }
    if (code !== kafkaCode.offsetOutOfRange) return failureOfCode(code, `${topic}/${index}`);
    // Retention was faster than we were: it goes on with the oldest record that is there.
    const offsets = await this.#listOffsets(new Map([[topic, [index]]]), EARLIEST);
    const first = offsets.get(topic)?.get(index);
    // What is fetched already is read first; until then another fetch would only get the same answer.
    if (partition.hasMore) this.#resting.set(partition, performance.now() + TEND_MS);
    else if (first !== undefined) partition.skipTo(first);
    return undefined;
  }

  /** Learns leaders anew when some are wrong, and wakes partitions whose rest is over. */
  #tend(): void {
    if (this.#stale && !this.#learning && this.#partitions.length > 0) {
      this.#learning = true;
      this.#stale = false;
      this.#links
        .cluster(this.#options.topics)
        .then(
          ({ topics }) => {
            if (topics.size > 0) this.#topics = topics;
            this.#compare(topics);
            const leaders = new Set([...topics.values()].flatMap((topic) => topic.leaders));
            for (const node of this.#problems.keys())
              if (node !== 'read' && (node === 'metadata' || !leaders.has(node))) this.#problems.delete(node);
          },
          (error: unknown) => {
            this.#stale = true;
            this.#problems.set('metadata', failureOf(error, 'metadata'));
          },
        )
        .finally(() => {
          this.#learning = false;
          this.pump();
        });
      return;
    }
    this.pump();
  }
}

/** Whether they are ids of two topics. */
const isAnother = (one: string | undefined, other: string | undefined): boolean =>
  one !== undefined && other !== undefined && one !== other;
