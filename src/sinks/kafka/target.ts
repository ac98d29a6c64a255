/**
 * Kafka target: batches become record batches, one per partition, that wait in the queues of their partitions; write()
 * settles when all of its parts have an answer.
 *
 *   delivered  every in-sync replica has it (KAFKA_ACKS=all)
 *   failed     write() rejects with 'retry' or 'stop'; its parts stay queued with their numbers. The runner brings the
 *              same batch again, and only what is still open is sent, so parts that were delivered are not repeated
 *   refused    write() rejects with 'split' once nothing else of it is open; records of its delivered parts are
 *              remembered by position and left out of the halves
 *
 * Always true: a record is encoded into a second part only if its first one was refused, or its partition is gone; each
 * attempt ends within the client's time limits; memory is bounded by the batches the runner has under way.
 */

import type { SinkBatch, SinkTarget } from '../../delivery/contract.ts';
import { laneKey } from '../../engine/segment.ts';
import type { Logger } from '../../kernel/log.ts';
import { failureOf, failureOfCode, KafkaFailure, kafkaCode } from '../../store/kafka/failure.ts';
import type { Topic } from '../../store/kafka/links.ts';
import { KafkaClient } from './client.ts';
import type { KafkaConfig } from './config.ts';
import { BatchEncoder, type ProducerIdentity } from './encode.ts';
import { freshPart, type Part, PartitionQueue } from './partition-queue.ts';
import type { PartitionResult } from './produce.ts';

/** Bisected batches whose delivered records are remembered; more than the runner can have under way. */
const SPLITS_MAX = 64;
/** Batches that are remembered between two attempts; more than the runner can have under way. */
const DELIVERIES_MAX = 64;

/** One batch on its way, over all attempts. */
interface Delivery {
  readonly parts: readonly Part[];
  /** Parts without an answer that ends them. */
  readonly open: Set<Part>;
  readonly refused: Set<Part>;
  /** Index of each record's part; -1: left out, delivered before the batch was halved. */
  readonly partOf: Int32Array;
  refusal: KafkaFailure | undefined;
  attempt: Attempt | undefined;
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
}

export class KafkaTarget implements SinkTarget {
  readonly inFlightMax: number;
  readonly #config: KafkaConfig;
  readonly #log: Logger;
  readonly #client: KafkaClient;
  readonly #encoder: BatchEncoder;
  readonly #idempotent: boolean;
  readonly #queues: PartitionQueue[] = [];
  readonly #deliveries = new Map<string, Delivery>();
  readonly #owners = new Map<Part, Delivery>();
  #splits: Split[] = [];
  #topic: Topic | undefined;
  #identity: ProducerIdentity | undefined;
  #stale = false;
  #preparing: Promise<Topic> | undefined;
  #duplicatesSaid = 0;

  constructor(config: KafkaConfig, clientId: string, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#client = new KafkaClient(config, clientId);
    this.#encoder = new BatchEncoder(config.kafkaCompression);
    this.#idempotent = config.kafkaAcks === 'all';
    this.inFlightMax = config.kafkaMaxInFlight;
  }

  /** Connects, finds or creates the topic, and takes a producer identity; throws when one of them fails. */
  async open(): Promise<void> {
    await this.#ready();
  }

  async write(batch: SinkBatch): Promise<void> {
    if (batch.count === 0) {
      this.#endSplit(batch); // the last word on a batch that was halved
      return;
    }
    const topic = await this.#ready();
    const key = `${laneKey(batch.lane)}:${batch.from.position}:${batch.to.position}:${batch.positions[0]}:${batch.count}`;
    let delivery = this.#deliveries.get(key);
    if (delivery && this.#lostPartition(delivery, topic)) {
      this.#remember(batch, delivery);
      this.#forget(key, delivery);
      delivery = undefined;
    }
    delivery ??= this.#enqueue(key, batch, topic);
    try {
      await this.#attempt(delivery, topic);
    } catch (error) {
      if (error instanceof KafkaFailure && error.verdict === 'split') {
        this.#remember(batch, delivery);
        this.#forget(key, delivery);
      }
      throw error;
    }
    this.#deliveries.delete(key);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  /** What a request needs: leaders that are not known to be wrong, and an identity for every queue. */
  async #ready(): Promise<Topic> {
    const topic = this.#topic;
    const missing =
      this.#stale || (this.#idempotent && (!this.#identity || this.#queues.some((queue) => queue.needsIdentity)));
    if (topic && !missing) {
      if (Date.now() - topic.askedMs > this.#config.kafkaMetadataMaxAgeMs) this.#prepare().catch(() => {}); // a request will say
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

  #enqueue(key: string, batch: SinkBatch, topic: Topic): Delivery {
    const lane = laneKey(batch.lane);
    const { positions } = batch;
    const split = this.#splits.find(
      (one) => one.lane === lane && one.from <= batch.from.position && batch.to.position <= one.to,
    );
    const partOf = new Int32Array(batch.count).fill(-1);
    const skip = split && ((index: number) => split.delivered.has(positions[index]!));
    const encoded = this.#encoder.encode(batch.buffer, batch.offsets, batch.count, topic.leaders.length, partOf, skip);
    const parts = encoded.map(freshPart);
    const delivery: Delivery = {
      parts,
      open: new Set(parts),
      refused: new Set(),
      partOf,
      refusal: undefined,
      attempt: undefined,
    };
    for (const part of parts) {
      this.#owners.set(part, delivery);
      this.#queues[part.partition]!.add(part);
    }
    this.#deliveries.set(key, delivery);
    if (this.#deliveries.size > DELIVERIES_MAX) this.#dropForgotten();
    return delivery;
  }

  /** A batch that failed, was delivered along with others, and that the runner never brought again (it gave it up). */
  #dropForgotten(): void {
    for (const [key, { open, attempt }] of this.#deliveries) {
      if (open.size > 0 || attempt) continue;
      this.#deliveries.delete(key);
      return;
    }
  }

  /** Sends what is open of a delivery, and waits until each part has an answer. */
  #attempt(delivery: Delivery, topic: Topic): Promise<void> {
    return new Promise((resolve, reject) => {
      delivery.attempt = { awaited: new Set(delivery.open), failure: undefined, resolve, reject };
      const partitions = [...delivery.open].map((part) => part.partition);
      this.#endAttempt(delivery); // nothing may be open
      this.#pump(partitions, topic);
    });
  }

  /** Sends whatever the queues of these partitions let go, one request per broker and round. */
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
      // Awaited in any case: a failure in the same turn would let #pump send the same part for ever.
      results = await (leader < 0 ? Promise.reject(noLeader(parts)) : this.#client.produce(leader, parts));
    } catch (error) {
      failure = failureOf(error, `produce to node ${leader}`);
    }
    const byPartition = new Map(results.map((result) => [result.partition, result]));
    const goOn: number[] = [];
    for (const part of parts) {
      const result = byPartition.get(part.partition);
      if (result) {
        if (this.#settle(part, result)) goOn.push(part.partition);
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

  /** Applies the broker's answer; true when the partition may go on sending. */
  #settle(part: Part, { code, detail }: PartitionResult): boolean {
    const queue = this.#queues[part.partition]!;
    const failure =
      code === kafkaCode.none ? undefined : failureOfCode(code, `${this.#config.kafkaTopic}/${part.partition}`, detail);
    const answer = queue.answered(part, code, failure?.verdict === 'split');
    if (answer === 'failed') {
      this.#stale = true;
      this.#failAll(part, failure!);
      return false;
    }
    const delivery = this.#owners.get(part);
    this.#owners.delete(part);
    if (!delivery) return true;
    delivery.open.delete(part);
    if (answer === 'refused') {
      delivery.refused.add(part);
      delivery.refusal = failure;
    }
    delivery.attempt?.awaited.delete(part);
    this.#endAttempt(delivery);
    if (queue.duplicatesMax > 0) this.#sayDuplicates();
    return true;
  }

  /** A part failed: attempts do not wait for those behind it either; the runner's back-off comes first. */
  #failAll(part: Part, failure: KafkaFailure): void {
    for (const one of [part, ...this.#queues[part.partition]!.parts]) {
      if (one.inFlight) continue; // its own answer comes, or its own time limit
      const delivery = this.#owners.get(one);
      if (!delivery?.attempt?.awaited.delete(one)) continue;
      if (delivery.attempt.failure?.verdict !== 'stop') delivery.attempt.failure = failure;
      this.#endAttempt(delivery);
    }
  }

  #endAttempt(delivery: Delivery): void {
    const { attempt } = delivery;
    if (!attempt || attempt.awaited.size > 0) return;
    delivery.attempt = undefined;
    if (attempt.failure) attempt.reject(attempt.failure);
    else if (delivery.refusal) attempt.reject(delivery.refusal);
    else attempt.resolve();
  }

  /** A topic that was made anew with fewer partitions cannot take what waits for the others. */
  #lostPartition(delivery: Delivery, { leaders }: Topic): boolean {
    for (const part of delivery.open) if (!part.inFlight && part.partition >= leaders.length) return true;
    return false;
  }

  /** Notes which records of a batch are delivered, before the batch comes again in another shape. */
  #remember(batch: SinkBatch, delivery: Delivery): void {
    const lane = laneKey(batch.lane);
    let split = this.#splits.find(
      (one) => one.lane === lane && one.from <= batch.from.position && batch.to.position <= one.to,
    );
    if (!split) {
      split = { lane, from: batch.from.position, to: batch.to.position, delivered: new Set() };
      this.#splits = [...this.#splits.slice(1 - SPLITS_MAX), split];
    }
    for (let i = 0; i < batch.count; i++) {
      const part = delivery.parts[delivery.partOf[i]!];
      if (part && !delivery.open.has(part) && !delivery.refused.has(part)) split.delivered.add(batch.positions[i]!);
    }
  }

  #forget(key: string, delivery: Delivery): void {
    this.#deliveries.delete(key);
    for (const part of delivery.open) {
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
    this.#log.warn({ records }, 'The broker lost track of our batches: records may be in the topic twice.');
  }
}

function noLeader(parts: readonly Part[]): KafkaFailure {
  return failureOfCode(kafkaCode.leaderNotAvailable, `partitions ${parts.map((part) => part.partition).join(', ')}`);
}
