/**
 * Kafka target: a batch becomes parts, one record batch per partition. Each part waits in the queue of its partition.
 * write() settles when all parts of its batch have an answer.
 *
 *   delivered  every in-sync replica has the part (KAFKA_ACKS=all)
 *   failed     write() rejects with 'retry' or 'stop', and its parts stay queued with their numbers. The runner brings
 *              the same batch again, and the target sends only the parts that are still open: no delivered part is
 *              repeated
 *   refused    for the times of its records: sent again with other times, then without any, within the same write().
 *              Otherwise write() rejects with 'split' once no other part is open. The target remembers the records of
 *              delivered parts by their positions and leaves them out of the halves
 *
 * Always true: a record is encoded into a second part only if its first part was refused or its partition is gone. Each
 * attempt ends within the client's time limits. Memory is bounded by the batches that the runner has under way.
 */

import type { SinkBatch, SinkTarget } from '../../delivery/contract.ts';
import { laneKey } from '../../engine/segment.ts';
import type { Logger } from '../../kernel/log.ts';
import { failureOf, failureOfCode, KafkaFailure, kafkaCode } from '../../store/kafka/failure.ts';
import type { Topic } from '../../store/kafka/links.ts';
import { KafkaClient } from './client.ts';
import type { KafkaConfig } from './config.ts';
import { BatchEncoder, type ProducerIdentity, type RecordTime } from './encode.ts';
import { freshPart, type Part, PartitionQueue } from './partition-queue.ts';
import type { PartitionResult } from './produce.ts';
import { DOUBTS_MAX, produceVerdict } from './verdict.ts';

/** Most bisected batches whose delivered records are remembered: more than the runner can have under way. */
const SPLITS_MAX = 64;
/** After a time was refused, records go without such times for so long; then they are tried again. */
const TIMES_REST_MS = 60_000;
/** What is tried one after the other when the broker refuses the times of records. The last one is never refused. */
const timesOf: Readonly<Record<KafkaConfig['kafkaTimestamp'], readonly RecordTime[]>> = {
  received: ['received', 'none'],
  event: ['event', 'received', 'none'],
};

/** Most batches that are remembered between two attempts: more than the runner can have under way. */
const SENDINGS_MAX = 64;

/** One batch with its parts, over all attempts to send it. */
interface Sending {
  readonly parts: readonly Part[];
  /** Parts that are neither delivered nor refused. */
  readonly open: Set<Part>;
  readonly refused: Set<Part>;
  /** Index of each record's part. -1: the record is left out, because it was delivered before the batch was halved. */
  readonly partOf: Int32Array;
  refusal: KafkaFailure | undefined;
  attempt: Attempt | undefined;
  /** Index in the list of times to try. */
  readonly times: number;
}

interface Attempt {
  /** Parts that this attempt still waits for. */
  readonly awaited: Set<Part>;
  failure: KafkaFailure | undefined;
  resolve(): void;
  reject(failure: KafkaFailure): void;
}

/** What was delivered of a batch before it was halved. */
interface Split {
  readonly lane: string;
  readonly from: number;
  readonly to: number;
  readonly delivered: Set<number>;
  /**
   * Nobody knows whether a record of it is to blame. Halves are halved at once; the single record gets every chance.
   */
  doubtful: boolean;
}

export class KafkaTarget implements SinkTarget {
  readonly inFlightMax: number;
  readonly #config: KafkaConfig;
  readonly #log: Logger;
  readonly #client: KafkaClient;
  readonly #asks: NodeJS.Timeout;
  readonly #encoder: BatchEncoder;
  readonly #idempotent: boolean;
  readonly #queues: PartitionQueue[] = [];
  readonly #sendings = new Map<string, Sending>();
  readonly #owners = new Map<Part, Sending>();
  #splits: Split[] = [];
  #topic: Topic | undefined;
  #identity: ProducerIdentity | undefined;
  #stale = false;
  #preparing: Promise<Topic> | undefined;
  #duplicatesSaid = 0;
  readonly #times: readonly RecordTime[];
  /** Which of the times is used now, and until when (ms of a clock that never goes back). */
  #timesAt = 0;
  #timesUntil = 0;

  /** `lost` is called when a connection ends, and as often as knowledge of the topic may grow old. */
  constructor(config: KafkaConfig, clientId: string, log: Logger, lost: () => void = () => undefined) {
    this.#config = config;
    this.#log = log;
    this.#client = new KafkaClient(config, clientId, lost);
    // Nothing tells an idle sink of a broker that has vanished without a word.
    this.#asks = setInterval(lost, config.kafkaMetadataMaxAgeMs);
    this.#asks.unref();
    this.#encoder = new BatchEncoder(config.kafkaCompression);
    this.#idempotent = config.kafkaAcks === 'all';
    this.inFlightMax = config.kafkaMaxInFlight;
    this.#times = timesOf[config.kafkaTimestamp];
  }

  /** Connects, finds or creates the topic, and takes a producer identity. Throws when one of these fails. */
  async open(): Promise<void> {
    await this.#ready();
  }

  async write(batch: SinkBatch): Promise<void> {
    if (batch.count === 0) {
      this.#endSplit(batch); // the empty batch that ends a bisection
      return;
    }
    while (!(await this.#deliver(batch)));
    if (batch.commit) this.#endSplit(batch);
  }

  /** False: the times of the records were refused, and the batch goes again with others. */
  async #deliver(batch: SinkBatch): Promise<boolean> {
    const topic = await this.#ready();
    const { lane, from, to, positions, count } = batch;
    const key = `${laneKey(lane)}:${from.position}:${to.position}:${positions[0]}:${count}`;
    let sending = this.#sendings.get(key);
    if (sending && this.#lostPartition(sending, topic)) {
      this.#remember(batch, sending);
      this.#forget(key, sending);
      sending = undefined;
    }
    sending ??= this.#enqueue(key, batch, topic);
    try {
      await this.#attempt(sending, topic);
    } catch (error) {
      if (error instanceof KafkaFailure && error.verdict === 'split') {
        this.#remember(batch, sending);
        this.#forget(key, sending);
        if (this.#leaveTime(sending, error)) return false;
      }
      throw error;
    }
    this.#sendings.delete(key);
    return true;
  }

  /** The next of the times to try, when the broker has refused those that a batch had. */
  #leaveTime({ times }: Sending, { code, message }: KafkaFailure): boolean {
    const time = this.#times[times + 1];
    if (code !== 'INVALID_TIMESTAMP' || time === undefined) return false;
    if (this.#timesAt <= times) {
      const words = time === 'none' ? 'without a time' : 'with the time of receipt';
      this.#log.warn({ reason: message }, `the broker rejects the times of records; they go ${words} for a while`);
    }
    this.#timesAt = Math.max(this.#timesAt, times + 1);
    this.#timesUntil = performance.now() + TIMES_REST_MS;
    return true;
  }

  /** Asks for the topic. The answer is of use to the next batch as well. */
  async probe(): Promise<void> {
    const { leaders } = await this.#prepare();
    const leaderless = leaders.findIndex((leader) => leader < 0);
    if (leaderless >= 0) throw failureOfCode(kafkaCode.leaderNotAvailable, `${this.#config.kafkaTopic}/${leaderless}`);
  }

  async close(): Promise<void> {
    clearInterval(this.#asks);
    await this.#client.close();
  }

  /**
   * Returns the topic when its leaders are not known to be wrong and every queue has an identity; else asks the
   * cluster.
   */
  async #ready(): Promise<Topic> {
    const topic = this.#topic;
    const missing =
      this.#stale || (this.#idempotent && (!this.#identity || this.#queues.some((queue) => queue.needsIdentity)));
    if (topic && !missing) {
      // A failure shows with the next request.
      if (performance.now() - topic.askedMs > this.#config.kafkaMetadataMaxAgeMs) this.#prepare().catch(() => {});
      return topic;
    }
    return this.#prepare();
  }

  /** Asks the cluster; callers at the same time share one round. */
  #prepare(): Promise<Topic> {
    this.#preparing ??= this.#learn().finally(() => {
      this.#preparing = undefined;
    });
    return this.#preparing;
  }

  async #learn(): Promise<Topic> {
    this.#stale = false;
    try {
      const topic = await this.#client.topic();
      if (this.#idempotent && (!this.#identity || this.#queues.some((queue) => queue.needsIdentity))) {
        this.#identity = await this.#client.producerIdentity();
      }
      for (const partition of topic.leaders.keys()) {
        this.#queues[partition] ??= new PartitionQueue(this.#idempotent, this.#config.kafkaMaxInFlight);
      }
      for (const queue of this.#queues) if (this.#identity && queue.needsIdentity) queue.renew(this.#identity);
      this.#topic = topic;
      return topic;
    } catch (error) {
      this.#stale = true;
      throw error;
    }
  }

  #enqueue(key: string, batch: SinkBatch, topic: Topic): Sending {
    const lane = laneKey(batch.lane);
    const { positions } = batch;
    const split = this.#splits.find(
      (one) => one.lane === lane && one.from <= batch.from.position && batch.to.position <= one.to,
    );
    const partOf = new Int32Array(batch.count).fill(-1);
    const skip = split && ((index: number) => split.delivered.has(positions[index]!));
    if (performance.now() > this.#timesUntil) this.#timesAt = 0;
    const times = this.#timesAt;
    const { buffer, offsets, count } = batch;
    const { length } = topic.leaders;
    const encoded = this.#encoder.encode(buffer, offsets, count, length, partOf, this.#times[times]!, skip);
    const parts = encoded.map(freshPart);
    if (split?.doubtful && count > 1) for (const part of parts) part.doubts = DOUBTS_MAX;
    const sending: Sending = {
      parts,
      open: new Set(parts),
      refused: new Set(),
      partOf,
      refusal: undefined,
      attempt: undefined,
      times,
    };
    for (const part of parts) {
      this.#owners.set(part, sending);
      this.#queues[part.partition]!.add(part);
    }
    this.#sendings.set(key, sending);
    if (this.#sendings.size > SENDINGS_MAX) this.#dropForgotten();
    return sending;
  }

  /** Forgets one failed batch that the runner has given up and will not bring again. */
  #dropForgotten(): void {
    for (const [key, { open, attempt }] of this.#sendings) {
      if (open.size > 0 || attempt) continue;
      this.#sendings.delete(key);
      return;
    }
  }

  /** Sends the open parts of a batch, and waits until each has an answer. */
  #attempt(sending: Sending, topic: Topic): Promise<void> {
    return new Promise((resolve, reject) => {
      sending.attempt = { awaited: new Set(sending.open), failure: undefined, resolve, reject };
      const partitions = [...sending.open].map((part) => part.partition);
      this.#endAttempt(sending); // perhaps no part is open
      this.#pump(partitions, topic);
    });
  }

  /** Sends the parts that the queues of these partitions let go, one request per broker and round. */
  #pump(partitions: Iterable<number>, topic: Topic): void {
    let left = [...new Set(partitions)];
    while (left.length > 0) {
      const requests = new Map<number, Part[]>();
      left = left.filter((partition) => {
        const part = this.#queues[partition]!.next();
        if (!part) return false;
        const leader = topic.leaders[partition] ?? -1;
        const request = requests.get(leader);
        if (request) request.push(part);
        else requests.set(leader, [part]);
        return true;
      });
      for (const [leader, parts] of requests) void this.#send(leader, parts);
    }
  }

  async #send(leader: number, parts: Part[]): Promise<void> {
    let results: PartitionResult[] = [];
    let failure: KafkaFailure | undefined;
    try {
      // Awaited also without a leader: a failure in the same turn would make #pump() send the same part for ever.
      results = await (leader < 0 ? Promise.reject(noLeader(parts)) : this.#client.produce(leader, parts));
    } catch (error) {
      failure = failureOf(error, `produce to node ${leader}`);
    }
    const byPartition = new Map(results.map((result) => [result.partition, result]));
    const goOn: number[] = [];
    for (const part of parts) {
      const result = byPartition.get(part.partition);
      if (result) {
        if (this.#settle(part, result, leader)) goOn.push(part.partition);
      } else {
        this.#queues[part.partition]!.unanswered(part);
        const none =
          failure ?? new KafkaFailure('retry', 'NO_RESULT', `broker did not answer for partition ${part.partition}`);
        this.#stale = true;
        this.#failAll(part, none);
      }
    }
    if (this.#topic && goOn.length > 0) this.#pump(goOn, this.#topic);
  }

  /** Applies the broker's answer. True: the partition may go on sending. */
  #settle(part: Part, { code, detail }: PartitionResult, leader: number): boolean {
    const queue = this.#queues[part.partition]!;
    const where = () => `${this.#config.kafkaTopic}/${part.partition} at ${this.#client.place(leader)}`;
    const verdict = code === kafkaCode.none ? undefined : produceVerdict(code, where(), detail, part.doubts);
    const failure = verdict?.failure;
    if (verdict?.doubtful) part.doubts += 1;
    const answer = queue.answered(part, code, failure?.verdict === 'split');
    if (answer === 'failed') {
      this.#stale = true;
      this.#failAll(part, failure!);
      return false;
    }
    const sending = this.#owners.get(part);
    this.#owners.delete(part);
    if (!sending) return true;
    sending.open.delete(part);
    if (answer === 'refused') {
      sending.refused.add(part);
      sending.refusal = failure;
    }
    sending.attempt?.awaited.delete(part);
    this.#endAttempt(sending);
    if (queue.duplicatesMax > 0) this.#sayDuplicates();
    return true;
  }

  /** A part failed. Attempts do not wait for the parts queued behind it either: the runner's back-off comes first. */
  #failAll(part: Part, failure: KafkaFailure): void {
    for (const one of [part, ...this.#queues[part.partition]!.parts]) {
      if (one.inFlight) continue; // it gets its own answer, or reaches its own time limit
      const sending = this.#owners.get(one);
      if (!sending?.attempt?.awaited.delete(one)) continue;
      if (sending.attempt.failure?.verdict !== 'stop') sending.attempt.failure = failure;
      this.#endAttempt(sending);
    }
  }

  #endAttempt(sending: Sending): void {
    const { attempt } = sending;
    if (!attempt || attempt.awaited.size > 0) return;
    sending.attempt = undefined;
    if (attempt.failure) attempt.reject(attempt.failure);
    else if (sending.refusal) attempt.reject(sending.refusal);
    else attempt.resolve();
  }

  /** True when an open part waits for a partition that the topic has no more: somebody made the topic anew. */
  #lostPartition(sending: Sending, { leaders }: Topic): boolean {
    for (const part of sending.open) if (!part.inFlight && part.partition >= leaders.length) return true;
    return false;
  }

  /** Notes which records of a batch are delivered, before the batch comes again in halves. */
  #remember(batch: SinkBatch, sending: Sending): void {
    const lane = laneKey(batch.lane);
    let split = this.#splits.find(
      (one) => one.lane === lane && one.from <= batch.from.position && batch.to.position <= one.to,
    );
    if (!split) {
      split = { lane, from: batch.from.position, to: batch.to.position, delivered: new Set(), doubtful: false };
      this.#splits = [...this.#splits.slice(1 - SPLITS_MAX), split];
    }
    for (const part of sending.refused) if (part.doubts >= DOUBTS_MAX) split.doubtful = true;
    for (let i = 0; i < batch.count; i++) {
      const part = sending.parts[sending.partOf[i]!];
      if (part && !sending.open.has(part) && !sending.refused.has(part)) split.delivered.add(batch.positions[i]!);
    }
  }

  #forget(key: string, sending: Sending): void {
    this.#sendings.delete(key);
    for (const part of sending.open) {
      this.#owners.delete(part);
      this.#queues[part.partition]!.drop(part);
    }
  }

  #endSplit({ lane, from, to }: SinkBatch): void {
    const key = laneKey(lane);
    this.#splits = this.#splits.filter(
      (one) => one.lane !== key || one.from !== from.position || one.to !== to.position,
    );
  }

  #sayDuplicates(): void {
    const records = this.#queues.reduce((sum, queue) => sum + queue.duplicatesMax, 0);
    if (records === this.#duplicatesSaid) return;
    this.#duplicatesSaid = records;
    this.#log.warn({ records }, 'the broker lost track of our batches; records may be in the topic twice');
  }
}

function noLeader(parts: readonly Part[]): KafkaFailure {
  return failureOfCode(kafkaCode.leaderNotAvailable, `partitions ${parts.map((part) => part.partition).join(', ')}`);
}
